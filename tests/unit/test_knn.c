/* k-NN against worked examples and a plain double-precision search. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/knn.h"

static struct backend *backend;

static void open_backend(void)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
}
static void close_backend(void)
{
    backend->ops->free(backend);
}

TestSuite(knn, .init = open_backend, .fini = close_backend);

static const float bank_features[] = {1, 0,         /**/ 0.9f, 0.1f,    /**/ 0,
                                      2, /**/ 0.1f, 0.8f,      /**/ -1, 0};
static const int32_t bank_labels[] = {0, 0, 1, 1, 2};
static const struct knn_set bank = {bank_features, bank_labels, 5};

static int32_t classify(float x, float y, uint32_t k, double temperature)
{
    const float features[] = {x, y};
    const int32_t label = 0;
    const struct knn_set query = {features, &label, 1};
    const struct knn_options options = {k, temperature, 3};
    int32_t got = -1;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(knn_classify(backend, &options, 2, &bank, &query, &got, &err), IJ_OK, "%s",
                 err.text);
    return got;
}

Test(knn, nearest_and_vote)
{
    cr_assert_eq(classify(5, 0.1f, 1, 0.07), 0);
    cr_assert_eq(classify(0, 0.01f, 1, 0.07), 1, "length does not count");
    cr_assert_eq(classify(-3, 0.1f, 1, 0.07), 2);
    cr_assert_eq(classify(-3, 0.1f, 5, 0.07), 2, "a cold vote follows the nearest");
    /* Hot: cosines to (-1, 0.05) are -0.999, -0.99, 0.05, -0.07, 0.999: weights of class 1 sum to
     * more than class 2's single one. */
    cr_assert_eq(classify(-1, 0.05f, 5, 10), 1, "a hot vote follows the many");
    cr_assert_eq(classify(1, 0.9f, 1000, 0.07), 0, "k beyond the bank means all of it");
}

Test(knn, top1_counts_wrong_and_unlabelled_queries)
{
    const float features[] = {1, 0, 0, 1, -1, 0, 1, 0};
    const int32_t labels[] = {0, 1, 0, -1};
    const struct knn_set query = {features, labels, 4};
    const struct knn_options options = {1, 0.07, 3};
    double top1;
    cr_assert_eq(knn_top1(backend, &options, 2, &bank, &query, &top1, NULL), IJ_OK);
    cr_assert_eq(top1, 0.5);
}

Test(knn, unlabelled_bank_rows_do_not_vote)
{
    const int32_t labels[] = {-1, -1, 1, 1, 2};
    const struct knn_set partly = {bank_features, labels, 5};
    const float features[] = {1, 0.2f};
    const int32_t label = 0;
    const struct knn_set query = {features, &label, 1};
    const struct knn_options options = {1, 0.07, 3};
    int32_t got;
    cr_assert_eq(knn_classify(backend, &options, 2, &partly, &query, &got, NULL), IJ_OK);
    cr_assert_eq(got, 1);
}

Test(knn, refuses_nothing_to_do)
{
    const struct knn_options none = {0, 0.07, 3}, good = {1, 0.07, 3};
    const struct knn_set empty = {bank_features, bank_labels, 0};
    int32_t got[5];
    cr_assert_eq(knn_classify(backend, &none, 2, &bank, &bank, got, NULL), IJ_INVALID);
    cr_assert_eq(knn_classify(backend, &good, 2, &empty, &bank, got, NULL), IJ_INVALID);
    cr_assert_eq(knn_classify(backend, &good, 2, &bank, &empty, got, NULL), IJ_INVALID);
}

/* ---- Against a plain search in double, over block borders ------------------------------------ */

enum { BANK = 4099, QUERIES = 301, WIDTH = 33, CLASSES = 7, K = 20 };

struct pair {
    double cosine;
    int index;
};
static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return x->cosine != y->cosine ? (x->cosine < y->cosine) - (x->cosine > y->cosine)
                                  : x->index - y->index;
}

static double cosine(const float *a, const float *b)
{
    double dot = 0, aa = 0, bb = 0;
    for (int d = 0; d < WIDTH; d++) {
        dot += (double)a[d] * b[d];
        aa += (double)a[d] * a[d];
        bb += (double)b[d] * b[d];
    }
    return dot / sqrt(aa * bb);
}

/* The winner, and by how much of the vote it leads. */
static int plain_vote(const float *features, const int32_t *labels, const float *query,
                      double *ret_lead)
{
    static struct pair pairs[BANK];
    double votes[CLASSES] = {0}, sum = 0;
    for (int i = 0; i < BANK; i++)
        pairs[i] = (struct pair){cosine(features + i * WIDTH, query), i};
    qsort(pairs, BANK, sizeof *pairs, compare_pairs);
    for (int i = 0; i < K; i++)
        votes[labels[pairs[i].index]] += exp(pairs[i].cosine / 0.07);
    int best = 0, second = 1;
    for (int c = 0; c < CLASSES; c++) {
        sum += votes[c];
        if (votes[c] > votes[best])
            best = c;
    }
    for (int c = 0; c < CLASSES; c++)
        if (c != best && (second == best || votes[c] > votes[second]))
            second = c;
    *ret_lead = (votes[best] - votes[second]) / sum;
    return best;
}

Test(knn, agrees_with_a_plain_search)
{
    float *features = mem_array(float, BANK *WIDTH), *queries = mem_array(float, QUERIES *WIDTH);
    int32_t *labels = mem_array(int32_t, BANK), got[QUERIES];
    struct rng rng;
    rng_init(&rng, 3, RNG_TEST, 0, 0);
    for (int i = 0; i < BANK; i++)
        labels[i] = (int32_t)rng_below(&rng, CLASSES);
    for (int i = 0; i < BANK * WIDTH; i++)
        features[i] = (float)rng_normal(&rng) + 0.3f * (float)(labels[i / WIDTH] == i % CLASSES);
    for (int i = 0; i < QUERIES * WIDTH; i++)
        queries[i] = (float)rng_normal(&rng) * 3;
    const struct knn_set big = {features, labels, BANK}, query = {queries, labels, QUERIES};
    const struct knn_options options = {K, 0.07, CLASSES};
    cr_assert_eq(knn_classify(backend, &options, WIDTH, &big, &query, got, NULL), IJ_OK);
    int compared = 0;
    for (int q = 0; q < QUERIES; q++) {
        double lead;
        int expected = plain_vote(features, labels, queries + q * WIDTH, &lead);
        if (lead < 1e-4)
            continue; /* float32 may decide a tie the other way */
        compared++;
        cr_assert_eq(got[q], expected, "query %d: %d, expected %d", q, got[q], expected);
    }
    cr_assert_gt(compared, QUERIES * 9 / 10);
    mem_free(features);
    mem_free(queries);
    mem_free(labels);
}
