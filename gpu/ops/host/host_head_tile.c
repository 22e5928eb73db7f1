/* See host_head_tile.h. */
#include "gpu/ops/host/host_head_tile.h"

#include <math.h>
#include <string.h>

#include "gpu/ops/host/host_pack.h"
#include "gpu/ops/host/host_softmax.h"

#define HEAD_ROWS  HOST_TILE_ROWS
#define HEAD_TILES 4 /* of keys, whose share of dq is added at a time */
#define HEAD_BLOCK (HEAD_TILES * HEAD_ROWS)
#define HEAD_LINE  64 /* bytes of the cache */

static int64_t host_head_padded(int64_t n)
{
    return (n + HEAD_ROWS - 1) / HEAD_ROWS * HEAD_ROWS;
}

static int64_t host_head_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cuts scratch into parts; with `base` NULL it only counts. */
struct host_head_cut {
    float *base;
    int64_t used;
};

/* `count` words, at a multiple of 64 bytes. */
static float *host_head_take(struct host_head_cut *cut, int64_t count)
{
    float *y = cut->base ? cut->base + cut->used : NULL;
    cut->used += (count + 15) / 16 * 16;
    return y;
}

static uint32_t *host_head_words(struct host_head_cut *cut, int64_t count)
{
    return (uint32_t *)(void *)host_head_take(cut, count);
}

/* Rows [row, row + rows) of a part of qkv (0 q, 1 k, 2 v), or of dout (3). */
static struct host_matrix host_head_matrix(const struct host_head_tile *h, int part, int64_t row,
                                           int64_t rows)
{
    struct tensor t = part == 3 ? h->dout : h->qkv;
    int64_t stride = part == 3 ? h->width : h->stride;
    int64_t first = (part == 3 ? h->at : h->q + part * h->width) + row * stride;
    struct host_matrix m = {(const char *)t.data + (size_t)first * tensor_type_size(t.type), t.type,
                            rows, h->dim, stride};
    return m;
}

/* Asks for rows of the head that will be next: they lie too far apart for a processor to see them
 * coming. */
static void host_head_fetch(const struct host_head_tile *h, int64_t row, int64_t rows)
{
    int64_t size = (int64_t)tensor_type_size(h->qkv.type), bytes = h->dim * size;
    const char *q = (const char *)h->qkv.data + (h->q + h->next + row * h->stride) * size;
    for (int64_t i = 0; h->next && i < rows; i++, q += h->stride * size)
        for (int64_t at = 0; at < bytes; at += HEAD_LINE)
            for (int part = 0; part < 3; part++)
                __builtin_prefetch(q + part * h->width * size + at, 0, 2);
}

/* A part's panels: as a right side with k = its rows, or, transposed, with k = the head's size. */
static void host_head_panels(const struct host_matrix *m, bool transposed, uint32_t *y)
{
    int64_t n = transposed ? m->rows : m->columns;
    host_pack_panels_of(m, transposed, 0, host_head_padded(n) / HOST_PACK_COLUMNS, y);
}

/* Rows of queries, or of keys, that are worked on at a time: as equal as a tile allows. */
static int64_t host_head_high(enum tensor_type type, int64_t length)
{
    int64_t blocks = length > 0 ? (length + HEAD_ROWS - 1) / HEAD_ROWS : 1;
    int64_t rows = (length + blocks - 1) / blocks + HOST_TILE_EXACT_F32 - 1;
    return type == TENSOR_F32 ? rows / HOST_TILE_EXACT_F32 * HOST_TILE_EXACT_F32 : HEAD_ROWS;
}

/* A left side of a tile: rows `stride` words apart, words of k `step` apart. */
struct host_head_left {
    const uint32_t *data;
    int64_t rows, stride, step;
};

/* `rows` rows of a part as a left side: where they lie, or, if words of k have to be padded or a
 * tile may read below them, packed into `room`. */
static struct host_head_left host_head_rows(const struct host_head_tile *h, int part, int64_t at,
                                            int64_t rows, uint32_t *room)
{
    struct host_matrix m = host_head_matrix(h, part, at, rows);
    int64_t size = (int64_t)tensor_type_size(m.type), words = host_pack_words(m.type, m.columns);
    bool in_place = m.columns * size == words * 4 && m.stride * size % 4 == 0;
    if (in_place && rows % (m.type == TENSOR_F32 ? HOST_TILE_EXACT_F32 : HEAD_ROWS) == 0)
        return (struct host_head_left){m.data, rows, m.stride * size / 4, 1};
    host_pack_rows(&m, HEAD_ROWS, room);
    return (struct host_head_left){room, rows, words, 1};
}

