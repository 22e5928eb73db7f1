/* See low_shot.h. */
#include "gpu/eval/low_shot.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/class_counts.h"
#include "gpu/eval/eval_result.h"
#include "gpu/eval/feature_scale.h"
#include "gpu/eval/logistic.h"
#include "gpu/eval/low_shot_select.h"

#define SUBJECTS  2
#define TOLERANCE 1e-6 /* of the gradient's entries */
#define SEEDS_MAX 100

/* What one set of weights reached. */
struct subject {
    bool present;
    double top1[SEEDS_MAX], objective[SEEDS_MAX], gradient[SEEDS_MAX];
    uint32_t iterations[SEEDS_MAX];
    bool converged[SEEDS_MAX];
    struct class_counts counts;
};

struct low_shot {
    struct eval_model model;
    const struct engine_sink *sink;
    struct eval_progress progress;
    struct dataset *datasets[2];     /* by enum dataset_split */
    size_t classes, trained;         /* images of the last selection */
    char fingerprint[HASH_HEX_SIZE]; /* of it */
    uint64_t bad_train;
    struct features eval;
    struct subject subjects[SUBJECTS];
};

/* ---- One fit --------------------------------------------------------------------------------- */

static const float *features_of(const struct low_shot *l, const struct features *f,
                                int64_t *ret_width)
{
    bool concat = l->model.spec.eval.features == ENGINE_FEATURES_CONCAT4;
    *ret_width = f->width * (concat ? FROZEN_CONCAT_BLOCKS : 1);
    return concat ? f->concat : f->last;
}

static enum ij_status tick(void *user, struct ij_err *reterr_err)
{
    struct low_shot *l = user;
    return eval_progress_add(&l->progress, 0, "training", reterr_err);
}

/* Fits on scaled copies and answers the evaluation split. */
static enum ij_status fit(struct low_shot *l, const struct features *train, float *x, float *y,
                          int64_t width, struct logistic_fit *ret_fit, int32_t *answers,
                          struct ij_err *reterr_err)
{
    const struct engine_low_shot *o = &l->model.spec.low_shot;
    const struct logistic_options options = {.width = width,
                                             .classes = (int64_t)l->classes,
                                             .penalty = o->l2 / (double)train->count,
                                             .intercept = o->intercept,
                                             .iterations = o->iterations,
                                             .tolerance = TOLERANCE,
                                             .tick = tick,
                                             .user = l};
    IJ_TRY(feature_scale(o->scaling, width, x, train->count, y, l->eval.count, reterr_err));
    IJ_TRY(logistic_train(l->model.backend, &options, x, train->labels, train->count, ret_fit,
                          reterr_err));
    return logistic_predict(l->model.backend, ret_fit, width, (int64_t)l->classes, y, l->eval.count,
                            answers, reterr_err);
}

static enum ij_status score(struct low_shot *l, const struct features *train, int subject,
                            uint32_t seed, struct ij_err *reterr_err)
{
    int64_t width;
    struct subject *s = &l->subjects[subject];
    struct logistic_fit result = {.weight = NULL};
    const float *from = features_of(l, train, &width), *held = features_of(l, &l->eval, &width);
    mem_auto float *x = mem_array(float, train->count *(size_t)width);
    mem_auto float *y = mem_array(float, l->eval.count *(size_t)width);
    mem_auto int32_t *answers = mem_array(int32_t, l->eval.count);
    if (!x || !y || !answers)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for scaled features");
    memcpy(x, from, train->count * (size_t)width * sizeof *x);
    memcpy(y, held, l->eval.count * (size_t)width * sizeof *y);
    enum ij_status status = fit(l, train, x, y, width, &result, answers, reterr_err);
    for (size_t i = 0; status == IJ_OK && i < l->eval.count; i++)
        s->top1[seed] += (answers[i] == l->eval.labels[i]);
    if (status == IJ_OK)
        class_counts_add(&s->counts, l->eval.labels, answers, l->eval.count);
    s->top1[seed] /= (double)l->eval.count;
    s->objective[seed] = result.objective;
    s->gradient[seed] = result.gradient;
    s->iterations[seed] = result.iterations;
    s->converged[seed] = result.converged;
    logistic_done(&result);
    return status;
}

/* ---- One selection --------------------------------------------------------------------------- */

static enum ij_status extract_selected(struct low_shot *l, uint64_t seed, struct features *train,
                                       struct ij_err *reterr_err)
{
    struct dataset *part = NULL;
    mem_auto uint32_t *rows = NULL;
    enum ij_status status;
    const struct engine_spec *spec = &l->model.spec;
    bool concat = spec->eval.features == ENGINE_FEATURES_CONCAT4;
    IJ_TRY(low_shot_select(l->datasets[DATASET_TRAIN], &spec->low_shot, seed, &rows, &l->trained,
                           reterr_err));
    IJ_TRY_GOTO(status, dataset_open(&spec->data, DATASET_TRAIN, &part, reterr_err), out);
    IJ_TRY_GOTO(status, dataset_keep(part, rows, l->trained, reterr_err), out);
    memcpy(l->fingerprint, dataset_fingerprint(part), sizeof l->fingerprint);
    status = eval_model_extract(&l->model, part, concat, &l->progress, train, reterr_err);
    l->bad_train = train->bad;
out:
    dataset_free(part);
    return status;
}

