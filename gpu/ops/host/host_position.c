/* Adds a row of the position table to every token. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

HOST_CLONES static void host_position_add(const float *x, const float *position, float *y,
                                          int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = x[i] + position[i];
}

enum ij_status host_add_position(struct backend *backend, const struct op_add_position *args,
                                 struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t width = args->width;
    IJ_TRY(host_tensor_check_shape("add_position", args->rows, width, reterr_err));
    IJ_TRY(host_tensor_check("add_position", "x", args->x, reterr_err));
    if (args->positions < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "positions", "add_position: must be positive");
    for (int64_t r = 0; args->index && r < args->rows; r++)
        if (args->index[r] < 0 || args->index[r] >= args->positions)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "index", "add_position: row %d of %lld",
                                args->index[r], (long long)args->positions);
    IJ_TRY(host_backend_need(host, 0, (size_t)width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->rows, 1);
        float *local = host_backend_local(host);
        for (int64_t row = span.begin; row < span.end; row++) {
            int64_t place = args->index ? args->index[row] : row % args->positions;
            const float *x = host_tensor_read(args->x, row * width, width, local);
            float *y = host_tensor_target(args->x, row * width, local);
            host_position_add(x, args->position + place * width, y, width);
            host_tensor_write(args->x, row * width, width, y);
        }
    }
    return IJ_OK;
}
