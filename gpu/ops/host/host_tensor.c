/* See host_tensor.h. */
#include "gpu/ops/host/host_tensor.h"

HOST_CLONES void host_tensor_widen(const uint16_t *restrict x, float *restrict y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = host_simd_from_bf16(x[i]);
}

HOST_CLONES void host_tensor_narrow(const float *restrict x, uint16_t *restrict y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = host_simd_to_bf16(x[i]);
}

enum ij_status host_tensor_check_optional(const char *op, const char *name, struct tensor t,
                                          struct ij_err *reterr_err)
{
    if (t.data && t.type != TENSOR_F32 && t.type != TENSOR_BF16)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name,
                            "%s: the host takes float32 or bfloat16, got type %d", op, (int)t.type);
    return IJ_OK;
}

enum ij_status host_tensor_check(const char *op, const char *name, struct tensor t,
                                 struct ij_err *reterr_err)
{
    if (!t.data)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name, "%s: the tensor is absent", op);
    return host_tensor_check_optional(op, name, t, reterr_err);
}

enum ij_status host_tensor_check_shape(const char *op, int64_t rows, int64_t width,
                                       struct ij_err *reterr_err)
{
    if (rows < 0 || width < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: shape %lld x %lld", op, (long long)rows,
                      (long long)width);
    return IJ_OK;
}
