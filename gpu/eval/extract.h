/*
 * The run kind `features`: a dataset through a frozen encoder, to files.
 *
 * Below <directory>/features/, for each split asked for (train, eval):
 *   <split>.npy           float32: (images, width), (images, 4 * width) or (images, patches, width)
 *   <split>.labels.npy    int32 (images), -1: none
 *   <split>.safetensors   both, as "features" and "labels"
 *   <split>.json          names of the images and classes, checkpoint, encoder, normalisation
 * Row i belongs to the i-th name. Written front to back, so memory does not grow with the dataset.
 */
#ifndef GPU_EVAL_EXTRACT_H
#define GPU_EVAL_EXTRACT_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* engine_run for kind ENGINE_FEATURES; the backend is borrowed, the sink may be NULL. */
IJ_MUST_USE enum ij_status extract_run(struct backend *backend, const struct engine_spec *spec,
                                       const struct engine_sink *sink, struct ij_err *reterr_err);

#endif
