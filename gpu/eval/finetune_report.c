/* See finetune_report.h. */
#include "gpu/eval/finetune_report.h"

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/eval_result.h"

static json_t *recipe_object(const struct finetune_report *report)
{
    const struct engine_spec *spec = &report->model->spec;
    const struct engine_finetune *f = &spec->finetune;
    return json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, "
        "s:I, s:I}",
        "optimizer", "adamw, betas 0.9 and 0.999", "batch", (json_int_t)f->batch, "accumulate",
        (json_int_t)f->accumulate, "epochs", f->epochs, "warmup_epochs", f->warmup_epochs,
        "lr_per_256", f->lr, "final_lr", f->final_lr, "weight_decay", f->weight_decay,
        "layer_decay", f->layer_decay, "drop_path", f->drop_path, "mixup", f->mixup, "cutmix",
        f->cutmix, "label_smoothing", f->label_smoothing, "rand_augment", f->rand_augment,
        "random_erase", f->random_erase, "clip_grad", f->clip_grad, "augment_scale",
        json_pack("[f, f]", spec->eval.augment_scale[0], spec->eval.augment_scale[1]), "steps",
        (json_int_t)report->steps, "steps_per_epoch", (json_int_t)report->steps_per_epoch);
}

static json_t *low_shot_object(const struct finetune_report *report)
{
    const struct engine_low_shot *o = &report->model->spec.low_shot;
    return json_pack("{s:s, s:s, s:I, s:f, s:I, s:s}", "method", "fine-tuning", "list", o->list,
                     "shots", (json_int_t)o->shots, "fraction", o->fraction, "trained_on",
                     (json_int_t)dataset_count(report->train), "selection",
                     dataset_fingerprint(report->train));
}

static enum ij_status save_matrix(const struct finetune_report *report, struct ij_err *reterr_err)
{
    mem_auto char *path = mem_printf("%s/confusion.npy", report->model->spec.directory);
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to save a confusion matrix");
    return class_counts_save(&report->score->counts, path, reterr_err);
}

enum ij_status finetune_report_publish(const struct finetune_report *report,
                                       const struct engine_sink *sink, struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &report->model->spec;
    const struct eval_result_split train = {report->train, dataset_count(report->train),
                                            report->bad_train};
    const struct eval_result_split eval = {report->eval, report->score->images, report->score->bad};
    const char *kind = spec->kind == ENGINE_LOW_SHOT ? "low_shot" : "finetune";
    json_t *object = eval_result_new(report->model, kind, 1);
    json_t *trained = eval_result_top1(&report->score->top1, 1, report->score->images);
    IJ_TRY(save_matrix(report, reterr_err));
    json_object_set_new(trained, "loss", eval_result_number(report->score->loss));
    class_counts_describe(&report->score->counts, trained);
    json_object_set_new(object, "top1", json_real(report->score->top1));
    json_object_set_new(object, "trained", trained);
    json_object_set_new(object, "start",
                        json_pack("{s:o, s:o}", "top1", eval_result_number(report->start_top1),
                                  "loss", eval_result_number(report->start_loss)));
    json_object_set_new(object, "finetune", recipe_object(report));
    if (spec->kind == ENGINE_LOW_SHOT)
        json_object_set_new(object, "low_shot", low_shot_object(report));
    json_object_set_new(object, "data", eval_result_data(&spec->data, &train, &eval, NULL));
    return eval_result_publish(object, spec, sink, kind, reterr_err);
}
