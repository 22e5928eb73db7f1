/*
 * See host_product_weight.h. Two blocks of rows have room, so that one barrier per block is enough:
 * nobody packs block i + 2 before all have done block i.
 */
#include "gpu/ops/host/host_product_weight.h"

#include <string.h>

#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_strip.h"
#include "gpu/ops/host/host_tile.h"

#define HOST_WEIGHT_WORDS   256 /* of batch rows in a block, at most */
#define HOST_WEIGHT_LEAST   64
#define HOST_WEIGHT_PADDING 16 /* words that keep rows of dy from falling on the same cache lines */
#define HOST_WEIGHT_CACHE   (256 * 1024) /* words of the smaller side that stay in cache */

/* What all threads know. */
struct host_weight_pass {
    const struct op_linear_backward_weight *args;
    host_tile_fn *tile;
    int64_t words, per_word; /* of a block; batch rows of a word */
    int64_t ups, acrosses;   /* pairs of 16 outputs, and of 16 inputs */
    uint32_t *room[2];
};

/* One block of rows: where its packed sides are. */
struct host_weight_block {
    int64_t row, rows, words;
    uint32_t *left, *right;
    bool add;
};

static int64_t host_weight_stride(int64_t words)
{
    return words + HOST_WEIGHT_PADDING;
}

/* Words of one block's sides. */
static size_t host_weight_room(int64_t out, int64_t in)
{
    int64_t up = (out + HOST_TILE_ROWS - 1) / HOST_TILE_ROWS * HOST_TILE_ROWS;
    int64_t across = (in + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS * HOST_TILE_COLUMNS;
    return (size_t)(up * host_weight_stride(HOST_WEIGHT_WORDS) + across * HOST_WEIGHT_WORDS);
}

size_t host_product_weight_floats(int64_t width)
{
    size_t room = 2 * host_weight_room(width, width), strips = host_strip_shared_floats(width);
    return room > strips ? room : strips;
}

bool host_product_weight_fits(const struct host_backend *host,
                              const struct op_linear_backward_weight *args)
{
    return args->dy.type == args->x.type && host_tile_of(host->isa, args->x.type);
}

/* ---- Packing --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <immintrin.h>

/* Sum of the values of `words` words. */
__attribute__((target("avx512f,avx512bf16"))) static float host_weight_sum_bf16(const uint32_t *x,
                                                                                int64_t words)
{
    __m512 sum = _mm512_setzero_ps();
    __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (int64_t i = 0; i < words; i += 16)
        sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(x + i), ones);
    return _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx512f"))) static float host_weight_sum_f32(const uint32_t *x,
                                                                    int64_t words)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < words; i += 16)
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + i));
    return _mm512_reduce_add_ps(sum);
}
#else
static float host_weight_sum_bf16(const uint32_t *x, int64_t words)
{
    (void)x, (void)words;
    return 0;
}
#define host_weight_sum_f32 host_weight_sum_bf16
#endif

/* dbias of the outputs 16 begin .. 16 end, from a packed block. */
static void host_weight_bias(const struct host_weight_pass *pass,
                             const struct host_weight_block *block, int64_t begin, int64_t end)
{
    const struct op_linear_backward_weight *args = pass->args;
    int64_t last = end * 16 < args->out ? end * 16 : args->out;
    for (int64_t o = begin * 16; args->dbias && o < last; o++) {
        const uint32_t *x = block->left + o * host_weight_stride(pass->words);
        float sum = args->x.type == TENSOR_BF16 ? host_weight_sum_bf16(x, block->words)
                                                : host_weight_sum_f32(x, block->words);
        args->dbias[o] = block->add ? args->dbias[o] + sum : sum;
    }
}

/* The calling thread's groups of 16 outputs and panels of 16 inputs. */
static void host_weight_pack(const struct host_weight_pass *pass,
                             const struct host_weight_block *block)
{
    const struct op_linear_backward_weight *args = pass->args;
    size_t size = tensor_type_size(args->x.type);
    struct host_matrix dy = {(const char *)args->dy.data + (size_t)(block->row * args->out) * size,
                             args->dy.type, block->rows, args->out, args->out};
    struct host_matrix x = {(const char *)args->x.data + (size_t)(block->row * args->in) * size,
                            args->x.type, block->rows, args->in, args->in};
    struct host_span up = host_my_part(2 * pass->ups, 1),
                     across = host_my_part(2 * pass->acrosses, 1);
    host_pack_transposed_rows(&dy, up.begin, up.end, host_weight_stride(pass->words), block->left);
    host_weight_bias(pass, block, up.begin, up.end);
    host_pack_panels_of(&x, false, across.begin, across.end, block->right);
}

/* ---- Products -------------------------------------------------------------------------------- */

