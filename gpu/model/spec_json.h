/*
 * The part of a spec that a checkpoint must remember, as JSON: the model's shape, how its pixels
 * are normalised, and the recipe. Written into `checkpoint_state.parameters`.
 *
 * {"crop", "mean", "std", "patch", "width", "depth", "heads", "mlp_ratio", "pred_width",
 *  "pred_depth", "pred_heads", ...}; readers ignore what they do not know.
 */
#ifndef GPU_MODEL_SPEC_JSON_H
#define GPU_MODEL_SPEC_JSON_H

#include "gpu/engine.h"

/* Caller frees with mem_free; NULL: no memory. Equal specs give equal text. */
char *spec_json_write(const struct engine_spec *spec);

/* Sets spec->model, data.crop, data.mean and data.std from the text; the rest stays, and so does
 * how weights begin (init_std, ...) where the text does not say it. IJ_CORRUPT names the key that
 * is missing or has a wrong type or range. */
IJ_MUST_USE enum ij_status spec_json_read_model(const char *text, struct engine_spec *spec,
                                                struct ij_err *reterr_err);

/* The same, then at spec->eval.crop where that is set; eval.trained_crop tells what the model had.
 * IJ_INVALID, "eval.crop": fewer than 2 x 2 patches, or more than a grid may have. */
IJ_MUST_USE enum ij_status spec_json_read_eval(const char *text, struct engine_spec *spec,
                                               struct ij_err *reterr_err);

/* The masks that a checkpoint was trained with. What the text does not say, or says wrongly
 * (imported weights), is as published; min_keep is then 0. */
void spec_json_read_masks(const char *text, struct engine_masks *ret_masks);

/* IJ_CONFLICT naming the first parameter ("model.width") in which the spec's model differs from the
 * text's, or IJ_OK. */
IJ_MUST_USE enum ij_status spec_json_check_model(const char *text, const struct engine_spec *spec,
                                                 struct ij_err *reterr_err);

#endif
