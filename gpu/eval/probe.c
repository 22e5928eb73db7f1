/* See probe.h. Group g: bit 0 = batch norm off, bit 1 = concat; its heads differ in learning
 * rate. */
#include "gpu/eval/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/probe_group.h"

#define SAMPLES_PER_UNIT 100

static const double multipliers[PROBE_RATES] = {0.1, 0.3, 1, 3};

struct probe_work {
    const struct probe_options *options;
    const struct features *train, *eval;
    struct probe_group *groups[PROBE_GROUPS];
    uint32_t *order; /* training rows: the labelled ones that are not set aside, then shuffled */
    uint32_t *aside; /* rows of the validation part */
    size_t trained, validated;
    int64_t batch;
    float *x;         /* (batch, 4 * width) */
    int32_t *labels;  /* (batch) */
    int32_t *classes; /* (PROBE_RATES, batch) */
    double losses[PROBE_HEADS];
};

bool probe_head_is_concat(size_t head)
{
    return (head / PROBE_RATES & 2) != 0;
}

bool probe_head_has_norm(size_t head)
{
    return (head / PROBE_RATES & 1) == 0;
}

double probe_head_multiplier(size_t head)
{
    return multipliers[head % PROBE_RATES];
}

void probe_head_name(size_t head, char ret_name[PROBE_NAME_SIZE])
{
    snprintf(ret_name, PROBE_NAME_SIZE, "%s.%s.lr%g",
             probe_head_is_concat(head) ? "concat4" : "last",
             probe_head_has_norm(head) ? "bn" : "plain", probe_head_multiplier(head));
}

uint64_t probe_progress_units(size_t images, uint32_t epochs)
{
    return (uint64_t)(images / SAMPLES_PER_UNIT + 1) * epochs;
}

/* ---- Set-up ---------------------------------------------------------------------------------- */

static void shuffle(uint32_t *rows, size_t count, struct rng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(rng, (uint32_t)i);
        uint32_t kept = rows[i - 1];
        rows[i - 1] = rows[j];
        rows[j] = kept;
    }
}

/* Fills `order` with the labelled rows and cuts a random tenth off its end. */
static enum ij_status split_rows(struct probe_work *work, struct ij_err *reterr_err)
{
    const struct features *train = work->train;
    size_t count = 0;
    struct rng rng;
    for (size_t i = 0; i < train->count; i++)
        if (train->labels[i] >= 0 && (size_t)train->labels[i] < work->options->classes)
            work->order[count++] = (uint32_t)i;
    rng_init(&rng, work->options->seed, RNG_SUBSET, 0, 0);
    shuffle(work->order, count, &rng);
    work->validated = count / 10;
    work->trained = count - work->validated;
    work->aside = work->order + work->trained;
    if (work->trained < 2)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                            "a linear probe needs two labelled images, there are %zu", count);
    return IJ_OK;
}

