/* Strict matching of a source's tensors with the layout, and their copies. Private to gpu/interop.
 */
#ifndef GPU_INTEROP_IMPORT_MATCH_H
#define GPU_INTEROP_IMPORT_MATCH_H

#include "gpu/interop/import_source.h"

/* Copies one part into an arena of the layout. Differences in names and shapes are all collected
 * before anything is copied: IJ_DATA lists them. Marks the tensors as used. */
IJ_MUST_USE enum ij_status import_match_copy(struct import_source *source,
                                             const struct layout *layout,
                                             const float *const positions[2], float *parameter,
                                             float *target, struct ij_err *reterr_err);

#endif
