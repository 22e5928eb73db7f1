/*
 * OP_CALL(linear_forward, .rows = n, ...) runs one operation on `backend` and returns its error to
 * the caller. The enclosing function has variables named `backend` and `reterr_err`.
 */
#ifndef GPU_MODEL_OP_CALL_H
#define GPU_MODEL_OP_CALL_H

#include "gpu/ops/ops.h"

#define OP_CALL(op, ...)                                                                           \
    IJ_TRY(backend->ops->op(backend, &(struct op_##op){__VA_ARGS__}, reterr_err))

#endif
