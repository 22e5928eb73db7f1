/* See eval_model.h. */
#include "gpu/eval/eval_model.h"

#include "gpu/model/spec_json.h"

static enum ij_status open_checkpoint(struct eval_model *model, struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status =
        checkpoint_open_newest(model->spec.eval.checkpoint, &model->checkpoint, &err);
    if (status == IJ_NOT_FOUND)
        return IJ_ERR_FIELD(reterr_err, status, "eval.checkpoint", "%s", err.text);
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    return status;
}

enum ij_status eval_model_open(struct eval_model *model, struct backend *backend,
                               const struct engine_spec *spec, struct ij_err *reterr_err)
{
    *model = (struct eval_model){.spec = *spec, .backend = backend};
    model->batch =
        spec->eval.batch < EVAL_MODEL_BATCH_MAX ? spec->eval.batch : EVAL_MODEL_BATCH_MAX;
    if (spec->eval.checkpoint[0] == '\0')
        return IJ_OK;
    IJ_TRY(open_checkpoint(model, reterr_err));
    return spec_json_read_eval(checkpoint_get_state(model->checkpoint)->parameters, &model->spec,
                               reterr_err);
}

enum ij_status eval_model_allocate(struct eval_model *model, struct ij_err *reterr_err)
{
    const struct vit_config config = vit_config_from_spec(&model->spec);
    return frozen_new(model->backend, &config, model->batch, &model->frozen, reterr_err);
}

void eval_model_done(struct eval_model *model)
{
    frozen_free(model->frozen);
    checkpoint_free(model->checkpoint);
    model->frozen = NULL;
    model->checkpoint = NULL;
}

int eval_model_subjects(const struct eval_model *model)
{
    return model->checkpoint && model->spec.eval.random_baseline ? 2 : 1;
}

bool eval_model_is_random(const struct eval_model *model, int subject)
{
    return !model->checkpoint || subject == 1;
}

enum ij_status eval_model_set(struct eval_model *model, int subject, struct ij_err *reterr_err)
{
    if (eval_model_is_random(model, subject))
        return frozen_set_random(model->frozen, model->spec.seed, reterr_err);
    return frozen_set_checkpoint(model->frozen, model->checkpoint, model->spec.eval.encoder,
                                 reterr_err);
}

enum ij_status eval_model_open_data(const struct engine_data *data, struct dataset *ret_datasets[2],
                                    struct ij_err *reterr_err)
{
    IJ_TRY(dataset_open(data, DATASET_TRAIN, &ret_datasets[DATASET_TRAIN], reterr_err));
    IJ_TRY(dataset_open(data, DATASET_EVAL, &ret_datasets[DATASET_EVAL], reterr_err));
    size_t classes = dataset_class_count(ret_datasets[DATASET_TRAIN]);
    if (classes >= 2)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.labels",
                        "%s has %zu classes, an evaluation needs two", data->path, classes);
}

enum ij_status eval_model_extract(struct eval_model *model, const struct dataset *dataset,
                                  bool want_concat, struct eval_progress *progress,
                                  struct features *features, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_eval(&model->spec.data, dataset);
    options.batch = (uint32_t)model->batch;
    options.seed = model->spec.seed;
    features_done(features);
    return features_extract(model->frozen, (int64_t)model->spec.model.width, dataset, &options, 0,
                            want_concat, progress, features, reterr_err);
}