/* c (a's rows, n) = a b; c has rows of `stride` floats. */
static void host_head_product(const struct host_head_tile *h, const struct host_head_left *a,
                              const uint32_t *b, int64_t words, int64_t n, float *c, int64_t stride,
                              bool add)
{
    for (int64_t column = 0; column < n; column += HOST_TILE_COLUMNS) {
        struct host_tile tile = {.a = a->data,
                                 .b = b + column * words,
                                 .stride = a->stride,
                                 .step = a->step,
                                 .words = words,
                                 .rows = a->rows,
                                 .c = c + column,
                                 .c_stride = stride,
                                 .add = add};
        h->tile(&tile);
    }
}

/* y rows = a b, 32 columns at a time through `local`, rounded to the tensor's type. */
static void host_head_output(const struct host_head_tile *h, const uint32_t *a, const uint32_t *b,
                             int64_t words, int64_t rows, const float *factor, struct tensor y,
                             int64_t at, int64_t stride, float *local)
{
    struct host_head_left left = {a, rows, words, 1};
    for (int64_t column = 0; column < h->dim; column += HOST_TILE_COLUMNS) {
        host_head_product(h, &left, b + column * words, words, HOST_TILE_COLUMNS, local,
                          HOST_TILE_COLUMNS, false);
        host_softmax_store(local, rows, host_head_least(h->dim - column, HOST_TILE_COLUMNS), factor,
                           y, at + column, stride);
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

struct host_head_room {
    int64_t dim_words, words, row; /* k of scores, k of the output, floats in a row of scores */
    uint32_t *keys, *values, *queries, *p;
    float *scores, *local;
};

static struct host_head_room host_head_room(enum tensor_type type, int64_t length, int64_t dim,
                                            struct host_head_cut *cut)
{
    int64_t row = host_head_padded(length), wide = host_head_padded(dim);
    struct host_head_room r = {.dim_words = host_pack_words(type, dim),
                               .words = host_pack_words(type, length),
                               .row = row};
    r.local = host_head_take(cut, HOST_TILE_FLOATS);
    r.scores = host_head_take(cut, HEAD_ROWS * row);
    r.p = host_head_words(cut, HEAD_ROWS * r.words);
    r.queries = host_head_words(cut, HEAD_ROWS * r.dim_words);
    r.keys = host_head_words(cut, row * r.dim_words);
    r.values = host_head_words(cut, wide * r.words);
    return r;
}

static void host_head_queries(const struct host_head_tile *h, const struct host_head_room *r,
                              int64_t at, int64_t rows)
{
    float shift[HEAD_ROWS], sum[HEAD_ROWS];
    struct host_head_left q = host_head_rows(h, 0, at, rows, r->queries);
    host_head_fetch(h, at, rows);
    host_head_product(h, &q, r->keys, r->dim_words, r->row, r->scores, r->row, false);
    struct host_softmax softmax = {.type = h->qkv.type,
                                   .rows = rows,
                                   .n = h->length,
                                   .scale = 1.0f / sqrtf((float)h->dim),
                                   .scores = r->scores,
                                   .stride = r->row,
                                   .p = r->p,
                                   .words = r->words};
    host_softmax_forward(&softmax, shift, sum);
    for (int64_t i = 0; i < rows; i++) {
        if (h->lse)
            h->lse[(at + i) * h->lse_stride] = shift[i] + logf(sum[i]);
        sum[i] = 1.0f / sum[i];
    }
    host_head_output(h, r->p, r->values, r->words, rows, sum, h->out, h->at + at * h->width,
                     h->width, r->local);
}

void host_head_tile_forward(const struct host_head_tile *head)
{
    int64_t length = head->length,
            high = host_head_high(head->qkv.type, length - head->query_start);
    struct host_head_cut cut = {.base = head->scratch};
    if (head->query_start >= length)
        return;
    struct host_head_room room = host_head_room(head->qkv.type, length, head->dim, &cut);
    struct host_matrix k = host_head_matrix(head, 1, 0, length);
    struct host_matrix v = host_head_matrix(head, 2, 0, length);
    host_head_panels(&k, true, room.keys);
    host_head_panels(&v, false, room.values);
    for (int64_t at = head->query_start; at < length; at += high)
        host_head_queries(head, &room, at, host_head_least(length - at, high));
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Queries from query_start on are counted from 0 here: there are `queries` of them. */
struct host_head_back {
    int64_t queries, dim_words, words, row, wide; /* padded queries, padded head size */
    float *local, *scores, *dscores, *lse, *delta, *dq;
    uint32_t *q_across, *dout_across; /* panels with k = head size */
    uint32_t *q_down, *dout_down;     /* panels with k = queries */
    uint32_t *k, *v;                  /* 32 rows */
    uint32_t *p, *ds;                 /* 32 rows, HEAD_BLOCK rows, of `words` */
    uint32_t *ds_turned, *k_down;     /* a block's ds transposed, its keys as panels */
};

static struct host_head_back host_head_back(enum tensor_type type, int64_t queries, int64_t dim,
                                            struct host_head_cut *cut)
{
    struct host_head_back b = {.queries = queries,
                               .dim_words = host_pack_words(type, dim),
                               .words = host_pack_words(type, queries),
                               .row = host_head_padded(queries),
                               .wide = host_head_padded(dim)};
    int64_t block = host_pack_words(type, HEAD_BLOCK);
    b.local = host_head_take(cut, HOST_TILE_FLOATS);
    b.scores = host_head_take(cut, HEAD_ROWS * b.row);
    b.dscores = host_head_take(cut, HEAD_ROWS * b.row);
    b.lse = host_head_take(cut, b.row);
    b.delta = host_head_take(cut, b.row);
    b.dq = host_head_take(cut, b.row * b.wide);
    b.q_across = host_head_words(cut, b.row * b.dim_words);
    b.dout_across = host_head_words(cut, b.row * b.dim_words);
    b.q_down = host_head_words(cut, b.wide * b.words);
    b.dout_down = host_head_words(cut, b.wide * b.words);
    b.k = host_head_words(cut, HEAD_ROWS * b.dim_words);
    b.v = host_head_words(cut, HEAD_ROWS * b.dim_words);
    b.p = host_head_words(cut, HEAD_ROWS * b.words);
    b.ds = host_head_words(cut, HEAD_BLOCK * b.words);
    b.ds_turned = host_head_words(cut, b.row * block);
    b.k_down = host_head_words(cut, b.wide * block);
    return b;
}

size_t host_head_tile_floats(int64_t length, int64_t dim)
{
    struct host_head_cut forward = {.base = NULL}, backward = {.base = NULL};
    (void)host_head_room(TENSOR_F32, length, dim, &forward);
    (void)host_head_back(TENSOR_F32, length, dim, &backward);
    return (size_t)(forward.used > backward.used ? forward.used : backward.used);
}

static void host_head_back_prepare(const struct host_head_tile *h, const struct host_head_back *b)
{
    int64_t start = h->query_start;
    struct host_matrix q = host_head_matrix(h, 0, start, b->queries);
    struct host_matrix dout = host_head_matrix(h, 3, start, b->queries);
    host_head_panels(&q, true, b->q_across);
    host_head_panels(&q, false, b->q_down);
    host_head_panels(&dout, true, b->dout_across);
    host_head_panels(&dout, false, b->dout_down);
    memset(b->lse, 0, (size_t)b->row * sizeof(float));
    memset(b->delta, 0, (size_t)b->row * sizeof(float));
    for (int64_t i = 0; i < b->queries; i++) {
        b->lse[i] = h->lse[(start + i) * h->lse_stride];
        b->delta[i] = host_softmax_dot(h->out, h->dout, h->at + (start + i) * h->width, h->dim);
    }
}

/* A tile's rows of keys: writes their dk and dv, and their rows of ds. */
static void host_head_keys(const struct host_head_tile *h, const struct host_head_back *b,
                           int64_t at, int64_t rows, uint32_t *ds)
{
    struct host_head_left k = host_head_rows(h, 1, at, rows, b->k);
    struct host_head_left v = host_head_rows(h, 2, at, rows, b->v);
    host_head_fetch(h, at, rows);
    host_head_product(h, &k, b->q_across, b->dim_words, b->row, b->scores, b->row, false);
    host_head_product(h, &v, b->dout_across, b->dim_words, b->row, b->dscores, b->row, false);
    struct host_softmax softmax = {.type = h->qkv.type,
                                   .rows = rows,
                                   .n = b->queries,
                                   .scale = 1.0f / sqrtf((float)h->dim),
                                   .scores = b->scores,
                                   .dscores = b->dscores,
                                   .stride = b->row,
                                   .p = b->p,
                                   .ds = ds,
                                   .words = b->words};
    host_softmax_backward(&softmax, b->lse, b->delta);
    size_t rest = (size_t)((HEAD_ROWS - rows) * b->words) * sizeof *ds;
    memset(b->p + rows * b->words, 0, rest);
    memset(ds + rows * b->words, 0, rest);
    int64_t to = h->q + at * h->stride;
    host_head_output(h, ds, b->q_down, b->words, rows, NULL, h->dqkv, to + h->width, h->stride,
                     b->local);
    host_head_output(h, b->p, b->dout_down, b->words, rows, NULL, h->dqkv, to + 2 * h->width,
                     h->stride, b->local);
}

/* The transpose of a block's ds as a left side, from query `row` on. Float32 tiles take it as it
 * lies; bfloat16 was turned into `ds_turned`. */
static struct host_head_left host_head_turned(const struct host_head_back *b, enum tensor_type type,
                                              int64_t row, int64_t rows, int64_t words)
{
    if (type == TENSOR_F32)
        return (struct host_head_left){b->ds + row, rows, 1, b->words};
    return (struct host_head_left){b->ds_turned + row * words, rows, words, 1};
}

/* dq += ds k for a block of keys. */
static void host_head_share(const struct host_head_tile *h, const struct host_head_back *b,
                            int64_t at, int64_t keys)
{
    enum tensor_type type = h->qkv.type;
    int64_t words = host_pack_words(type, keys);
    struct host_matrix k = host_head_matrix(h, 1, at, keys);
    int64_t elements = b->words * 4 / (int64_t)tensor_type_size(type);
    struct host_matrix ds = {b->ds, type, keys, elements, elements};
    host_head_panels(&k, false, b->k_down);
    if (type == TENSOR_F32)
        memset(b->ds + keys * b->words, 0, (size_t)((words - keys) * b->words) * sizeof *b->ds);
    else
        host_pack_transposed_rows(&ds, 0, b->row / HOST_PACK_COLUMNS, words, b->ds_turned);
    int64_t high = host_head_high(type, b->queries);
    for (int64_t row = 0; row < b->queries; row += high) {
        struct host_head_left left =
            host_head_turned(b, type, row, host_head_least(b->queries - row, high), words);
        host_head_product(h, &left, b->k_down, words, b->wide, b->dq + row * b->wide, b->wide,
                          at > 0);
    }
}

/* The rows below query_start are zero; with no query at all, so is everything. */
static void host_head_zero(const struct host_head_tile *h, int part, int64_t rows)
{
    size_t size = tensor_type_size(h->dqkv.type);
    for (int64_t row = 0; row < rows; row++)
        memset((char *)h->dqkv.data + (size_t)(h->q + part * h->width + row * h->stride) * size, 0,
               (size_t)h->dim * size);
}

void host_head_tile_backward(const struct host_head_tile *head)
{
    int64_t length = head->length, start = head->query_start;
    int64_t high = host_head_high(head->qkv.type, length), block = HEAD_TILES * high;
    host_head_zero(head, 0, host_head_least(start, length));
    if (start >= length) {
        host_head_zero(head, 1, length);
        host_head_zero(head, 2, length);
        return;
    }
    struct host_head_cut cut = {.base = head->scratch};
    struct host_head_back b = host_head_back(head->qkv.type, length - start, head->dim, &cut);
    host_head_back_prepare(head, &b);
    for (int64_t at = 0; at < length; at += block) {
        int64_t keys = host_head_least(length - at, block);
        for (int64_t row = 0; row < keys; row += high)
            host_head_keys(head, &b, at + row, host_head_least(keys - row, high),
                           b.ds + row * b.words);
        host_head_share(head, &b, at, keys);
    }
    for (int64_t row = 0; row < b.queries; row += HEAD_ROWS)
        for (int64_t column = 0; column < head->dim; column += HOST_TILE_COLUMNS) {
            for (int64_t i = 0; i < HEAD_ROWS; i++)
                memcpy(b.local + i * HOST_TILE_COLUMNS, b.dq + (row + i) * b.wide + column,
                       HOST_TILE_COLUMNS * sizeof(float));
            host_softmax_store(b.local, host_head_least(b.queries - row, HEAD_ROWS),
                               host_head_least(head->dim - column, HOST_TILE_COLUMNS), NULL,
                               head->dqkv, head->q + (start + row) * head->stride + column,
                               head->stride);
        }
}
