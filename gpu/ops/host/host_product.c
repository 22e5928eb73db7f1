/*
 * See host_product.h. Float32: a block of rows of the left side stays in the second-level cache
 * while the right side passes by, two panels at a time, which stay in the first-level cache.
 *
 * Bfloat16, whose tiles are done sooner than memory takes their results: a group of panels stays in
 * the second-level cache; strip after strip meets all of them, so that results are written along
 * rows. What stays in the first-level cache is the strip; where it is too long for that, a part of
 * its k, whose sums wait in scratch for the next part.
 */
#include "gpu/ops/host/host_product.h"

#include "gpu/ops/host/host_deal.h"
#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_tile.h"

#define HOST_PRODUCT_BLOCK_WORDS (128 * 1024) /* of the left side: half of a megabyte */
#define HOST_PRODUCT_BLOCK_ROWS  256
#define HOST_PRODUCT_PARTS       4 /* per thread at least, or columns are split too */
#define HOST_PRODUCT_LEAST       2 /* strips that a thread takes at a time */
#define HOST_PRODUCT_GROUP_WORDS                                                                   \
    (320 * 1024)                             /* of a group of panels with AMX: L2 has 2 MiB there */
#define HOST_PRODUCT_GROUP_LESS (128 * 1024) /* with less */
#define HOST_PRODUCT_CHUNK      256          /* words of k in the first-level cache */
#define HOST_PRODUCT_AHEAD      2 /* tiles from asking for what a tile's finish touches to it */
#define HOST_PRODUCT_STREAM     (1024 * 1024) /* bytes per thread that may stay in cache */
#define HOST_PRODUCT_LINE       64            /* bytes of the cache */

/* What all threads know of one product. */
struct host_product_pass {
    const struct host_product *p;
    struct host_finish finish;
    host_tile_fn *tile;
    const uint32_t *right;
    int64_t words, high, block;    /* of k; rows of a tile; strips that are worked on at a time */
    int64_t strips, pairs, groups; /* of a tile's rows; of panels; of pairs */
    bool in_place;                 /* the left side needs no padding of k */
    bool along;                    /* a strip meets all panels before the next one does */
    int64_t chunk;                 /* words of k that are worked on at a time */
};

/* Rows [row, row + rows) by pairs of panels: what one call works on. */
struct host_product_block {
    int64_t row, rows, whole; /* of `rows` so many are read in place, the rest from `copy` */
    struct host_span pairs;
    const uint32_t *a, *copy;
    float *sums;
};

size_t host_product_shared_floats(int64_t width)
{
    return host_pack_size(TENSOR_F32, width, width);
}

/* Strips of `high` rows. */
static int64_t host_product_block(int64_t words, int64_t high)
{
    int64_t rows = HOST_PRODUCT_BLOCK_WORDS / words;
    if (rows > HOST_PRODUCT_BLOCK_ROWS)
        rows = HOST_PRODUCT_BLOCK_ROWS;
    return rows < high ? 1 : rows / high;
}

