/* See probe.h. */
#include "gpu/eval/probe.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

#define SAMPLES_PER_UNIT 100

struct probe_work {
    const struct probe_options *options;
    const struct probe_feed *feed;
    struct probe_heads *heads;
    size_t count;         /* heads */
    int64_t width, batch; /* of "last"; rows of a step */
    uint64_t batches;     /* per epoch */
    float *last, *concat; /* (batch, width), (batch, 4 width) */
    int32_t *labels;      /* (batch) */
    int32_t *classes;     /* (heads, batch) */
    double *losses;       /* (heads) of one batch */
};

uint64_t probe_progress_units(size_t images, uint32_t epochs)
{
    return (uint64_t)(images / SAMPLES_PER_UNIT + 1) * epochs;
}

void probe_result_done(struct probe_result *result)
{
    mem_free(result->answers);
    memset(result, 0, sizeof *result);
}

/* ---- Who is trained on ----------------------------------------------------------------------- */

static void shuffle(uint32_t *rows, size_t count, struct rng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(rng, (uint32_t)i);
        uint32_t kept = rows[i - 1];
        rows[i - 1] = rows[j];
        rows[j] = kept;
    }
}

enum ij_status probe_split(const struct probe_options *options, const int32_t *labels, size_t count,
                           uint32_t *ret_rows, size_t *ret_trained, size_t *ret_aside,
                           struct ij_err *reterr_err)
{
    size_t labelled = 0;
    struct rng rng;
    for (size_t i = 0; i < count; i++)
        if (labels[i] >= 0 && (size_t)labels[i] < options->classes)
            ret_rows[labelled++] = (uint32_t)i;
    rng_init(&rng, options->seed, RNG_SUBSET, 0, 0);
    shuffle(ret_rows, labelled, &rng);
    *ret_aside = options->recipe->selection == ENGINE_SELECT_SET_ASIDE ? labelled / 10 : 0;
    *ret_trained = labelled - *ret_aside;
    if (*ret_trained < 2)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                            "a linear probe needs two labelled images, there are %zu", labelled);
    return IJ_OK;
}

/* ---- Set-up ---------------------------------------------------------------------------------- */

static enum ij_status work_init(struct probe_work *work, struct backend *backend,
                                struct ij_err *reterr_err)
{
    const struct probe_options *o = work->options;
    size_t width = (size_t)work->width;
    work->count = probe_heads_count(o->recipe);
    work->batch = work->feed->images < o->batch ? (int64_t)work->feed->images : (int64_t)o->batch;
    if (work->batch < 2)
        work->batch = 2; /* batch norm needs two */
    size_t batch = (size_t)work->batch;
    work->batches = work->feed->images / batch;
    work->last = mem_alloc_zero(batch, width * sizeof(float));
    work->concat = mem_alloc_zero(batch, width * FROZEN_CONCAT_BLOCKS * sizeof(float));
    work->labels = mem_array(int32_t, batch);
    work->classes = mem_array(int32_t, batch * work->count);
    work->losses = mem_array(double, work->count);
    if (!work->last || !work->concat || !work->labels || !work->classes || !work->losses)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    const struct probe_heads_options options = {.recipe = o->recipe,
                                                .classes = o->classes,
                                                .width = work->width,
                                                .batch = work->batch,
                                                .epochs = o->epochs,
                                                .steps_per_epoch = work->batches,
                                                .seed = o->seed};
    return probe_heads_new(backend, &options, &work->heads, reterr_err);
}

static void work_done(struct probe_work *work)
{
    probe_heads_free(work->heads);
    mem_free(work->last);
    mem_free(work->concat);
    mem_free(work->labels);
    mem_free(work->classes);
    mem_free(work->losses);
}

/* ---- Training -------------------------------------------------------------------------------- */

/* Batches are whole; what is left over at the end of an epoch sits this one out. */
static enum ij_status train_epoch(struct probe_work *work, uint32_t epoch,
                                  struct probe_result *result, struct ij_err *reterr_err)
{
    for (size_t h = 0; h < work->count; h++)
        result->heads[h].loss = 0;
    for (uint64_t b = 0; b < work->batches; b++) {
        IJ_TRY(work->feed->fill(work->feed->user, epoch, b, work->batch, work->last, work->concat,
                                work->labels, reterr_err));
        IJ_TRY(probe_heads_step(work->heads, work->last, work->concat, work->labels, work->losses,
                                reterr_err));
        for (size_t h = 0; h < work->count; h++)
            result->heads[h].loss += work->losses[h] / (double)work->batches;
    }
    return IJ_OK;
}

/* ---- Scoring --------------------------------------------------------------------------------- */

static size_t row_of(const struct probe_set *set, size_t i)
{
    return set->rows ? set->rows[i] : i;
}

static void gather(const struct probe_set *set, size_t first, int64_t count, float *last,
                   float *concat, int32_t *labels)
{
    const struct features *f = set->features;
    size_t width = (size_t)f->width, long_width = width * FROZEN_CONCAT_BLOCKS;
    for (size_t i = 0; i < (size_t)count; i++) {
        size_t row = row_of(set, first + i);
        memcpy(last + i * width, f->last + row * width, width * sizeof(float));
        memcpy(concat + i * long_width, f->concat + row * long_width, long_width * sizeof(float));
        labels[i] = f->labels[row];
    }
}

