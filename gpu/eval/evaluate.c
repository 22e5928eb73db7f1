/*
 * See evaluate.h.
 *
 * Order of work: checkpoint (its model wins over the spec's), both splits, then for each subject
 * (the checkpoint's encoder, the random one) features and classifiers. One set of features is in
 * memory at a time.
 */
#include "gpu/eval/evaluate.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/dataset.h"
#include "gpu/data/loader.h"
#include "gpu/eval/evaluate_report.h"
#include "gpu/eval/features.h"
#include "gpu/eval/knn.h"
#include "gpu/eval/probe.h"
#include "gpu/model/frozen.h"
#include "gpu/model/spec_json.h"

#define BATCH_MAX 128 /* images per forward pass: more gains nothing and takes memory */

struct evaluation {
    struct engine_spec spec; /* with the checkpoint's model */
    struct backend *backend;
    const struct engine_sink *sink;
    struct eval_progress progress;
    struct checkpoint *checkpoint;
    struct dataset *datasets[2]; /* by enum dataset_split */
    struct frozen *frozen;
    struct features train, eval;
    struct evaluate_report report;
};

/* ---- Set-up ---------------------------------------------------------------------------------- */

/* A run's directory stands for its newest valid checkpoint. */
static enum ij_status open_checkpoint(struct evaluation *e, struct ij_err *reterr_err)
{
    const char *path = e->spec.eval.checkpoint;
    struct stat st;
    mem_auto char *inside = mem_printf("%s/checkpoints", path);
    if (!inside)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open %s", path);
    if (stat(inside, &st) < 0)
        return checkpoint_open(path, CHECKPOINT_CHECK_ALL, &e->checkpoint, reterr_err);
    IJ_TRY(checkpoint_find_newest(path, NULL, NULL, &e->checkpoint, reterr_err));
    if (!e->checkpoint)
        return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, "eval.checkpoint",
                            "%s holds no valid checkpoint", path);
    return IJ_OK;
}

static enum ij_status load_model(struct evaluation *e, struct ij_err *reterr_err)
{
    if (e->spec.eval.checkpoint[0] == '\0')
        return IJ_OK;
    IJ_TRY(open_checkpoint(e, reterr_err));
    return spec_json_read_model(checkpoint_get_state(e->checkpoint)->parameters, &e->spec,
                                reterr_err);
}

static enum ij_status open_data(struct evaluation *e, struct ij_err *reterr_err)
{
    IJ_TRY(dataset_open(&e->spec.data, DATASET_TRAIN, &e->datasets[DATASET_TRAIN], reterr_err));
    IJ_TRY(dataset_open(&e->spec.data, DATASET_EVAL, &e->datasets[DATASET_EVAL], reterr_err));
    if (dataset_class_count(e->datasets[DATASET_TRAIN]) < 2)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.labels",
                            "%s has %zu classes, an evaluation needs two", e->spec.data.path,
                            dataset_class_count(e->datasets[DATASET_TRAIN]));
    return IJ_OK;
}

static int64_t forward_batch(const struct evaluation *e)
{
    return e->spec.eval.batch < BATCH_MAX ? e->spec.eval.batch : BATCH_MAX;
}

static enum ij_status open_encoder(struct evaluation *e, struct ij_err *reterr_err)
{
    const struct vit_config config = vit_config_from_spec(&e->spec);
    return frozen_new(e->backend, &config, forward_batch(e), &e->frozen, reterr_err);
}

static uint64_t planned_units(const struct evaluation *e)
{
    size_t train = dataset_count(e->datasets[DATASET_TRAIN]);
    uint64_t subjects = (e->checkpoint != NULL) + (!e->checkpoint || e->spec.eval.random_baseline);
    uint64_t units = train + dataset_count(e->datasets[DATASET_EVAL]);
    if (e->spec.kind == ENGINE_LINEAR_PROBE)
        units += probe_progress_units(train, e->spec.eval.epochs) * e->spec.eval.seeds;
    return units * subjects;
}

/* ---- One subject ----------------------------------------------------------------------------- */

static enum ij_status extract(struct evaluation *e, enum dataset_split split,
                              struct features *ret_features, struct ij_err *reterr_err)
{
    struct dataset *dataset = e->datasets[split];
    struct loader_options options = loader_options_eval(&e->spec.data, dataset);
    options.batch = (uint32_t)forward_batch(e);
    options.seed = e->spec.seed;
    features_done(ret_features);
    return features_extract(e->frozen, (int64_t)e->spec.model.width, dataset, &options, 0,
                            e->spec.kind == ENGINE_LINEAR_PROBE, &e->progress, ret_features,
                            reterr_err);
}

