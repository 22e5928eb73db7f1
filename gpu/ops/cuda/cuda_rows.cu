/* Operations that move whole rows, one warp per row: gather, and the tail of every sequence. */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define ROWS_WARPS 4

/* Row r of y is row source(r) of x, or zero where that is negative. */
struct rows_move {
    int64_t rows, width;
    struct tensor x, y;
    const int32_t *index;          /* gather; or NULL: */
    int64_t from_length, from_end; /* rows per sequence in x; where y's rows begin in it */
    int64_t to_length;             /* rows per sequence in y */
};

static __device__ inline int64_t rows_source(const struct rows_move &m, int64_t row)
{
    if (m.index)
        return m.index[row];
    int64_t inside = row % m.to_length + m.from_end;
    return inside < 0 ? -1 : row / m.to_length * m.from_length + inside;
}

template <int PACK> static __global__ void rows_kernel(struct rows_move m)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t warp = (int64_t)blockIdx.x * ROWS_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < m.rows; row += (int64_t)gridDim.x * ROWS_WARPS) {
        int64_t from = rows_source(m, row);
        for (int64_t i = lane * PACK; i < m.width; i += CUDA_WARP * PACK) {
            float v[PACK] = {};
            if (from >= 0)
                cuda_load<PACK>(m.x, from * m.width + i, v);
            cuda_store<PACK>(m.y, row * m.width + i, v);
        }
    }
}

static enum ij_status rows_run(struct cuda_backend *cuda, const struct rows_move *move,
                               struct ij_err *reterr_err)
{
    IJ_TRY(cuda_check_shape(cuda, move->rows, move->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", move->x, reterr_err));
    IJ_TRY(cuda_check(cuda, "y", move->y, reterr_err));
    if (move->rows == 0)
        return IJ_OK;
    dim3 grid(cuda_blocks(cuda, move->rows, ROWS_WARPS)), block(ROWS_WARPS * CUDA_WARP);
    if (cuda_packs(move->width, move->x.data, move->y.data, NULL, NULL, NULL))
        CUDA_LAUNCH((rows_kernel<8>), grid, block, 0, cuda->stream, *move);
    else
        CUDA_LAUNCH((rows_kernel<1>), grid, block, 0, cuda->stream, *move);
    return cuda_done(cuda, reterr_err);
}

enum ij_status cuda_gather_rows(struct backend *backend, const struct op_gather_rows *args,
                                struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "gather_rows", args->rows, args->width, 1);
    struct rows_move move = {args->rows, args->width, args->x, args->y, args->index, 0, 0, 1};
    return rows_run(cuda, &move, reterr_err);
}

static enum ij_status rows_tail_check(struct cuda_backend *cuda, int64_t sequences, int64_t length,
                                      int64_t tail, struct ij_err *reterr_err)
{
    if (sequences < 0 || tail < 0 || tail > length)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: last %lld rows of %lld", cuda->last_op,
                      (long long)tail, (long long)length);
    return IJ_OK;
}

enum ij_status cuda_tail_forward(struct backend *backend, const struct op_tail_forward *args,
                                 struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "tail_forward", args->sequences, args->length, args->width);
    IJ_TRY(rows_tail_check(cuda, args->sequences, args->length, args->tail, reterr_err));
    struct rows_move move = {
        args->sequences * args->tail, args->width, args->x, args->y, NULL, args->length,
        args->length - args->tail,    args->tail};
    return rows_run(cuda, &move, reterr_err);
}

enum ij_status cuda_tail_backward(struct backend *backend, const struct op_tail_backward *args,
                                  struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "tail_backward", args->sequences, args->length, args->width);
    IJ_TRY(rows_tail_check(cuda, args->sequences, args->length, args->tail, reterr_err));
    struct rows_move move = {
        args->sequences * args->length, args->width, args->dy, args->dx, NULL, args->tail,
        args->tail - args->length,      args->length};
    return rows_run(cuda, &move, reterr_err);
}