/* Share of right answers of each head; `answers` (heads, set->count) may be NULL. */
static enum ij_status score(struct probe_work *work, const struct probe_set *set, double *ret_top1,
                            int32_t *answers, struct ij_err *reterr_err)
{
    memset(ret_top1, 0, work->count * sizeof *ret_top1);
    for (size_t first = 0; first < set->count; first += (size_t)work->batch) {
        size_t left = set->count - first;
        int64_t n = left < (size_t)work->batch ? (int64_t)left : work->batch;
        gather(set, first, n, work->last, work->concat, work->labels);
        IJ_TRY(probe_heads_predict(work->heads, work->last, work->concat, n, work->classes,
                                   reterr_err));
        for (size_t h = 0; h < work->count; h++) {
            const int32_t *classes = work->classes + (int64_t)h * n;
            for (int64_t i = 0; i < n; i++)
                ret_top1[h] += classes[i] == work->labels[i];
            if (answers)
                memcpy(answers + h * set->count + first, classes, (size_t)n * sizeof *classes);
        }
    }
    for (size_t h = 0; h < work->count && set->count > 0; h++)
        ret_top1[h] /= (double)set->count;
    return IJ_OK;
}

static enum ij_status score_all(struct probe_work *work, const struct probe_set *aside,
                                const struct features *eval, struct probe_result *result,
                                struct ij_err *reterr_err)
{
    double top1[PROBE_HEADS_MAX];
    const struct probe_set whole = {eval, NULL, eval->count};
    result->answers = mem_array(int32_t, work->count * eval->count);
    if (!result->answers)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the answers of %zu heads",
                      work->count);
    IJ_TRY(score(work, aside, top1, NULL, reterr_err));
    for (size_t h = 0; h < work->count; h++)
        result->heads[h].set_aside_top1 = top1[h];
    IJ_TRY(score(work, &whole, top1, result->answers, reterr_err));
    for (size_t h = 0; h < work->count; h++)
        result->heads[h].eval_top1 = top1[h];
    result->set_aside = aside->count;
    return IJ_OK;
}

static enum ij_status run(struct probe_work *work, struct backend *backend,
                          const struct probe_set *aside, const struct features *eval,
                          struct eval_progress *progress, struct probe_result *result,
                          struct ij_err *reterr_err)
{
    IJ_TRY(work_init(work, backend, reterr_err));
    for (uint32_t epoch = 0; epoch < work->options->epochs; epoch++) {
        IJ_TRY(train_epoch(work, epoch, result, reterr_err));
        if (progress && work->feed->units_per_epoch > 0)
            IJ_TRY(
                eval_progress_add(progress, work->feed->units_per_epoch, "training", reterr_err));
    }
    result->trained = work->feed->images;
    return score_all(work, aside, eval, result, reterr_err);
}

enum ij_status probe_run(struct backend *backend, const struct probe_options *options,
                         const struct probe_feed *feed, const struct probe_set *aside,
                         const struct features *eval, struct eval_progress *progress,
                         struct probe_result *ret_result, struct ij_err *reterr_err)
{
    struct probe_work work = {.options = options, .feed = feed, .width = eval->width};
    memset(ret_result, 0, sizeof *ret_result);
    enum ij_status status = run(&work, backend, aside, eval, progress, ret_result, reterr_err);
    work_done(&work);
    if (status != IJ_OK)
        probe_result_done(ret_result);
    return status;
}

/* ---- Cached features ------------------------------------------------------------------------- */

struct cached {
    struct probe_set set; /* what is trained on, in this epoch's order */
    uint32_t *rows;
    uint64_t seed;
};

static enum ij_status fill_cached(void *user, uint32_t epoch, uint64_t batch, int64_t rows,
                                  float *last, float *concat, int32_t *labels,
                                  struct ij_err *reterr_err)
{
    struct cached *c = user;
    (void)reterr_err;
    if (batch == 0) {
        struct rng rng;
        rng_init(&rng, c->seed, RNG_PROBE, (uint64_t)epoch + 1, 0);
        shuffle(c->rows, c->set.count, &rng);
    }
    gather(&c->set, (size_t)batch * (size_t)rows, rows, last, concat, labels);
    return IJ_OK;
}

enum ij_status probe_train(struct backend *backend, const struct probe_options *options,
                           const struct features *train, const struct features *eval,
                           struct eval_progress *progress, struct probe_result *ret_result,
                           struct ij_err *reterr_err)
{
    size_t trained, aside_count;
    mem_auto uint32_t *rows = mem_array(uint32_t, train->count);
    if (!rows)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    IJ_TRY(probe_split(options, train->labels, train->count, rows, &trained, &aside_count,
                       reterr_err));
    struct cached cached = {.set = {train, rows, trained}, .rows = rows, .seed = options->seed};
    const struct probe_feed feed = {.fill = fill_cached,
                                    .user = &cached,
                                    .images = trained,
                                    .units_per_epoch = probe_progress_units(train->count, 1)};
    const struct probe_set aside = {train, rows + trained, aside_count};
    return probe_run(backend, options, &feed, &aside, eval, progress, ret_result, reterr_err);
}
