/*
 * See host_strip.h. Two blocks of rows of the shorter side have room, so that one barrier per block
 * is enough: nobody packs block i + 2 before all have done block i.
 */
#include "gpu/ops/host/host_strip.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "gpu/ops/host/host_avx512.h"
#include "gpu/ops/host/host_deal.h"
#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_tile.h"

#define STRIP         HOST_TILE_COLUMNS
#define STRIP_CHUNK   256          /* words of rows of a strip in the first-level cache */
#define STRIP_SHORTER (256 * 1024) /* words of a block of the shorter side in the second */
#define STRIP_CHUNKS  4            /* in a block, at most */
#define STRIP_NARROW  192 /* columns with which a chunk's rows are in the second-level cache */
#define STRIP_PADDING 16  /* words that keep rows from falling on the same cache lines */
#define STRIP_PARTS   4   /* per thread at least, or the shorter side is split too */
#define STRIP_MOST    8   /* strips that a thread takes at a time */
#define STRIP_LINE    64  /* bytes of the cache */

/* What all threads know. */
struct host_strip_pass {
    const struct op_linear_backward_weight *args;
    host_tile_fn *tile;
    bool tall;                      /* the longer side is dy */
    int64_t words, chunk;           /* of a block; of what is packed of a strip at a time */
    int64_t strips, others, groups; /* of the longer side; of the shorter one; of those */
    uint32_t *room[2];
};

/* One block of rows: where its packed shorter side is. */
struct host_strip_block {
    int64_t row, rows, words;
    uint32_t *shorter;
    bool add;
};

/* One strip's share of a block, as one thread works on it. */
struct host_strip_unit {
    int64_t strip;
    struct host_span others;
    uint32_t *longer; /* a chunk of the strip */
    float *sums;      /* a tile */
};

static int64_t host_strip_count(int64_t columns)
{
    return (columns + STRIP - 1) / STRIP;
}

static int64_t host_strip_block_words(int64_t shorter)
{
    if (shorter <= STRIP_NARROW)
        return STRIP_CHUNK;
    int64_t chunks = STRIP_SHORTER / (shorter * STRIP_CHUNK);
    return STRIP_CHUNK * (chunks < 1 ? 1 : chunks > STRIP_CHUNKS ? STRIP_CHUNKS : chunks);
}

static size_t host_strip_room(int64_t shorter)
{
    return (size_t)(host_strip_count(shorter) * STRIP *
                    (host_strip_block_words(shorter) + STRIP_PADDING));
}

size_t host_strip_shared_floats(int64_t width)
{
    size_t most = 0;
    for (int64_t shorter = STRIP; shorter < width + STRIP; shorter += STRIP)
        most = host_strip_room(shorter) > most ? host_strip_room(shorter) : most;
    return 2 * most;
}

/* Rows [row, row + rows) of dy or x from `column` on. */
static struct host_matrix host_strip_matrix(const struct op_linear_backward_weight *args, bool dy,
                                            int64_t row, int64_t rows, int64_t column)
{
    int64_t width = dy ? args->out : args->in;
    const uint16_t *data = dy ? args->dy.data : args->x.data;
    return (struct host_matrix){data + row * width + column, TENSOR_BF16, rows, width - column,
                                width};
}

/* dbias of outputs [first, first + count) from their packed rows. */
static void host_strip_bias(const struct host_strip_pass *pass, int64_t first, int64_t count,
                            const uint32_t *x, int64_t stride, int64_t words, bool add)
{
    float *dbias = pass->args->dbias;
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (int64_t o = first; dbias && o < first + count && o < pass->args->out; o++, x += stride) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t i = 0; i < words; i += 16)
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(x + i), ones);
        dbias[o] = _mm512_reduce_add_ps(sum) + (add ? dbias[o] : 0);
    }
}

/* The calling thread's part of a block's shorter side. */
static void host_strip_pack_shorter(const struct host_strip_pass *pass,
                                    const struct host_strip_block *block)
{
    struct host_matrix m = host_strip_matrix(pass->args, !pass->tall, block->row, block->rows, 0);
    struct host_span mine = host_my_part(2 * pass->others, 1);
    int64_t stride = pass->words + STRIP_PADDING;
    if (pass->tall) {
        host_pack_panels_of(&m, false, mine.begin, mine.end, block->shorter);
        return;
    }
    host_pack_transposed_rows(&m, mine.begin, mine.end, stride, block->shorter);
    host_strip_bias(
        pass, mine.begin * HOST_PACK_COLUMNS, (mine.end - mine.begin) * HOST_PACK_COLUMNS,
        block->shorter + mine.begin * HOST_PACK_COLUMNS * stride, stride, block->words, block->add);
}

/* Rows of a strip's chunk that begins at word `word` of a block. */
static int64_t host_strip_rows(const struct host_strip_pass *pass,
                               const struct host_strip_block *block, int64_t word)
{
    int64_t left = block->rows - 2 * word;
    return left < 2 * pass->chunk ? left : 2 * pass->chunk;
}

