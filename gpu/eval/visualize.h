/*
 * The run kind `visualize`: pictures of what a checkpoint has learnt. Nothing is trained but a
 * linear decoder, in closed form.
 *
 * Below <directory>/visualize/:
 *   masks.png       image | what the context encoder sees | each target block
 *   pca.png         image | target encoder | context encoder: the first three principal components
 *                   of the patch features as red, green and blue, one basis for the whole sheet
 *   error.png       image | context | 1 - cosine of prediction and target per patch, 0 to 1
 *   similarity.png  image with a marked patch | cosine of all patches to it; three patches each
 *   attention.png   image | mean attention that each patch receives in the target encoder's last
 *                   block | the same of each head, at most 8; each from 0 to its own largest
 *   neighbors.png   a predicted block | the nearest blocks of other images by pooled feature
 *   decoder.png     image | context | the context's own pixels with the predicted blocks decoded
 *                   from predictions | all decoded from target features (panel_decode.h)
 *   grids.safetensors, visualize.json   the values behind the pictures
 *
 * With eval.history > 1 the same of older checkpoints of the run, their step in the names
 * (pca-000000000468.png), each one's colours matched to the one before.
 *
 * Rows are held-out images at even distances. Masks follow the rules that the checkpoint was
 * trained with, from this run's seed.
 * A checkpoint without a predictor gives neither errors nor neighbours nor anything decoded.
 */
#ifndef GPU_EVAL_VISUALIZE_H
#define GPU_EVAL_VISUALIZE_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* engine_run for kind ENGINE_VISUALIZE; the backend is borrowed, the sink may be NULL. */
IJ_MUST_USE enum ij_status visualize_run(struct backend *backend, const struct engine_spec *spec,
                                         const struct engine_sink *sink, struct ij_err *reterr_err);

#endif
