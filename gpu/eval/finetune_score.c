/* See finetune_score.h. */
#include "gpu/eval/finetune_score.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/data/loader.h"

struct scoring {
    struct tuner *tuner;
    struct finetune_score *score;
    float *logits;    /* (batch, classes) */
    int32_t *answers; /* (batch) */
    size_t right, labelled;
};

void finetune_score_done(struct finetune_score *score)
{
    class_counts_done(&score->counts);
    memset(score, 0, sizeof *score);
}

/* The largest logit's class; adds the loss of `label` where there is one. */
static int32_t answer(struct scoring *s, const float *logits, int32_t label)
{
    int64_t classes = s->tuner->layout.classes;
    int32_t best = 0;
    double sum = 0;
    for (int32_t c = 1; c < classes; c++)
        best = logits[c] > logits[best] ? c : best;
    if (label < 0 || label >= classes)
        return best;
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - (double)logits[best]);
    s->score->loss += log(sum) + (double)logits[best] - (double)logits[label];
    s->labelled++;
    return best;
}

static enum ij_status score_batch(struct scoring *s, const struct loader_batch *batch,
                                  struct ij_err *reterr_err)
{
    int64_t classes = s->tuner->layout.classes;
    IJ_TRY(tuner_answer(s->tuner, batch->pixels, batch->count, s->logits, reterr_err));
    for (uint32_t i = 0; i < batch->count; i++) {
        s->answers[i] = answer(s, s->logits + i * classes, batch->labels[i]);
        s->right += s->answers[i] == batch->labels[i];
    }
    class_counts_add(&s->score->counts, batch->labels, s->answers, batch->count);
    s->score->images += batch->count;
    return IJ_OK;
}

static enum ij_status score_all(struct scoring *s, struct loader *loader, size_t count,
                                enum ij_status (*ready)(void *user, struct ij_err *reterr_err),
                                void *user, struct ij_err *reterr_err)
{
    while (s->score->images < count) {
        const struct loader_batch *batch = NULL;
        IJ_TRY(loader_next(loader, &batch, reterr_err));
        enum ij_status status = score_batch(s, batch, reterr_err);
        loader_release(loader);
        IJ_TRY(status);
        if (ready)
            IJ_TRY(ready(user, reterr_err));
    }
    return IJ_OK;
}

enum ij_status finetune_score_run(struct tuner *tuner, const struct dataset *dataset,
                                  const struct engine_data *data, uint32_t batch,
                                  enum ij_status (*ready)(void *user, struct ij_err *reterr_err),
                                  void *user, struct finetune_score *ret_score,
                                  struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_eval(data, dataset);
    struct loader *loader = NULL;
    struct loader_bad bad;
    enum ij_status status;
    struct scoring s = {.tuner = tuner, .score = ret_score};
    memset(ret_score, 0, sizeof *ret_score);
    options.batch = batch;
    s.logits = mem_array(float, (size_t)batch *(size_t)tuner->layout.classes);
    s.answers = mem_array(int32_t, batch);
    IJ_TRY_GOTO(status,
                class_counts_init(&ret_score->counts, (size_t)tuner->layout.classes, reterr_err),
                out);
    if (!s.logits || !s.answers) {
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to score a classifier");
        goto out;
    }
    IJ_TRY_GOTO(status, loader_new(dataset, &options, &loader, reterr_err), out);
    status = score_all(&s, loader, dataset_count(dataset), ready, user, reterr_err);
    loader_bad(loader, &bad);
    ret_score->bad = bad.count;
    ret_score->top1 = (double)s.right / (double)dataset_count(dataset);
    ret_score->loss = s.labelled > 0 ? ret_score->loss / (double)s.labelled : (double)NAN;
out:
    loader_free(loader);
    mem_free(s.logits);
    mem_free(s.answers);
    if (status != IJ_OK)
        finetune_score_done(ret_score);
    return status;
}