/* A chunk of the unit's strip; returns its words. */
static int64_t host_strip_pack_longer(const struct host_strip_pass *pass,
                                      const struct host_strip_block *block,
                                      const struct host_strip_unit *unit, int64_t word)
{
    int64_t stride = STRIP_CHUNK + STRIP_PADDING, rows = host_strip_rows(pass, block, word);
    struct host_matrix m =
        host_strip_matrix(pass->args, pass->tall, block->row + 2 * word, rows, unit->strip * STRIP);
    int64_t words = host_pack_words(TENSOR_BF16, rows);
    if (!pass->tall) {
        host_pack_panels_of(&m, false, 0, 2, unit->longer);
        return words;
    }
    host_pack_transposed_rows(&m, 0, 2, stride, unit->longer);
    if (unit->others.begin == 0)
        host_strip_bias(pass, unit->strip * STRIP, STRIP, unit->longer, stride, words,
                        block->add || word > 0);
    return words;
}

/* The valid part of a tile at the edge. */
static void host_strip_edge(const struct op_linear_backward_weight *args, int64_t o, int64_t i,
                            const float *sum, bool add)
{
    const __mmask16 mask[] = {host_avx512_mask(args->in - i), host_avx512_mask(args->in - i - 16)};
    for (int64_t row = 0; row < HOST_TILE_ROWS && o + row < args->out; row++, sum += STRIP)
        for (int half = 0; half < 2; half++) {
            float *target = args->dweight + (o + row) * args->in + i + 16 * half;
            __m512 v = _mm512_loadu_ps(sum + 16 * half);
            if (add)
                v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask[half], target));
            _mm512_mask_storeu_ps(target, mask[half], v);
        }
}

/* The tile of the unit's strip and strip `other` of the shorter side. */
static void host_strip_tile(const struct host_strip_pass *pass,
                            const struct host_strip_block *block,
                            const struct host_strip_unit *unit, int64_t other, int64_t word,
                            int64_t words)
{
    const struct op_linear_backward_weight *args = pass->args;
    int64_t o = (pass->tall ? unit->strip : other) * STRIP;
    int64_t i = (pass->tall ? other : unit->strip) * STRIP;
    int64_t stride = pass->words + STRIP_PADDING;
    bool whole = o + STRIP <= args->out && i + STRIP <= args->in;
    bool add = block->add || word > 0;
    struct host_tile tile = {.a = unit->longer,
                             .b = unit->longer,
                             .stride = STRIP_CHUNK + STRIP_PADDING,
                             .words = words,
                             .panel = words,
                             .b_passes = pass->tall,
                             .rows = HOST_TILE_ROWS,
                             .c = whole ? args->dweight + o * args->in + i : unit->sums,
                             .c_stride = whole ? args->in : STRIP,
                             .add = whole && add};
    if (pass->tall) {
        tile.b = block->shorter + other * STRIP * block->words + word * HOST_PACK_COLUMNS;
        tile.panel = block->words;
    } else {
        tile.a = block->shorter + other * STRIP * stride + word;
        tile.stride = stride;
    }
    pass->tile(&tile);
    if (!whole)
        host_strip_edge(args, o, i, unit->sums, add);
}

/* ---- Memory that is needed soon -------------------------------------------------------------- */

static void host_strip_fetch(const void *data, int64_t rows, int64_t row_bytes, int64_t bytes)
{
    const char *x = data;
    for (int64_t row = 0; row < rows; row++, x += row_bytes)
        for (int64_t at = 0; at < bytes; at += STRIP_LINE)
            _mm_prefetch(x + at, _MM_HINT_T1);
}

/* Sums of the tile of two strips. */
static void host_strip_fetch_sums(const struct host_strip_pass *pass, int64_t strip, int64_t other)
{
    const struct op_linear_backward_weight *args = pass->args;
    int64_t o = (pass->tall ? strip : other) * STRIP, i = (pass->tall ? other : strip) * STRIP;
    int64_t rows = args->out - o < STRIP ? args->out - o : STRIP;
    host_strip_fetch(args->dweight + o * args->in + i, rows, args->in * 4, STRIP * 4);
}

/* The rows from which the chunk after this one will be packed: of this strip or, at its end, of the
 * next. */
static void host_strip_fetch_rows(const struct host_strip_pass *pass,
                                  const struct host_strip_block *block, int64_t strip, int64_t word)
{
    int64_t next = word + pass->chunk;
    if (next >= block->words) {
        next = 0;
        strip++;
    }
    if (strip >= pass->strips)
        return;
    int64_t rows = host_strip_rows(pass, block, next);
    struct host_matrix m =
        host_strip_matrix(pass->args, pass->tall, block->row + 2 * next, rows, strip * STRIP);
    host_strip_fetch(m.data, rows, m.stride * 2, STRIP * 2);
}

/* ---- A thread's share ------------------------------------------------------------------------ */

