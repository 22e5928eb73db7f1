/*
 * See knn.h.
 *
 * The bank goes over the device in blocks; for each, all queries do, in blocks: one matrix product
 * gives their cosines, and each query keeps its k best so far in a heap whose root is the worst.
 * "Better" is a larger cosine, then a smaller bank index, so the result does not depend on blocks.
 */
#include "gpu/eval/knn.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/ops/host/host_simd.h"

#define BANK_BLOCK  4096
#define QUERY_BLOCK 1024
#define GLANCE      64 /* cosines that are compared with the worst neighbour at once */

struct neighbor {
    float cosine;
    int32_t index;
};

struct knn_work {
    struct backend *backend;
    int64_t width;
    size_t k;
    float *host;    /* (max block, width) normalised rows on their way to the device */
    float *cosines; /* (QUERY_BLOCK, BANK_BLOCK), host */
    float *bank, *query, *product; /* device */
    struct neighbor *best;         /* (queries, k) heaps */
    size_t *held;                  /* (queries) entries in each heap */
};

/* ---- Heaps ----------------------------------------------------------------------------------- */

static bool is_worse(struct neighbor a, struct neighbor b)
{
    return a.cosine < b.cosine || (a.cosine == b.cosine && a.index > b.index);
}

static void sift_down(struct neighbor *heap, size_t count, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < count && is_worse(heap[left], heap[worst]))
            worst = left;
        if (right < count && is_worse(heap[right], heap[worst]))
            worst = right;
        if (worst == i)
            return;
        struct neighbor kept = heap[i];
        heap[i] = heap[worst];
        heap[worst] = kept;
        i = worst;
    }
}

static void sift_up(struct neighbor *heap, size_t i)
{
    while (i > 0 && is_worse(heap[i], heap[(i - 1) / 2])) {
        struct neighbor kept = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = kept;
        i = (i - 1) / 2;
    }
}

static void offer(struct neighbor *heap, size_t *held, size_t k, struct neighbor candidate)
{
    if (*held < k) {
        heap[*held] = candidate;
        sift_up(heap, (*held)++);
    } else if (is_worse(heap[0], candidate)) {
        heap[0] = candidate;
        sift_down(heap, k, 0);
    }
}

/* ---- Similarities ---------------------------------------------------------------------------- */

/* Normalised copies of `rows` rows; a zero row stays zero. */
static void normalise(const float *features, size_t rows, int64_t width, float *ret_rows)
{
    for (size_t r = 0; r < rows; r++) {
        const float *x = features + r * (size_t)width;
        double square = 0;
        for (int64_t d = 0; d < width; d++)
            square += (double)x[d] * x[d];
        double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (int64_t d = 0; d < width; d++)
            ret_rows[r * (size_t)width + (size_t)d] = (float)(x[d] * scale);
    }
}

static enum ij_status upload_rows(struct knn_work *work, const struct knn_set *set, size_t first,
                                  size_t rows, float *device, struct ij_err *reterr_err)
{
    struct backend *backend = work->backend;
    size_t width = (size_t)work->width;
    normalise(set->features + first * width, rows, work->width, work->host);
    return backend->ops->upload(backend, device, work->host, rows * width * sizeof(float),
                                reterr_err);
}

static enum ij_status multiply(struct knn_work *work, size_t queries, size_t banks,
                               struct ij_err *reterr_err)
{
    struct backend *backend = work->backend;
    const struct op_matmul args = {.m = (int64_t)queries,
                                   .n = (int64_t)banks,
                                   .k = work->width,
                                   .transpose_b = true,
                                   .a = work->query,
                                   .b = work->bank,
                                   .c = work->product,
                                   .alpha = 1};
    IJ_TRY(backend->ops->matmul(backend, &args, reterr_err));
    IJ_TRY(backend->ops->download(backend, work->cosines, work->product,
                                  queries * banks * sizeof(float), reterr_err));
    return backend->ops->synchronize(backend, reterr_err);
}

HOST_CLONES static bool any_above(const float *cosines, size_t count, float bound)
{
    int found = 0;
#pragma omp simd reduction(| : found)
    for (size_t i = 0; i < count; i++)
        found |= cosines[i] > bound;
    return found;
}

/* Offers `banks` rows of the bank, beginning with `first`, to one query. The bank goes by in order,
 * so in a full heap only a larger cosine than the worst can take a place. */
static void offer_row(struct knn_work *work, const struct knn_options *options,
                      const struct knn_set *bank, size_t first, size_t banks, const float *cosines,
                      size_t query)
{
    struct neighbor *heap = work->best + query * work->k;
    for (size_t i = 0; i < banks; i++) {
        size_t glance = banks - i < GLANCE ? banks - i : GLANCE;
        if (i % GLANCE == 0 && work->held[query] == work->k &&
            !any_above(cosines + i, glance, heap[0].cosine)) {
            i += glance - 1;
            continue;
        }
        int32_t label = bank->labels[first + i];
        if (label >= 0 && (size_t)label < options->classes)
            offer(heap, &work->held[query], work->k,
                  (struct neighbor){cosines[i], (int32_t)(first + i)});
    }
}