/* The valid part of a tile at the edge, from `sum` (32, 32). */
static void host_weight_edge(const struct host_weight_pass *pass, int64_t o, int64_t i,
                             const float *sum, bool add)
{
    const struct op_linear_backward_weight *args = pass->args;
    for (int64_t row = 0; row < HOST_TILE_ROWS && o + row < args->out; row++) {
        float *target = args->dweight + (o + row) * args->in + i;
        const float *from = sum + row * HOST_TILE_COLUMNS;
        for (int64_t column = 0; column < HOST_TILE_COLUMNS && i + column < args->in; column++)
            target[column] = add ? target[column] + from[column] : from[column];
    }
}

static void host_weight_tile(const struct host_weight_pass *pass,
                             const struct host_weight_block *block, int64_t up, int64_t across,
                             float *local)
{
    const struct op_linear_backward_weight *args = pass->args;
    int64_t o = up * HOST_TILE_ROWS, i = across * HOST_TILE_COLUMNS;
    bool whole = o + HOST_TILE_ROWS <= args->out && i + HOST_TILE_COLUMNS <= args->in;
    struct host_tile tile = {.a = block->left + o * host_weight_stride(pass->words),
                             .b = block->right + i * block->words,
                             .stride = host_weight_stride(pass->words),
                             .words = block->words,
                             .rows = HOST_TILE_ROWS,
                             .c = whole ? args->dweight + o * args->in + i : local,
                             .c_stride = whole ? args->in : HOST_TILE_COLUMNS,
                             .add = whole && block->add};
    pass->tile(&tile);
    if (!whole)
        host_weight_edge(pass, o, i, local, block->add);
}

/* The calling thread's tiles. The longer side is the outer loop: a pair of it stays in the
 * first-level cache while the shorter side, in the second, passes by. */
static void host_weight_products(const struct host_weight_pass *pass,
                                 const struct host_weight_block *block, float *local)
{
    struct host_span span = host_my_part(pass->ups * pass->acrosses, 1);
    for (int64_t unit = span.begin; unit < span.end; unit++) {
        if (pass->acrosses > pass->ups)
            host_weight_tile(pass, block, unit % pass->ups, unit / pass->ups, local);
        else
            host_weight_tile(pass, block, unit / pass->acrosses, unit % pass->acrosses, local);
    }
}

static struct host_weight_block host_weight_block(const struct host_weight_pass *pass,
                                                  int64_t index)
{
    const struct op_linear_backward_weight *args = pass->args;
    int64_t row = index * pass->words * pass->per_word;
    struct host_weight_block block = {.row = row, .add = args->accumulate || index > 0};
    block.rows = args->rows - row;
    if (block.rows > pass->words * pass->per_word)
        block.rows = pass->words * pass->per_word;
    block.words = host_pack_words(args->x.type, block.rows);
    block.left = pass->room[index % 2];
    block.right = block.left + pass->ups * HOST_TILE_ROWS * host_weight_stride(pass->words);
    return block;
}

static int64_t host_weight_words(int64_t in, int64_t out)
{
    int64_t words = HOST_WEIGHT_CACHE / (in < out ? in : out) / HOST_PACK_STEP * HOST_PACK_STEP;
    return words < HOST_WEIGHT_LEAST   ? HOST_WEIGHT_LEAST
           : words > HOST_WEIGHT_WORDS ? HOST_WEIGHT_WORDS
                                       : words;
}

enum ij_status host_product_weight_run(struct host_backend *host,
                                       const struct op_linear_backward_weight *args,
                                       struct ij_err *reterr_err)
{
    if (args->x.type == TENSOR_BF16)
        return host_strip_run(host, args, reterr_err);
    size_t room = host_weight_room(args->out, args->in);
    IJ_TRY(host_backend_need(host, 2 * room, HOST_TILE_FLOATS, reterr_err));
    uint32_t *shared = (uint32_t *)(void *)host->shared;
    struct host_weight_pass pass = {
        .args = args,
        .tile = host_tile_of(host->isa, args->x.type),
        .words = host_weight_words(args->in, args->out),
        .per_word = args->x.type == TENSOR_BF16 ? 2 : 1,
        .ups = (args->out + HOST_TILE_ROWS - 1) / HOST_TILE_ROWS,
        .acrosses = (args->in + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS,
        .room = {shared, shared + room},
    };
    int64_t step = pass.words * pass.per_word, blocks = (args->rows + step - 1) / step;
#pragma omp parallel num_threads(host->base.threads)
    {
        host_tile_begin(host->isa);
        for (int64_t i = 0; i < blocks; i++) {
            struct host_weight_block block = host_weight_block(&pass, i);
            host_weight_pack(&pass, &block);
#pragma omp barrier
            host_weight_products(&pass, &block, host_backend_local(host));
        }
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