/* Floats of a strip of n columns. */
static size_t host_product_sums(int64_t n)
{
    return (size_t)((n + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS) * HOST_TILE_FLOATS;
}

size_t host_product_local_floats(int64_t width)
{
    int64_t words = host_pack_words(TENSOR_F32, width), strip = words * HOST_TILE_ROWS;
    return host_product_sums(width) +
           (size_t)(strip > HOST_PRODUCT_BLOCK_WORDS ? strip : HOST_PRODUCT_BLOCK_WORDS);
}

static bool host_product_is(struct tensor t, enum tensor_type type)
{
    return !t.data || t.type == type;
}

bool host_product_fits(const struct host_backend *host, const struct host_product *product)
{
    const struct host_finish *f = &product->finish;
    enum tensor_type type = product->a.type;
    if (type != product->weight.type || !host_tile_of(host->isa, type))
        return false;
    return type == TENSOR_BF16 ||
           (host_product_is(f->pre, type) && host_product_is(f->slope_pre, type) &&
            host_product_is(f->residual, type) && host_product_is(f->y, type));
}

/* ---- One thread's part ----------------------------------------------------------------------- */

/* Where tile `index` of a block lies. */
static struct host_finish_part host_product_place(const struct host_product_pass *pass,
                                                  const struct host_product_block *block,
                                                  int64_t index)
{
    int64_t high = pass->high, strips = (block->rows + high - 1) / high;
    int64_t pairs = block->pairs.end - block->pairs.begin;
    int64_t strip = pass->along ? index / pairs : index % strips;
    int64_t pair = block->pairs.begin + (pass->along ? index % pairs : index / strips);
    int64_t below = block->rows - strip * high;
    int64_t right = pass->p->n - pair * HOST_TILE_COLUMNS;
    return (struct host_finish_part){block->row + strip * high, below < high ? below : high,
                                     pair * HOST_TILE_COLUMNS,
                                     right < HOST_TILE_COLUMNS ? right : HOST_TILE_COLUMNS};
}

/* Adds the part of k from `word` on to the sums of one tile. */
static void host_product_tile(const struct host_product_pass *pass,
                              const struct host_product_block *block,
                              const struct host_finish_part *part, int64_t word, float *sums)
{
    int64_t at = part->row - block->row, left = pass->words - word;
    const uint32_t *strip = at < block->whole ? block->a + at * pass->words
                                              : block->copy + (at - block->whole) * pass->words;
    struct host_tile tile = {.a = strip + word,
                             .b = pass->right + part->column * pass->words +
                                  word * HOST_PACK_COLUMNS,
                             .stride = pass->words,
                             .words = left < pass->chunk ? left : pass->chunk,
                             .panel = pass->words,
                             .b_passes = pass->along,
                             .rows = part->rows,
                             .c = sums,
                             .c_stride = HOST_TILE_COLUMNS,
                             .add = word > 0};
    pass->tile(&tile);
}

/* Asks for a part of the rows below a block, likely to be the next ones, while tile `index` of
 * `count` is made: waiting for them would take a tenth of a narrow product's time. */
static void host_product_ahead(const struct host_product_pass *pass,
                               const struct host_product_block *block, int64_t index, int64_t count)
{
    const struct host_product *p = pass->p;
    int64_t below = p->rows - block->row - block->rows;
    size_t size = tensor_type_size(p->a.type) * (size_t)p->k;
    int64_t lines = (below < block->rows ? below : block->rows) * (int64_t)size / HOST_PRODUCT_LINE;
    const char *next = (const char *)p->a.data + (size_t)(block->row + block->rows) * size;
    for (int64_t i = lines * index / count; i < lines * (index + 1) / count; i++)
        __builtin_prefetch(next + i * HOST_PRODUCT_LINE, 0, 2);
}

/* All tiles of a block. */
static void host_product_tiles(const struct host_product_pass *pass,
                               const struct host_product_block *block)
{
    int64_t pairs = block->pairs.end - block->pairs.begin;
    int64_t count = (block->rows + pass->high - 1) / pass->high * pairs;
    int64_t last = (pass->words - 1) / pass->chunk * pass->chunk;
    for (int64_t first = 0; first < count; first += pairs) {
        for (int64_t word = 0; word < last; word += pass->chunk)
            for (int64_t i = 0; i < pairs; i++) {
                struct host_finish_part part = host_product_place(pass, block, first + i);
                host_product_tile(pass, block, &part, word, block->sums + i * HOST_TILE_FLOATS);
            }
        for (int64_t i = 0; i < pairs; i++) {
            struct host_finish_part part = host_product_place(pass, block, first + i);
            struct host_finish_part next =
                host_product_place(pass, block, first + i + HOST_PRODUCT_AHEAD);
            float *sums = block->sums + (last ? i * HOST_TILE_FLOATS : 0);
            if (first + i + HOST_PRODUCT_AHEAD < count)
                host_finish_fetch(&pass->finish, &next);
            if (!pass->along)
                host_product_ahead(pass, block, first + i, count);
            host_product_tile(pass, block, &part, last, sums);
            host_finish_tile(&pass->finish, &part, sums);
        }
    }
}

/* Rows [row, row + rows), pairs of panels [first, last). */
static void host_product_rows(const struct host_product_pass *pass, int64_t row, int64_t rows,
                              struct host_span pairs, float *local)
{
    const struct host_product *p = pass->p;
    size_t size = tensor_type_size(p->a.type);
    const char *a = (const char *)p->a.data + (size_t)(row * p->k) * size;
    uint32_t *copy = (uint32_t *)(void *)(local + host_product_sums(p->n));
    int64_t high = pass->high, whole = pass->in_place ? rows / high * high : 0;
    struct host_matrix rest = {a + (size_t)(whole * p->k) * size, p->a.type, rows - whole, p->k,
                               p->k};
    if (whole < rows)
        host_pack_rows(&rest, (rows - whole + high - 1) / high * high, copy);
    struct host_product_block block = {.row = row,
                                       .rows = rows,
                                       .whole = whole,
                                       .pairs = pairs,
                                       .a = (const uint32_t *)(const void *)a,
                                       .copy = copy,
                                       .sums = local};
    host_product_tiles(pass, &block);
}

/* Strips of groups of panels, group after group. */
static void host_product_part(const struct host_product_pass *pass, struct host_span span,
                              float *local)
{
    int64_t rows = pass->p->rows;
    for (int64_t unit = span.begin; unit < span.end;) {
        int64_t group = unit / pass->strips, strip = unit % pass->strips;
        int64_t count = pass->strips - strip, row = strip * pass->high;
        if (count > span.end - unit)
            count = span.end - unit;
        int64_t end = row + count * pass->high;
        struct host_span pairs = {pass->pairs * group / pass->groups,
                                  pass->pairs * (group + 1) / pass->groups};
        host_product_rows(pass, row, (end < rows ? end : rows) - row, pairs, local);
        unit += count;
    }
}

/* ---- All threads ----------------------------------------------------------------------------- */

/* Are all rows of t whole lines of the cache? */
static bool host_product_lines(struct tensor t, int64_t stride)
{
    return (uintptr_t)t.data % HOST_PRODUCT_LINE == 0 &&
           stride * (int64_t)tensor_type_size(t.type) % HOST_PRODUCT_LINE == 0;
}

/* A line that is written has to be fetched first, and nothing fetches it ahead: large results,
 * which the cache would lose anyway, are written past it. */
static bool host_product_streams(const struct host_product *p, int threads)
{
    const struct host_finish *f = &p->finish;
    int64_t size = (int64_t)tensor_type_size(f->y.type);
    size += f->pre.data ? (int64_t)tensor_type_size(f->pre.type) : 0;
    return p->rows * p->n * size > (int64_t)threads * HOST_PRODUCT_STREAM &&
           f->residual.data != f->y.data && host_product_lines(f->y, f->stride) &&
           (!f->pre.data || host_product_lines(f->pre, f->stride));
}

static struct host_product_pass host_product_pass(const struct host_backend *host,
                                                  const struct host_product *p)
{
    int64_t words = host_pack_words(p->a.type, p->k), high = host_tile_rows(p->a.type);
    struct host_product_pass pass = {
        .p = p,
        .finish = p->finish,
        .tile = host_tile_of(host->isa, p->a.type),
        .right = (const uint32_t *)(const void *)host->shared,
        .words = words,
        .high = high,
        .block = host_product_block(words, high),
        .strips = (p->rows + high - 1) / high,
        .pairs = (p->n + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS,
        .groups = 1,
        .along = p->a.type == TENSOR_BF16,
        .chunk = words,
        .in_place = words * 4 == p->k * (int64_t)tensor_type_size(p->a.type),
    };
    int64_t wanted = HOST_PRODUCT_PARTS * host->base.threads;
    if (pass.strips > 0 && pass.strips < wanted && host->base.threads > 1)
        pass.groups = (wanted + pass.strips - 1) / pass.strips;
    if (pass.along) {
        int64_t room =
            host->isa >= HOST_ISA_AMX ? HOST_PRODUCT_GROUP_WORDS : HOST_PRODUCT_GROUP_LESS;
        int64_t least = (pass.pairs * words * HOST_TILE_COLUMNS + room - 1) / room;
        pass.groups = pass.groups < least ? least : pass.groups;
    }
    if (pass.groups > pass.pairs)
        pass.groups = pass.pairs;
    if (pass.along)
        pass.chunk = HOST_PRODUCT_CHUNK;
    if (p->a.type == TENSOR_BF16)
        pass.finish.gelu = &host->gelu;
    pass.finish.stream = host_product_streams(p, host->base.threads);
    return pass;
}

enum ij_status host_product_run(struct host_backend *host, const struct host_product *product,
                                struct ij_err *reterr_err)
{
    enum tensor_type type = product->a.type;
    int64_t widest = product->k > product->n ? product->k : product->n;
    IJ_TRY(host_backend_need(host, host_pack_size(type, product->k, product->n),
                             host_product_local_floats(widest), reterr_err));
    struct host_matrix weight = {product->weight.data, type,
                                 product->transposed ? product->n : product->k,
                                 product->transposed ? product->k : product->n,
                                 product->transposed ? product->k : product->n};
    struct host_product_pass pass = host_product_pass(host, product);
    host_deal_out(host, 0, pass.strips * pass.groups);
#pragma omp parallel num_threads(host->base.threads)
    {
        struct host_span mine = host_my_part(2 * pass.pairs, 1), span;
        int helped = 0;
        host_pack_panels_of(&weight, product->transposed, mine.begin, mine.end,
                            (uint32_t *)(void *)host->shared);
        host_tile_begin(host->isa);
#pragma omp barrier
        while (host_deal_take(host, 0, pass.block, HOST_PRODUCT_LEAST, &helped, &span))
            host_product_part(&pass, span, host_backend_local(host));
        host_finish_end(&pass.finish);
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
