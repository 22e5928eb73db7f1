/* Operations that move whole rows: gather, and the tail of every sequence with its gradient. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

/* y[to] = x[from], converting where the types differ. `local`: one row. */
static void host_rows_copy(struct tensor x, int64_t from, struct tensor y, int64_t to,
                           int64_t width, float *local)
{
    size_t size = tensor_type_size(x.type);
    if (x.type == y.type) {
        memcpy((char *)y.data + (size_t)(to * width) * size,
               (const char *)x.data + (size_t)(from * width) * size, (size_t)width * size);
        return;
    }
    const float *values = host_tensor_read(x, from * width, width, local);
    if (y.type == TENSOR_F32)
        memcpy((float *)y.data + to * width, values, (size_t)width * sizeof(float));
    host_tensor_write(y, to * width, width, values);
}

static void host_rows_zero(struct tensor y, int64_t from, int64_t rows, int64_t width)
{
    size_t row_bytes = (size_t)width * tensor_type_size(y.type);
    memset((char *)y.data + (size_t)from * row_bytes, 0, (size_t)rows * row_bytes);
}

static enum ij_status host_rows_check(const char *op, int64_t rows, int64_t width, struct tensor x,
                                      struct tensor y, struct ij_err *reterr_err)
{
    IJ_TRY(host_tensor_check_shape(op, rows, width, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", x, reterr_err));
    return host_tensor_check(op, "y", y, reterr_err);
}

enum ij_status host_gather_rows(struct backend *backend, const struct op_gather_rows *args,
                                struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_rows_check("gather_rows", args->rows, args->width, args->x, args->y, reterr_err));
    IJ_TRY(host_backend_need(host, 0, (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->rows, 1);
        for (int64_t row = span.begin; row < span.end; row++)
            host_rows_copy(args->x, args->index[row], args->y, row, args->width,
                           host_backend_local(host));
    }
    return IJ_OK;
}

static enum ij_status host_tail_check(const char *op, int64_t sequences, int64_t length,
                                      int64_t tail, struct ij_err *reterr_err)
{
    if (sequences < 0 || tail < 0 || tail > length)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: last %lld rows of %lld", op, (long long)tail,
                      (long long)length);
    return IJ_OK;
}

enum ij_status host_tail_forward(struct backend *backend, const struct op_tail_forward *args,
                                 struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t rows = args->sequences * args->tail, length = args->length, tail = args->tail;
    IJ_TRY(host_tail_check("tail_forward", args->sequences, length, tail, reterr_err));
    IJ_TRY(host_rows_check("tail_forward", rows, args->width, args->x, args->y, reterr_err));
    IJ_TRY(host_backend_need(host, 0, (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(rows, 1);
        for (int64_t row = span.begin; row < span.end; row++) {
            int64_t from = row / tail * length + length - tail + row % tail;
            host_rows_copy(args->x, from, args->y, row, args->width, host_backend_local(host));
        }
    }
    return IJ_OK;
}

enum ij_status host_tail_backward(struct backend *backend, const struct op_tail_backward *args,
                                  struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t length = args->length, tail = args->tail, head = length - tail;
    IJ_TRY(host_tail_check("tail_backward", args->sequences, length, tail, reterr_err));
    IJ_TRY(host_rows_check("tail_backward", args->sequences * length, args->width, args->dy,
                           args->dx, reterr_err));
    IJ_TRY(host_backend_need(host, 0, (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->sequences, 1);
        for (int64_t s = span.begin; s < span.end; s++) {
            host_rows_zero(args->dx, s * length, head, args->width);
            for (int64_t j = 0; j < tail; j++)
                host_rows_copy(args->dy, s * tail + j, args->dx, s * length + head + j, args->width,
                               host_backend_local(host));
        }
    }
    return IJ_OK;
}
