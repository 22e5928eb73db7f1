/*
 * A checkpoint as a folder that other programs load.
 *
 *   hf        config.json, preprocessor_config.json, model.safetensors, README.md for
 *             transformers' IJepaModel: one encoder
 *   timm      config.json, model.safetensors, README.md for timm.create_model("local-dir:..."):
 *             one encoder
 *   official  model.safetensors, README.md: encoder.*, target_encoder.*, predictor.* under the
 *             names of public checkpoints
 *
 * The folder is made or empty. No backend, no device: tensors go from mapping to file.
 */
#ifndef GPU_INTEROP_EXPORT_H
#define GPU_INTEROP_EXPORT_H

#include "gpu/engine.h"

/* engine_export */
IJ_MUST_USE enum ij_status export_run(const struct engine_export *options, char **ret_json,
                                      struct ij_err *reterr_err);

#endif
