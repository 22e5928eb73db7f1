/* Type conversion. Elementwise, so that any split between threads gives the same result. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_CONVERT_GRAIN 1024

static void host_convert_span(const struct op_convert *args, struct host_span span)
{
    int64_t count = span.end - span.begin;
    size_t in = tensor_type_size(args->x.type), out = tensor_type_size(args->y.type);
    const char *x = (const char *)args->x.data + (size_t)span.begin * in;
    char *y = (char *)args->y.data + (size_t)span.begin * out;
    if (args->x.type == args->y.type)
        memcpy(y, x, (size_t)count * in);
    else if (args->x.type == TENSOR_BF16)
        host_tensor_widen((const uint16_t *)x, (float *)y, count);
    else
        host_tensor_narrow((const float *)x, (uint16_t *)y, count);
}

enum ij_status host_convert(struct backend *backend, const struct op_convert *args,
                            struct ij_err *reterr_err)
{
    IJ_TRY(host_tensor_check_shape("convert", args->count, 1, reterr_err));
    IJ_TRY(host_tensor_check("convert", "x", args->x, reterr_err));
    IJ_TRY(host_tensor_check("convert", "y", args->y, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    host_convert_span(args, host_my_part(args->count, HOST_CONVERT_GRAIN));
    return IJ_OK;
}