/* Offers the bank rows of one block to every query. */
static enum ij_status search_block(struct knn_work *work, const struct knn_options *options,
                                   const struct knn_set *bank, size_t first, size_t banks,
                                   const struct knn_set *query, struct ij_err *reterr_err)
{
    IJ_TRY(upload_rows(work, bank, first, banks, work->bank, reterr_err));
    IJ_TRY(work->backend->ops->synchronize(work->backend, reterr_err)); /* host buffer is reused */
    for (size_t q = 0; q < query->count; q += QUERY_BLOCK) {
        size_t queries = query->count - q < QUERY_BLOCK ? query->count - q : QUERY_BLOCK;
        IJ_TRY(upload_rows(work, query, q, queries, work->query, reterr_err));
        IJ_TRY(multiply(work, queries, banks, reterr_err));
        for (size_t r = 0; r < queries; r++)
            offer_row(work, options, bank, first, banks, work->cosines + r * banks, q + r);
    }
    return IJ_OK;
}

/* ---- The vote -------------------------------------------------------------------------------- */

static int compare_neighbors(const void *a, const void *b)
{
    const struct neighbor *x = a, *y = b;
    return is_worse(*x, *y) ? 1 : is_worse(*y, *x) ? -1 : 0;
}

static int32_t vote(struct neighbor *best, size_t held, const struct knn_set *bank,
                    const struct knn_options *options, double *votes)
{
    memset(votes, 0, options->classes * sizeof *votes);
    qsort(best, held, sizeof *best, compare_neighbors); /* a fixed order of summation */
    for (size_t i = 0; i < held; i++)
        votes[bank->labels[best[i].index]] +=
            exp(((double)best[i].cosine - 1) / options->temperature);
    size_t winner = 0;
    for (size_t c = 1; c < options->classes; c++)
        if (votes[c] > votes[winner])
            winner = c;
    return (int32_t)winner;
}

/* ---- Public ---------------------------------------------------------------------------------- */

uint64_t knn_device_bytes(int64_t width, size_t banks, size_t queries)
{
    uint64_t bank = banks < BANK_BLOCK ? banks : BANK_BLOCK;
    uint64_t query = queries < QUERY_BLOCK ? queries : QUERY_BLOCK;
    return ((bank + query) * (uint64_t)width + bank * query) * sizeof(float);
}

static enum ij_status work_init(struct knn_work *work, size_t banks, size_t queries,
                                struct ij_err *reterr_err)
{
    struct backend *backend = work->backend;
    size_t row = (size_t)work->width * sizeof(float);
    size_t bank = banks < BANK_BLOCK ? banks : BANK_BLOCK;
    size_t query = queries < QUERY_BLOCK ? queries : QUERY_BLOCK;
    work->host = mem_alloc_zero(bank > query ? bank : query, row);
    work->cosines = mem_alloc_zero(bank * query, sizeof(float));
    work->best = mem_alloc_zero(queries, work->k * sizeof *work->best);
    work->held = mem_array(size_t, queries);
    if (!work->host || !work->cosines || !work->best || !work->held)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for k-NN over %zu images", banks);
    IJ_TRY(backend->ops->allocate(backend, bank * row, (void **)&work->bank, reterr_err));
    IJ_TRY(backend->ops->allocate(backend, query * row, (void **)&work->query, reterr_err));
    return backend->ops->allocate(backend, bank * query * sizeof(float), (void **)&work->product,
                                  reterr_err);
}

static void work_done(struct knn_work *work)
{
    struct backend *backend = work->backend;
    backend->ops->release(backend, work->product);
    backend->ops->release(backend, work->query);
    backend->ops->release(backend, work->bank);
    mem_free(work->held);
    mem_free(work->best);
    mem_free(work->cosines);
    mem_free(work->host);
}

static enum ij_status classify(struct knn_work *work, const struct knn_options *options,
                               const struct knn_set *bank, const struct knn_set *query,
                               int32_t *ret_classes, struct ij_err *reterr_err)
{
    IJ_TRY(work_init(work, bank->count, query->count, reterr_err));
    for (size_t first = 0; first < bank->count; first += BANK_BLOCK) {
        size_t banks = bank->count - first < BANK_BLOCK ? bank->count - first : BANK_BLOCK;
        IJ_TRY(search_block(work, options, bank, first, banks, query, reterr_err));
    }
    mem_auto double *votes = mem_array(double, options->classes);
    if (!votes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu classes", options->classes);
    for (size_t q = 0; q < query->count; q++)
        ret_classes[q] = vote(work->best + q * work->k, work->held[q], bank, options, votes);
    return IJ_OK;
}

enum ij_status knn_classify(struct backend *backend, const struct knn_options *options,
                            int64_t width, const struct knn_set *bank, const struct knn_set *query,
                            int32_t *ret_classes, struct ij_err *reterr_err)
{
    if (bank->count == 0 || query->count == 0 || options->classes == 0 || options->neighbors == 0 ||
        bank->count > INT32_MAX)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "k-NN needs k, images and classes: k %u, %zu, %zu, %zu", options->neighbors,
                      bank->count, query->count, options->classes);
    struct knn_work work = {.backend = backend,
                            .width = width,
                            .k = options->neighbors < bank->count ? options->neighbors
                                                                  : bank->count};
    enum ij_status status = classify(&work, options, bank, query, ret_classes, reterr_err);
    work_done(&work);
    return status;
}

enum ij_status knn_top1(struct backend *backend, const struct knn_options *options, int64_t width,
                        const struct knn_set *bank, const struct knn_set *query, double *ret_top1,
                        struct ij_err *reterr_err)
{
    mem_auto int32_t *classes = mem_array(int32_t, query->count);
    size_t right = 0;
    if (!classes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for k-NN over %zu images", query->count);
    IJ_TRY(knn_classify(backend, options, width, bank, query, classes, reterr_err));
    for (size_t q = 0; q < query->count; q++)
        right += classes[q] == query->labels[q];
    *ret_top1 = (double)right / (double)query->count;
    return IJ_OK;
}
