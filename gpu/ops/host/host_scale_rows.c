/* Every sequence times a factor of its own, plus a residual. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

HOST_CLONES static void host_scale_row(float *y, const float *x, const float *residual,
                                       float factor, int64_t width)
{
    if (residual) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            y[i] = factor * x[i] + residual[i];
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = factor * x[i];
}

static enum ij_status host_scale_check(const struct op_scale_rows *args, struct ij_err *reterr_err)
{
    IJ_TRY(host_tensor_check_shape("scale_rows", args->sequences, args->width, reterr_err));
    if (args->length < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "length", "scale_rows: must be positive");
    IJ_TRY(host_tensor_check("scale_rows", "x", args->x, reterr_err));
    IJ_TRY(host_tensor_check_optional("scale_rows", "residual", args->residual, reterr_err));
    return host_tensor_check("scale_rows", "y", args->y, reterr_err);
}

enum ij_status host_scale_rows(struct backend *backend, const struct op_scale_rows *args,
                               struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t width = args->width;
    IJ_TRY(host_scale_check(args, reterr_err));
    IJ_TRY(host_backend_need(host, 0, (size_t)(3 * width), reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        float *local = host_backend_local(host);
        struct host_span span = host_my_part(args->sequences * args->length, 1);
        for (int64_t row = span.begin; row < span.end; row++) {
            int64_t s = row / args->length, from = args->broadcast ? s : row;
            const float *residual = NULL;
            const float *x = host_tensor_read(args->x, from * width, width, local);
            if (args->residual.data)
                residual = host_tensor_read(args->residual, row * width, width, local + width);
            float *y = host_tensor_target(args->y, row * width, local + 2 * width);
            host_scale_row(y, x, residual, args->scale[s], width);
            host_tensor_write(args->y, row * width, width, y);
        }
    }
    return IJ_OK;
}
