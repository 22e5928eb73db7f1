/*
 * See host_product_weight.h; what is below is float32, bfloat16 is in host_strip.c. Two blocks of
 * rows have room, so that one barrier per block is enough: nobody packs block i + 2 before all have
 * done block i.
 */
#include "gpu/ops/host/host_product_weight.h"

#include <string.h>

#include "gpu/ops/host/host_deal.h"
#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_strip.h"
#include "gpu/ops/host/host_tile.h"

#define HOST_WEIGHT_WORDS 256 /* of batch rows in a block, at most */
#define HOST_WEIGHT_LEAST 64
#define HOST_WEIGHT_TILES 2            /* that a thread takes at a time, at least */
#define HOST_WEIGHT_CACHE (256 * 1024) /* words of the smaller side that stay in cache */

/* What all threads know. */
struct host_weight_pass {
    const struct op_linear_backward_weight *args;
    host_tile_fn *tile;
    int64_t words;               /* batch rows of a block */
    int64_t high, ups, acrosses; /* rows of a tile; tiles of outputs, and of inputs */
    uint32_t *room[2];
};

/* One block of rows: where its packed sides are. */
struct host_weight_block {
    int64_t row, rows, words;
    uint32_t *left, *right;
    bool add;
};

/* The packed dy of output `o`, the first of a tile: a set of a tile's rows. */
static uint32_t *host_weight_left(const struct host_weight_pass *pass,
                                  const struct host_weight_block *block, int64_t o)
{
    return block->left + o * pass->words;
}

