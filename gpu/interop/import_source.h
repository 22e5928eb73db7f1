/*
 * Public weights as found: all tensors of a file by name, and the model that they describe.
 * Private to gpu/interop.
 */
#ifndef GPU_INTEROP_IMPORT_SOURCE_H
#define GPU_INTEROP_IMPORT_SOURCE_H

#include "gpu/checkpoint/safetensors.h"
#include "gpu/engine.h"
#include "gpu/interop/torch_file.h"
#include "gpu/interop/weight_names.h"

enum import_part { IMPORT_ENCODER, IMPORT_TARGET, IMPORT_PREDICTOR, IMPORT_PART_COUNT };

struct import_source {
    const struct engine_import *options; /* borrowed */
    char weights[ENGINE_PATH_MAX + 32];  /* the file with the tensors */
    struct torch_file *torch;            /* one of these two; owned */
    struct safetensors *safetensors;
    const struct safetensors_tensor **tensors; /* (count); owned array */
    bool *used;                                /* (count); owned */
    size_t count;
    enum weight_names_style style;
    const char *prefixes[IMPORT_PART_COUNT]; /* static; NULL: the file has no such part */
    int64_t epoch;                           /* -1: not known */
    const char *normalization;               /* where mean and std come from; static */
    struct engine_spec spec;                 /* model, data.crop, data.mean, data.std */
};

/* Reads all names and derives the model. IJ_DATA: a tensor or key that says the model's shape is
 * missing or out of range. */
IJ_MUST_USE enum ij_status import_source_open(const struct engine_import *options,
                                              struct import_source *ret_source,
                                              struct ij_err *reterr_err);
void import_source_done(struct import_source *source); /* a zeroed struct is fine */

/* Index of prefix + name, or `count`. */
size_t import_source_find(const struct import_source *source, const char *prefix, const char *name);

#endif
