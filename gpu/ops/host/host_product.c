/*
 * See host_product.h. A block of rows of the left side stays in the second-level cache while the
 * right side passes by, two panels at a time, each of which stays in the first-level cache.
 */
#include "gpu/ops/host/host_product.h"

#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_tile.h"

#define HOST_PRODUCT_BLOCK_WORDS (128 * 1024) /* of the left side: half of a megabyte */
#define HOST_PRODUCT_BLOCK_ROWS  256
#define HOST_PRODUCT_PARTS       4 /* per thread at least, or columns are split too */

/* What all threads know of one product. */
struct host_product_pass {
    const struct host_product *p;
    struct host_finish finish;
    host_tile_fn *tile;
    const uint32_t *right;
    int64_t words, block;          /* of k; rows that are worked on at a time */
    int64_t strips, pairs, groups; /* of 32 rows; of panels; of pairs */
    bool in_place;                 /* the left side needs no padding of k */
};

size_t host_product_shared_floats(int64_t width)
{
    return host_pack_size(TENSOR_F32, width, width);
}

static int64_t host_product_block(int64_t words)
{
    int64_t rows = HOST_PRODUCT_BLOCK_WORDS / words / HOST_TILE_ROWS * HOST_TILE_ROWS;
    return rows < HOST_TILE_ROWS            ? HOST_TILE_ROWS
           : rows > HOST_PRODUCT_BLOCK_ROWS ? HOST_PRODUCT_BLOCK_ROWS
                                            : rows;
}

size_t host_product_local_floats(int64_t width)
{
    int64_t words = host_pack_words(TENSOR_F32, width), strip = words * HOST_TILE_ROWS;
    return HOST_TILE_FLOATS +
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

/* Rows [row, row + rows), pairs of panels [first, last). */
static void host_product_rows(const struct host_product_pass *pass, int64_t row, int64_t rows,
                              struct host_span pairs, float *local)
{
    const struct host_product *p = pass->p;
    size_t size = tensor_type_size(p->a.type);
    const char *a = (const char *)p->a.data + (size_t)(row * p->k) * size;
    uint32_t *copy = (uint32_t *)(void *)(local + HOST_TILE_FLOATS);
    int64_t whole = pass->in_place ? rows / HOST_TILE_ROWS * HOST_TILE_ROWS : 0;
    struct host_matrix rest = {a + (size_t)(whole * p->k) * size, p->a.type, rows - whole, p->k,
                               p->k};
    if (whole < rows)
        host_pack_rows(&rest, (rows - whole + HOST_TILE_ROWS - 1) / HOST_TILE_ROWS * HOST_TILE_ROWS,
                       copy);
    for (int64_t pair = pairs.begin; pair < pairs.end; pair++) {
        int64_t column = pair * HOST_TILE_COLUMNS, left = p->n - column;
        for (int64_t at = 0; at < rows; at += HOST_TILE_ROWS) {
            struct host_finish_part part = {
                row + at, rows - at < HOST_TILE_ROWS ? rows - at : HOST_TILE_ROWS, column,
                left < HOST_TILE_COLUMNS ? left : HOST_TILE_COLUMNS};
            const uint32_t *from = at < whole ? (const uint32_t *)(const void *)a + at * pass->words
                                              : copy + (at - whole) * pass->words;
            struct host_tile tile = {.a = from,
                                     .b = pass->right + column * pass->words,
                                     .stride = pass->words,
                                     .words = pass->words,
                                     .rows = part.rows,
                                     .c = local,
                                     .c_stride = HOST_TILE_COLUMNS};
            pass->tile(&tile);
            host_finish_tile(&pass->finish, &part, local);
        }
    }
}

/* The calling thread's strips and groups of panels. */
static void host_product_part(const struct host_product_pass *pass, float *local)
{
    int64_t rows = pass->p->rows;
    struct host_span span = host_my_part(pass->strips * pass->groups, 1);
    for (int64_t unit = span.begin; unit < span.end;) {
        int64_t group = unit / pass->strips, strip = unit % pass->strips;
        int64_t count = pass->strips - strip, row = strip * HOST_TILE_ROWS;
        if (count > span.end - unit)
            count = span.end - unit;
        if (count > pass->block / HOST_TILE_ROWS)
            count = pass->block / HOST_TILE_ROWS;
        int64_t end = row + count * HOST_TILE_ROWS;
        struct host_span pairs = {pass->pairs * group / pass->groups,
                                  pass->pairs * (group + 1) / pass->groups};
        host_product_rows(pass, row, (end < rows ? end : rows) - row, pairs, local);
        unit += count;
    }
}

/* ---- All threads ----------------------------------------------------------------------------- */

static struct host_product_pass host_product_pass(const struct host_backend *host,
                                                  const struct host_product *p)
{
    int64_t words = host_pack_words(p->a.type, p->k);
    struct host_product_pass pass = {
        .p = p,
        .finish = p->finish,
        .tile = host_tile_of(host->isa, p->a.type),
        .right = (const uint32_t *)(const void *)host->shared,
        .words = words,
        .block = host_product_block(words),
        .strips = (p->rows + HOST_TILE_ROWS - 1) / HOST_TILE_ROWS,
        .pairs = (p->n + HOST_TILE_COLUMNS - 1) / HOST_TILE_COLUMNS,
        .groups = 1,
        .in_place = words * 4 == p->k * (int64_t)tensor_type_size(p->a.type),
    };
    int64_t wanted = HOST_PRODUCT_PARTS * host->base.threads;
    if (pass.strips > 0 && pass.strips < wanted && host->base.threads > 1)
        pass.groups = (wanted + pass.strips - 1) / pass.strips;
    if (pass.groups > pass.pairs)
        pass.groups = pass.pairs;
    if (p->a.type == TENSOR_BF16)
        pass.finish.gelu = &host->gelu;
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
#pragma omp parallel num_threads(host->base.threads)
    {
        struct host_span mine = host_my_part(2 * pass.pairs, 1);
        host_pack_panels_of(&weight, product->transposed, mine.begin, mine.end,
                            (uint32_t *)(void *)host->shared);
        host_tile_begin(host->isa);
#pragma omp barrier
        host_product_part(&pass, host_backend_local(host));
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