/* Words of one block's sides. */
static size_t host_weight_room(int64_t out, int64_t in)
{
    int64_t up = out + HOST_TILE_ROWS;
    int64_t across = (in + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS * HOST_TILE_COLUMNS;
    return (size_t)((up + across) * HOST_WEIGHT_WORDS);
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

/* Sums of the outputs of one set. */
__attribute__((target("avx512f"))) static void host_weight_sum(const uint32_t *x, int64_t words,
                                                               float *sums)
{
    const __mmask16 rest = (1u << (HOST_TILE_ROWS_F32 - 16)) - 1;
    __m512 low = _mm512_setzero_ps(), high = low;
    for (int64_t i = 0; i < words; i++, x += HOST_TILE_ROWS_F32) {
        low = _mm512_add_ps(low, _mm512_loadu_ps(x));
        high = _mm512_add_ps(high, _mm512_maskz_loadu_ps(rest, x + 16));
    }
    _mm512_storeu_ps(sums, low);
    _mm512_storeu_ps(sums + 16, high);
}
#else
static void host_weight_sum(const uint32_t *x, int64_t words, float *sums)
{
    (void)x, (void)words, (void)sums;
}
#endif

/* dbias of tiles [begin, end) of outputs, from a packed block. */
static void host_weight_bias(const struct host_weight_pass *pass,
                             const struct host_weight_block *block, int64_t begin, int64_t end)
{
    const struct op_linear_backward_weight *args = pass->args;
    float sums[HOST_TILE_ROWS];
    for (int64_t o = begin * pass->high; args->dbias && o < end * pass->high; o += pass->high) {
        host_weight_sum(host_weight_left(pass, block, o), block->words, sums);
        for (int64_t i = 0; i < pass->high && o + i < args->out; i++)
            args->dbias[o + i] = block->add ? args->dbias[o + i] + sums[i] : sums[i];
    }
}

/* The calling thread's tiles of outputs and panels of 16 inputs. */
static void host_weight_pack(const struct host_weight_pass *pass,
                             const struct host_weight_block *block)
{
    const struct op_linear_backward_weight *args = pass->args;
    struct host_matrix dy = {(const float *)args->dy.data + block->row * args->out, TENSOR_F32,
                             block->rows, args->out, args->out};
    struct host_matrix x = {(const float *)args->x.data + block->row * args->in, TENSOR_F32,
                            block->rows, args->in, args->in};
    struct host_span up = host_my_part(pass->ups, 1), across = host_my_part(2 * pass->acrosses, 1);
    host_pack_sets(&dy, pass->high, up.begin, up.end, pass->high * pass->words, block->left);
    host_weight_bias(pass, block, up.begin, up.end);
    host_pack_panels_of(&x, false, across.begin, across.end, block->right);
}

/* ---- Products -------------------------------------------------------------------------------- */

/* The valid part of a tile at the edge, from `sum`. */
static void host_weight_edge(const struct host_weight_pass *pass, int64_t o, int64_t i,
                             const float *sum, bool add)
{
    const struct op_linear_backward_weight *args = pass->args;
    for (int64_t row = 0; row < pass->high && o + row < args->out; row++) {
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
    int64_t o = up * pass->high, i = across * HOST_TILE_COLUMNS, left = args->out - o;
    bool whole = left >= pass->high && i + HOST_TILE_COLUMNS <= args->in;
    struct host_tile tile = {.a = host_weight_left(pass, block, o),
                             .b = block->right + i * block->words,
                             .stride = 1,
                             .step = pass->high,
                             .words = block->words,
                             .rows = left < pass->high ? left : pass->high,
                             .c = whole ? args->dweight + o * args->in + i : local,
                             .c_stride = whole ? args->in : HOST_TILE_COLUMNS,
                             .add = whole && block->add};
    pass->tile(&tile);
    if (!whole)
        host_weight_edge(pass, o, i, local, block->add);
}

/* Tiles of a block. The longer side is the outer loop: a tile's share of it stays in the
 * first-level cache while the shorter side, in the second, passes by. */
static void host_weight_products(const struct host_weight_pass *pass,
                                 const struct host_weight_block *block, struct host_span span,
                                 float *local)
{
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
    int64_t row = index * pass->words;
    struct host_weight_block block = {.row = row, .add = args->accumulate || index > 0};
    block.rows = args->rows - row;
    if (block.rows > pass->words)
        block.rows = pass->words;
    block.words = host_pack_words(TENSOR_F32, block.rows);
    block.left = pass->room[index % 2];
    block.right = host_weight_left(pass, &block, pass->ups * pass->high);
    return block;
}

static int64_t host_weight_words(int64_t in, int64_t out)
{
    int64_t words = HOST_WEIGHT_CACHE / (in < out ? in : out) / HOST_PACK_STEP * HOST_PACK_STEP;
    return words < HOST_WEIGHT_LEAST   ? HOST_WEIGHT_LEAST
           : words > HOST_WEIGHT_WORDS ? HOST_WEIGHT_WORDS
                                       : words;
}

/* The calling thread's share of one block. Whoever is here has left the block before the last, so
 * that its room and its set of deals are free. */
static void host_weight_share(struct host_backend *host, const struct host_weight_pass *pass,
                              int64_t index)
{
    struct host_weight_block block = host_weight_block(pass, index);
    struct host_span span;
    int set = (int)(index % 2), helped = 0;
    int64_t most = pass->ups < pass->acrosses ? pass->ups : pass->acrosses;
    host_weight_pack(pass, &block);
    if (omp_get_thread_num() == 0)
        host_deal_out(host, set, pass->ups * pass->acrosses);
#pragma omp barrier
    while (host_deal_take(host, set, most, HOST_WEIGHT_TILES, &helped, &span))
        host_weight_products(pass, &block, span, host_backend_local(host));
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
    int64_t high = host_tile_rows(TENSOR_F32), ups = (args->out + high - 1) / high;
    struct host_weight_pass pass = {
        .args = args,
        .tile = host_tile_of(host->isa, TENSOR_F32),
        .words = host_weight_words(args->in, args->out),
        .high = high,
        .ups = ups,
        .acrosses = (args->in + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS,
        .room = {shared, shared + room},
    };
    int64_t blocks = (args->rows + pass.words - 1) / pass.words;
#pragma omp parallel num_threads(host->base.threads)
    {
        host_tile_begin(host->isa);
        for (int64_t i = 0; i < blocks; i++)
            host_weight_share(host, &pass, i);
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