static enum ij_status run_subject(struct low_shot *l, int subject, struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &l->model.spec;
    bool concat = spec->eval.features == ENGINE_FEATURES_CONCAT4;
    struct features train = {.count = 0};
    enum ij_status status = IJ_OK;
    IJ_TRY(class_counts_init(&l->subjects[subject].counts, l->classes, reterr_err));
    IJ_TRY(eval_model_set(&l->model, subject, reterr_err));
    IJ_TRY(eval_model_extract(&l->model, l->datasets[DATASET_EVAL], concat, &l->progress, &l->eval,
                              reterr_err));
    for (uint32_t s = 0; status == IJ_OK && s < spec->eval.seeds; s++) {
        status = extract_selected(l, spec->seed + s, &train, reterr_err);
        if (status == IJ_OK)
            status = score(l, &train, subject, s, reterr_err);
    }
    features_done(&train);
    l->subjects[subject].present = status == IJ_OK;
    return status;
}

/* ---- The result ------------------------------------------------------------------------------ */

static json_t *subject_object(const struct low_shot *l, const struct subject *s)
{
    uint32_t seeds = l->model.spec.eval.seeds;
    json_t *object = eval_result_top1(s->top1, seeds, l->eval.count);
    json_t *fits = json_array();
    for (uint32_t i = 0; i < seeds; i++)
        json_array_append_new(fits, json_pack("{s:f, s:f, s:I, s:b}", "objective", s->objective[i],
                                              "largest_gradient", s->gradient[i], "iterations",
                                              (json_int_t)s->iterations[i], "converged",
                                              s->converged[i]));
    json_object_set_new(object, "fits", fits);
    class_counts_describe(&s->counts, object);
    return object;
}

static json_t *recipe_object(const struct low_shot *l)
{
    static const char *const scalings[] = {"each split by its own mean and deviation",
                                           "by the training images' mean and deviation",
                                           "length 1, training mean subtracted", "none"};
    const struct engine_spec *spec = &l->model.spec;
    const struct engine_low_shot *o = &spec->low_shot;
    return json_pack("{s:s, s:s, s:I, s:f, s:I, s:s, s:s, s:s, s:f, s:b, s:I, s:f}", "method",
                     "logistic regression, l-bfgs", "list", o->list, "shots", (json_int_t)o->shots,
                     "fraction", o->fraction, "trained_on", (json_int_t)l->trained, "selection",
                     l->fingerprint, "feature",
                     spec->eval.features == ENGINE_FEATURES_CONCAT4 ? "concat4" : "last", "scaling",
                     scalings[o->scaling], "l2", o->l2, "intercept", o->intercept, "iterations",
                     (json_int_t)o->iterations, "tolerance", TOLERANCE);
}

static enum ij_status publish(struct low_shot *l, struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &l->model.spec;
    const struct eval_result_split train = {
        l->datasets[DATASET_TRAIN], dataset_count(l->datasets[DATASET_TRAIN]), l->bad_train};
    const struct eval_result_split eval = {l->datasets[DATASET_EVAL], l->eval.count, l->eval.bad};
    json_t *object = eval_result_new(&l->model, "low_shot", spec->eval.seeds);
    json_object_set_new(object, "trained", json_null());
    json_object_set_new(object, "random", json_null());
    for (int s = SUBJECTS - 1; s >= 0; s--) {
        if (!l->subjects[s].present)
            continue;
        json_t *subject = subject_object(l, &l->subjects[s]);
        json_object_set(object, "top1", json_object_get(subject, "top1"));
        json_object_set_new(object, eval_model_is_random(&l->model, s) ? "random" : "trained",
                            subject);
    }
    json_object_set_new(object, "low_shot", recipe_object(l));
    json_object_set_new(object, "data",
                        eval_result_data(&spec->data, &train, &eval, l->eval.labels));
    return eval_result_publish(object, spec, l->sink, "low_shot", reterr_err);
}

static enum ij_status run(struct low_shot *l, struct backend *backend,
                          const struct engine_spec *spec, struct ij_err *reterr_err)
{
    IJ_TRY(eval_model_open(&l->model, backend, spec, reterr_err));
    IJ_TRY(eval_model_open_data(&l->model.spec.data, l->datasets, reterr_err));
    IJ_TRY(eval_model_allocate(&l->model, reterr_err));
    l->classes = dataset_class_count(l->datasets[DATASET_TRAIN]);
    eval_progress_init(&l->progress, l->sink,
                       dataset_count(l->datasets[DATASET_EVAL]) *
                           (uint64_t)eval_model_subjects(&l->model));
    for (int s = 0; s < eval_model_subjects(&l->model); s++)
        IJ_TRY(run_subject(l, s, reterr_err));
    return publish(l, reterr_err);
}

enum ij_status low_shot_run(struct backend *backend, const struct engine_spec *spec,
                            const struct engine_sink *sink, struct ij_err *reterr_err)
{
    IJ_ASSERT(spec->low_shot.method == ENGINE_LOW_SHOT_LOGISTIC && spec->eval.seeds <= SEEDS_MAX);
    struct low_shot *l = mem_new(struct low_shot);
    if (!l)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a low-shot evaluation");
    l->sink = sink;
    enum ij_status status = run(l, backend, spec, reterr_err);
    for (int s = 0; s < SUBJECTS; s++)
        class_counts_done(&l->subjects[s].counts);
    for (int i = 0; i < 2; i++)
        dataset_free(l->datasets[i]);
    features_done(&l->eval);
    eval_model_done(&l->model);
    mem_free(l);
    return status;
}
