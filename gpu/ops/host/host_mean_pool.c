/* Mean over the tokens of every sequence. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

HOST_CLONES static void host_pool_add(float *restrict y, const float *restrict x, float factor,
                                      int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] += x[i] * factor;
}

enum ij_status host_mean_pool(struct backend *backend, const struct op_mean_pool *args,
                              struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t width = args->width, length = args->length;
    IJ_TRY(host_tensor_check_shape("mean_pool", args->sequences, width, reterr_err));
    IJ_TRY(host_tensor_check("mean_pool", "x", args->x, reterr_err));
    if (length < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "length", "mean_pool: must be positive");
    IJ_TRY(host_backend_need(host, 0, (size_t)width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->sequences, 1);
        for (int64_t s = span.begin; s < span.end; s++) {
            float *y = args->y + s * width;
            memset(y, 0, (size_t)width * sizeof(float));
            for (int64_t j = 0; j < length; j++)
                host_pool_add(y,
                              host_tensor_read(args->x, (s * length + j) * width, width,
                                               host_backend_local(host)),
                              1.0f / (float)length, width);
        }
    }
    return IJ_OK;
}