static enum ij_status work_init(struct probe_work *work, struct backend *backend,
                                struct ij_err *reterr_err)
{
    const struct probe_options *o = work->options;
    size_t long_width = (size_t)work->train->width * FROZEN_CONCAT_BLOCKS;
    work->order = mem_array(uint32_t, work->train->count);
    if (!work->order)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    IJ_TRY(split_rows(work, reterr_err));
    work->batch = work->trained < o->batch ? (int64_t)work->trained : (int64_t)o->batch;
    if (work->batch < 2)
        work->batch = 2; /* batch norm needs two */
    work->x = mem_alloc_zero((size_t)work->batch, long_width * sizeof(float));
    work->labels = mem_array(int32_t, (size_t)work->batch);
    work->classes = mem_array(int32_t, (size_t)work->batch * PROBE_RATES);
    if (!work->x || !work->labels || !work->classes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    for (size_t g = 0; g < PROBE_GROUPS; g++) {
        const struct probe_group_options options = {
            .width =
                probe_head_is_concat(g * PROBE_RATES) ? (int64_t)long_width : work->train->width,
            .classes = (int64_t)o->classes,
            .rates = PROBE_RATES,
            .rows_max = work->batch,
            .batch_norm = probe_head_has_norm(g * PROBE_RATES),
            .weight_decay = o->weight_decay,
            .seed = o->seed,
            .stream = g};
        IJ_TRY(probe_group_new(backend, &options, &work->groups[g], reterr_err));
    }
    return IJ_OK;
}

static void work_done(struct probe_work *work)
{
    for (size_t g = 0; g < PROBE_GROUPS; g++)
        probe_group_free(work->groups[g]);
    mem_free(work->order);
    mem_free(work->x);
    mem_free(work->labels);
    mem_free(work->classes);
}

/* ---- Training -------------------------------------------------------------------------------- */

/* Copies the features of some rows (NULL: row, row + 1, ...) to work->x. */
static void gather(struct probe_work *work, const struct features *from, bool concat,
                   const uint32_t *rows, size_t first, int64_t count)
{
    size_t width = (size_t)from->width * (concat ? FROZEN_CONCAT_BLOCKS : 1);
    const float *source = concat ? from->concat : from->last;
    for (int64_t i = 0; i < count; i++) {
        size_t row = rows ? rows[first + (size_t)i] : first + (size_t)i;
        memcpy(work->x + (size_t)i * width, source + row * width, width * sizeof(float));
    }
}

static enum ij_status train_batch(struct probe_work *work, size_t first, double share_done,
                                  struct ij_err *reterr_err)
{
    double rates[PROBE_RATES], base = work->options->learning_rate * (double)work->batch / 256;
    for (size_t r = 0; r < PROBE_RATES; r++)
        rates[r] = base * multipliers[r] * 0.5 * (1 + cos(M_PI * share_done));
    for (int64_t i = 0; i < work->batch; i++)
        work->labels[i] = work->train->labels[work->order[first + (size_t)i]];
    for (size_t g = 0; g < PROBE_GROUPS; g++) {
        double losses[PROBE_RATES];
        gather(work, work->train, probe_head_is_concat(g * PROBE_RATES), work->order, first,
               work->batch);
        IJ_TRY(probe_group_step(work->groups[g], work->x, work->labels, work->batch, rates, losses,
                                reterr_err));
        for (size_t r = 0; r < PROBE_RATES; r++)
            work->losses[g * PROBE_RATES + r] += losses[r];
    }
    return IJ_OK;
}

/* Batches are whole; what is left over at the end of an epoch sits this one out. */
static enum ij_status train_epoch(struct probe_work *work, uint32_t epoch,
                                  struct ij_err *reterr_err)
{
    size_t batches = work->trained / (size_t)work->batch;
    double total = (double)batches * work->options->epochs;
    struct rng rng;
    rng_init(&rng, work->options->seed, RNG_PROBE, epoch + 1, 0);
    shuffle(work->order, work->trained, &rng);
    memset(work->losses, 0, sizeof work->losses);
    for (size_t b = 0; b < batches; b++)
        IJ_TRY(train_batch(work, b * (size_t)work->batch,
                           ((double)epoch * (double)batches + (double)b) / total, reterr_err));
    for (size_t h = 0; h < PROBE_HEADS; h++)
        work->losses[h] /= (double)batches;
    return IJ_OK;
}

/* ---- Scoring --------------------------------------------------------------------------------- */

/* Share of right answers of each head of group `g` on `count` rows. */
static enum ij_status score_group(struct probe_work *work, size_t g, const struct features *set,
                                  const uint32_t *rows, size_t count, double ret_top1[PROBE_RATES],
                                  struct ij_err *reterr_err)
{
    size_t right[PROBE_RATES] = {0};
    for (size_t first = 0; first < count; first += (size_t)work->batch) {
        int64_t n = count - first < (size_t)work->batch ? (int64_t)(count - first) : work->batch;
        gather(work, set, probe_head_is_concat(g * PROBE_RATES), rows, first, n);
        IJ_TRY(probe_group_predict(work->groups[g], work->x, n, work->classes, reterr_err));
        for (size_t r = 0; r < PROBE_RATES; r++)
            for (int64_t i = 0; i < n; i++) {
                size_t row = rows ? rows[first + (size_t)i] : first + (size_t)i;
                right[r] += work->classes[(int64_t)r * n + i] == set->labels[row];
            }
    }
    for (size_t r = 0; r < PROBE_RATES; r++)
        ret_top1[r] = count > 0 ? (double)right[r] / (double)count : 0;
    return IJ_OK;
}

static enum ij_status score(struct probe_work *work, struct probe_result *result,
                            struct ij_err *reterr_err)
{
    for (size_t g = 0; g < PROBE_GROUPS; g++) {
        double validation[PROBE_RATES], eval[PROBE_RATES];
        IJ_TRY(score_group(work, g, work->train, work->aside, work->validated, validation,
                           reterr_err));
        IJ_TRY(score_group(work, g, work->eval, NULL, work->eval->count, eval, reterr_err));
        for (size_t r = 0; r < PROBE_RATES; r++)
            result->heads[g * PROBE_RATES + r] =
                (struct probe_head){validation[r], eval[r], work->losses[g * PROBE_RATES + r]};
    }
    result->trained = work->trained;
    result->validated = work->validated;
    return IJ_OK;
}

static enum ij_status run(struct probe_work *work, struct backend *backend,
                          struct eval_progress *progress, struct probe_result *result,
                          struct ij_err *reterr_err)
{
    IJ_TRY(work_init(work, backend, reterr_err));
    for (uint32_t epoch = 0; epoch < work->options->epochs; epoch++) {
        IJ_TRY(train_epoch(work, epoch, reterr_err));
        if (progress)
            IJ_TRY(eval_progress_add(progress, probe_progress_units(work->train->count, 1),
                                     "training", reterr_err));
    }
    return score(work, result, reterr_err);
}

enum ij_status probe_train(struct backend *backend, const struct probe_options *options,
                           const struct features *train, const struct features *eval,
                           struct eval_progress *progress, struct probe_result *ret_result,
                           struct ij_err *reterr_err)
{
    IJ_ASSERT(train->concat && eval->concat && train->width == eval->width);
    struct probe_work work = {.options = options, .train = train, .eval = eval};
    struct probe_result result = {.trained = 0};
    enum ij_status status = run(&work, backend, progress, &result, reterr_err);
    work_done(&work);
    if (status == IJ_OK)
        *ret_result = result;
    return status;
}
