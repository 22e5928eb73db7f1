/*
 * Public weights as one of our checkpoints.
 *
 *   an official .pth.tar    encoder, target_encoder and predictor, with or without the prefix
 *                           "module."; optimiser state and the rest are left out
 *   a Hugging Face folder   config.json, model.safetensors: one encoder, which becomes both; no
 *                           predictor
 *
 * Names and shapes must match exactly: what is missing, unexpected or of another shape is listed.
 * The file's position table must be the fixed one that this engine uses.
 */
#ifndef GPU_INTEROP_IMPORT_H
#define GPU_INTEROP_IMPORT_H

#include "gpu/engine.h"

/* engine_import */
IJ_MUST_USE enum ij_status import_run(const struct engine_import *options, char **ret_json,
                                      struct ij_err *reterr_err);

#endif
