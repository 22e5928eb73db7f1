/*
 * Defaults and limits of a loader's options. Private to the loader; what others use is in loader.h.
 */
#ifndef GPU_DATA_LOADER_OPTIONS_H
#define GPU_DATA_LOADER_OPTIONS_H

#include "gpu/data/loader.h"

/* Puts the default in the place of each zero that means one. */
void loader_options_complete(struct loader_options *options);
/* IJ_INVALID or IJ_TOO_LARGE names the option; `options` are complete. */
IJ_MUST_USE enum ij_status loader_options_check(const struct loader_options *options,
                                                struct ij_err *reterr_err);

#endif
