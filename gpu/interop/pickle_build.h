/* The few constructions that saved PyTorch state is made of. Private to gpu/interop. */
#ifndef GPU_INTEROP_PICKLE_BUILD_H
#define GPU_INTEROP_PICKLE_BUILD_H

#include "gpu/interop/pickle.h"

/* function(*arguments): an ordered dict or a tensor is made in **result; a parameter is its tensor:
 * *result then points there. IJ_UNSUPPORTED names any other function. */
IJ_MUST_USE enum ij_status pickle_build_call(const char *name, const struct pickle_value *function,
                                             const struct pickle_value *arguments,
                                             struct pickle_value **result,
                                             struct ij_err *reterr_err);
/* A persistent id ("storage", type, key, place, count) becomes a storage in *result. */
IJ_MUST_USE enum ij_status pickle_build_storage(const char *name, const struct pickle_value *id,
                                                struct pickle_value *result,
                                                struct ij_err *reterr_err);

#endif
