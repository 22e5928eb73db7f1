/*
 * A file written by torch.save (the zip format, torch 1.6 and later) as a list of tensors.
 *
 * The root is a dict of text -> tensor ("norm.weight"), or of sections with such dicts
 * ("encoder" -> "module.norm.weight"); a tensor is named "section.name" without the "module." that
 * data-parallel training adds. Everything else (optimiser state, numbers) is left out. Only
 * row-major tensors whose values lie wholly in the file are read.
 */
#ifndef GPU_INTEROP_TORCH_FILE_H
#define GPU_INTEROP_TORCH_FILE_H

#include "gpu/checkpoint/safetensors.h"

struct torch_file;

/* IJ_MALFORMED or IJ_UNSUPPORTED; the text names the file and what was found. Caller frees. */
IJ_MUST_USE enum ij_status torch_file_open(const char *path, struct torch_file **ret_file,
                                           struct ij_err *reterr_err);
void torch_file_free(struct torch_file *file); /* NULL is fine */

/* In the file's order; borrowed. */
size_t torch_file_count(const struct torch_file *file);
const struct safetensors_tensor *torch_file_at(const struct torch_file *file, size_t index);
/* A whole number of the root ("epoch"). False: absent. */
bool torch_file_integer(const struct torch_file *file, const char *key, int64_t *ret_value);

#endif