static enum ij_status run_probes(struct evaluation *e, struct evaluate_subject *subject,
                                 struct ij_err *reterr_err)
{
    const struct engine_eval *spec = &e->spec.eval;
    struct probe_options options = {.classes = dataset_class_count(e->datasets[DATASET_TRAIN]),
                                    .batch = spec->batch,
                                    .epochs = spec->epochs,
                                    .learning_rate = spec->learning_rate,
                                    .weight_decay = spec->weight_decay};
    subject->probes = mem_array(struct probe_result, spec->seeds);
    if (!subject->probes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u probes", spec->seeds);
    for (uint32_t s = 0; s < spec->seeds; s++) {
        options.seed = e->spec.seed + s;
        IJ_TRY(probe_train(e->backend, &options, &e->train, &e->eval, &e->progress,
                           &subject->probes[s], reterr_err));
    }
    return IJ_OK;
}

static enum ij_status run_knn(struct evaluation *e, struct evaluate_subject *subject,
                              struct ij_err *reterr_err)
{
    const struct knn_options options = {e->spec.eval.neighbors, e->spec.eval.temperature,
                                        dataset_class_count(e->datasets[DATASET_TRAIN])};
    const struct knn_set bank = {e->train.last, e->train.labels, e->train.count};
    const struct knn_set query = {e->eval.last, e->eval.labels, e->eval.count};
    return knn_top1(e->backend, &options, e->train.width, &bank, &query, &subject->knn_top1,
                    reterr_err);
}

/* The encoder's weights are set. */
static enum ij_status run_subject(struct evaluation *e, struct evaluate_subject *subject,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(extract(e, DATASET_TRAIN, &e->train, reterr_err));
    IJ_TRY(extract(e, DATASET_EVAL, &e->eval, reterr_err));
    if (e->spec.kind == ENGINE_LINEAR_PROBE)
        IJ_TRY(run_probes(e, subject, reterr_err));
    else
        IJ_TRY(run_knn(e, subject, reterr_err));
    subject->present = true;
    return IJ_OK;
}

static enum ij_status run_subjects(struct evaluation *e, struct ij_err *reterr_err)
{
    if (e->checkpoint) {
        IJ_TRY(frozen_set_checkpoint(e->frozen, e->checkpoint, e->spec.eval.encoder, reterr_err));
        IJ_TRY(run_subject(e, &e->report.trained, reterr_err));
    }
    if (e->checkpoint && !e->spec.eval.random_baseline)
        return IJ_OK;
    IJ_TRY(frozen_set_random(e->frozen, e->spec.seed, reterr_err));
    return run_subject(e, &e->report.random, reterr_err);
}

/* ---- The result ------------------------------------------------------------------------------ */

static enum ij_status save(const struct evaluation *e, const char *json, struct ij_err *reterr_err)
{
    if (e->spec.directory[0] == '\0')
        return IJ_OK;
    IJ_TRY(file_make_dirs(e->spec.directory, 0755, reterr_err));
    mem_auto char *path = mem_printf("%s/result.json", e->spec.directory);
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to save the result");
    return file_write_durable(path, json, strlen(json), 0644, reterr_err);
}

static enum ij_status publish(struct evaluation *e, struct ij_err *reterr_err)
{
    struct evaluate_report *report = &e->report;
    mem_auto char *json = NULL;
    report->spec = &e->spec;
    report->backend = e->backend;
    report->checkpoint = e->checkpoint;
    report->train = e->datasets[DATASET_TRAIN];
    report->eval = e->datasets[DATASET_EVAL];
    report->images_train = e->train.count;
    report->images_eval = e->eval.count;
    report->bad_train = e->train.bad;
    report->bad_eval = e->eval.bad;
    report->eval_labels = e->eval.labels;
    IJ_TRY(evaluate_report_write(report, &json, reterr_err));
    IJ_TRY(save(e, json, reterr_err));
    if (!e->sink || !e->sink->result)
        return IJ_OK;
    const char *name = e->spec.kind == ENGINE_LINEAR_PROBE ? "linear_probe" : "knn";
    enum ij_status status = e->sink->result(e->sink->user, name, json);
    return status == IJ_OK ? IJ_OK : IJ_ERR(reterr_err, status, "the host refused the result");
}

static enum ij_status run(struct evaluation *e, struct ij_err *reterr_err)
{
    IJ_TRY(load_model(e, reterr_err));
    IJ_TRY(open_data(e, reterr_err));
    IJ_TRY(open_encoder(e, reterr_err));
    eval_progress_init(&e->progress, e->sink, planned_units(e));
    IJ_TRY(run_subjects(e, reterr_err));
    return publish(e, reterr_err);
}

static void evaluation_free(struct evaluation *e)
{
    features_done(&e->train);
    features_done(&e->eval);
    frozen_free(e->frozen);
    dataset_free(e->datasets[DATASET_TRAIN]);
    dataset_free(e->datasets[DATASET_EVAL]);
    checkpoint_free(e->checkpoint);
    mem_free(e->report.trained.probes);
    mem_free(e->report.random.probes);
    mem_free(e);
}

enum ij_status evaluate_run(struct backend *backend, const struct engine_spec *spec,
                            const struct engine_sink *sink, struct ij_err *reterr_err)
{
    IJ_ASSERT(spec->kind == ENGINE_LINEAR_PROBE || spec->kind == ENGINE_KNN);
    struct evaluation *e = mem_new(struct evaluation);
    if (!e)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an evaluation");
    e->spec = *spec;
    e->backend = backend;
    e->sink = sink;
    enum ij_status status = run(e, reterr_err);
    evaluation_free(e);
    return status;
}