static void host_strip_unit(const struct host_strip_pass *pass,
                            const struct host_strip_block *block,
                            const struct host_strip_unit *unit)
{
    int64_t begin = unit->others.begin, end = unit->others.end;
    for (int64_t word = 0; word < block->words; word += pass->chunk) {
        int64_t words = host_strip_pack_longer(pass, block, unit, word);
        host_strip_fetch_rows(pass, block, unit->strip, word);
        for (int64_t other = begin; other < end; other++) {
            if (word == 0 && other + 1 < end)
                host_strip_fetch_sums(pass, unit->strip, other + 1);
            host_strip_tile(pass, block, unit, other, word, words);
        }
    }
}

/* Units of a block; the strips of one group follow each other. */
static void host_strip_units(const struct host_strip_pass *pass,
                             const struct host_strip_block *block, struct host_span span,
                             float *local)
{
    for (int64_t i = span.begin; i < span.end; i++) {
        int64_t group = i / pass->strips;
        struct host_strip_unit unit = {.strip = i % pass->strips,
                                       .others = {pass->others * group / pass->groups,
                                                  pass->others * (group + 1) / pass->groups},
                                       .longer = (uint32_t *)(void *)(local + HOST_TILE_FLOATS),
                                       .sums = local};
        host_strip_unit(pass, block, &unit);
    }
}

static struct host_strip_block host_strip_block(const struct host_strip_pass *pass, int64_t index)
{
    int64_t row = 2 * index * pass->words, rows = pass->args->rows - row;
    struct host_strip_block block = {.row = row, .add = pass->args->accumulate || index > 0};
    block.rows = rows < 2 * pass->words ? rows : 2 * pass->words;
    block.words = host_pack_words(TENSOR_BF16, block.rows);
    block.shorter = pass->room[index % 2];
    return block;
}

/* The calling thread's share of one block. Whoever is here has left the block before the last, so
 * that its room and its set of deals are free. */
static void host_strip_share(struct host_backend *host, const struct host_strip_pass *pass,
                             int64_t index)
{
    struct host_strip_block block = host_strip_block(pass, index);
    struct host_span span;
    int set = (int)(index % 2), helped = 0;
    host_strip_pack_shorter(pass, &block);
    if (omp_get_thread_num() == 0)
        host_deal_out(host, set, pass->strips * pass->groups);
#pragma omp barrier
    while (host_deal_take(host, set, STRIP_MOST, 1, &helped, &span))
        host_strip_units(pass, &block, span, host_backend_local(host));
}

/* `words` in equal parts of `most` at most, of whole steps. */
static int64_t host_strip_equal(int64_t words, int64_t most)
{
    int64_t parts = (words + most - 1) / most, part = (words + parts - 1) / parts;
    return (part + HOST_PACK_STEP - 1) / HOST_PACK_STEP * HOST_PACK_STEP;
}

enum ij_status host_strip_run(struct host_backend *host,
                              const struct op_linear_backward_weight *args,
                              struct ij_err *reterr_err)
{
    if (args->rows == 0)
        return IJ_OK;
    bool tall = args->out >= args->in;
    int64_t shorter = tall ? args->in : args->out, longer = tall ? args->out : args->in;
    size_t room = host_strip_room(shorter);
    size_t local = HOST_TILE_FLOATS + (size_t)STRIP * (STRIP_CHUNK + STRIP_PADDING);
    IJ_TRY(host_backend_need(host, 2 * room, local, reterr_err));
    uint32_t *shared = (uint32_t *)(void *)host->shared;
    struct host_strip_pass pass = {.args = args,
                                   .tile = host_tile_of(host->isa, TENSOR_BF16),
                                   .tall = tall,
                                   .words =
                                       host_strip_equal(host_pack_words(TENSOR_BF16, args->rows),
                                                        host_strip_block_words(shorter)),
                                   .strips = host_strip_count(longer),
                                   .others = host_strip_count(shorter),
                                   .room = {shared, shared + room}};
    pass.chunk = host_strip_equal(pass.words, STRIP_CHUNK);
    int64_t wanted = host->base.threads > 1 ? STRIP_PARTS * host->base.threads : 1;
    pass.groups = (wanted + pass.strips - 1) / pass.strips;
    pass.groups = pass.groups > pass.others ? pass.others : pass.groups;
    int64_t blocks = (args->rows + 2 * pass.words - 1) / (2 * pass.words);
#pragma omp parallel num_threads(host->base.threads)
    {
        host_tile_begin(host->isa);
        for (int64_t i = 0; i < blocks; i++)
            host_strip_share(host, &pass, i);
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
#else
enum ij_status host_strip_run(struct host_backend *host,
                              const struct op_linear_backward_weight *args,
                              struct ij_err *reterr_err)
{
    (void)host, (void)args;
    return IJ_ERR(reterr_err, IJ_UNSUPPORTED,
                  "linear_backward_weight: no strips on this processor");
}

size_t host_strip_shared_floats(int64_t width)
{
    (void)width;
    return 0;
}
#endif
