/*
 * Layer norm, forward and backward: one warp per row, the row read again from cache for each pass,
 * statistics in float32 from differences to the mean.
 *
 * The gradients of gamma and beta: every warp adds up its own rows in shared memory columns, every
 * block its warps in order, and a second kernel the blocks in order. Same shape, same bits. The
 * columns lie so that the lanes of a warp meet different banks (norm_slot).
 */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda_plan.h"

#define NORM_WARPS 4

/* What a row needs of both passes; gamma and beta NULL: no affine part. */
struct norm_row {
    int64_t at, width;
    int lane;
};

template <int PACK>
static __device__ inline float norm_sum(struct tensor x, const struct norm_row &row, float center,
                                        bool square)
{
    float sum = 0;
    for (int64_t i = row.lane * PACK; i < row.width; i += CUDA_WARP * PACK) {
        float v[PACK];
        cuda_load<PACK>(x, row.at + i, v);
        for (int k = 0; k < PACK; k++) {
            float difference = v[k] - center;
            sum += square ? difference * difference : difference;
        }
    }
    return cuda_warp_sum(sum);
}

template <int PACK> static __global__ void norm_forward_kernel(struct op_layer_norm_forward args)
{
    int64_t warp = (int64_t)blockIdx.x * NORM_WARPS + threadIdx.x / CUDA_WARP;
    int64_t step = (int64_t)gridDim.x * NORM_WARPS;
    for (int64_t r = warp; r < args.rows; r += step) {
        struct norm_row row = {r * args.width, args.width, (int)(threadIdx.x % CUDA_WARP)};
        float mean = norm_sum<PACK>(args.x, row, 0.0f, false) / (float)args.width;
        float variance = norm_sum<PACK>(args.x, row, mean, true) / (float)args.width;
        float rstd = 1.0f / sqrtf(variance + args.eps);
        for (int64_t i = row.lane * PACK; i < row.width; i += CUDA_WARP * PACK) {
            float v[PACK], gamma[PACK], beta[PACK];
            cuda_load<PACK>(args.x, row.at + i, v);
            if (args.gamma) {
                cuda_load<PACK>(args.gamma, i, gamma);
                cuda_load<PACK>(args.beta, i, beta);
            }
            for (int k = 0; k < PACK; k++) {
                v[k] = (v[k] - mean) * rstd;
                v[k] = args.gamma ? v[k] * gamma[k] + beta[k] : v[k];
            }
            cuda_store<PACK>(args.y, row.at + i, v);
        }
        if (args.mean && row.lane == 0) {
            args.mean[r] = mean;
            args.rstd[r] = rstd;
        }
    }
}

enum ij_status cuda_layer_norm_forward(struct backend *backend,
                                       const struct op_layer_norm_forward *args,
                                       struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "layer_norm_forward", args->rows, args->width, 1);
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    IJ_TRY(cuda_check(cuda, "y", args->y, reterr_err));
    if (!args->gamma != !args->beta || !args->mean != !args->rstd)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "layer_norm_forward: gamma and beta, mean and rstd go together");
    if (args->rows == 0)
        return IJ_OK;
    unsigned blocks = cuda_blocks(cuda, args->rows, NORM_WARPS);
    if (cuda_packs(args->width, args->x.data, args->y.data, args->gamma, args->beta, NULL))
        CUDA_LAUNCH((norm_forward_kernel<8>), dim3(blocks), dim3(NORM_WARPS * CUDA_WARP), 0,
                    cuda->stream, *args);
    else
        CUDA_LAUNCH((norm_forward_kernel<1>), dim3(blocks), dim3(NORM_WARPS * CUDA_WARP), 0,
                    cuda->stream, *args);
    return cuda_done(cuda, reterr_err);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Columns rounded up to what a warp handles at a time. */
template <int PACK> static inline __host__ __device__ int64_t norm_slots(int64_t width)
{
    return (width + CUDA_WARP * PACK - 1) / (CUDA_WARP * PACK) * (CUDA_WARP * PACK);
}

/* Where column i has its sums in shared memory: a lane's PACK columns are 32 floats apart. */
template <int PACK> static __device__ inline int norm_slot(int i)
{
    const int span = CUDA_WARP * PACK;
    return i / span * span + i % PACK * CUDA_WARP + i % span / PACK;
}

/* With xhat = (x - mean) rstd and g = dy gamma: the row's sums of g and g xhat; the warp's columns
 * gain dy xhat (dgamma) and dy (dbeta). */
template <int PACK>
static __device__ inline void norm_row_sums(const struct op_layer_norm_backward &args,
                                            const struct norm_row &row, float mean, float rstd,
                                            float *columns, float &sum_g, float &sum_gx)
{
    float g_sum = 0, gx_sum = 0;
    for (int64_t i = row.lane * PACK; i < row.width; i += CUDA_WARP * PACK) {
        float dy[PACK], x[PACK], gamma[PACK];
        cuda_load<PACK>(args.dy, row.at + i, dy);
        cuda_load<PACK>(args.x, row.at + i, x);
        if (args.gamma)
            cuda_load<PACK>(args.gamma, i, gamma);
        for (int k = 0; k < PACK; k++) {
            float xhat = (x[k] - mean) * rstd, g = args.gamma ? dy[k] * gamma[k] : dy[k];
            g_sum += g;
            gx_sum += g * xhat;
            if (args.dgamma) {
                int slot = norm_slot<PACK>((int)i + k);
                columns[slot] += dy[k] * xhat;
                columns[norm_slots<PACK>(row.width) + slot] += dy[k];
            }
        }
    }
    sum_g = cuda_warp_sum(g_sum);
    sum_gx = cuda_warp_sum(gx_sum);
}

/* dx = rstd (g - mean of g - xhat * mean of g xhat) [+ residual]; elementwise, so dx may alias. */
template <int PACK>
static __device__ inline void norm_row_dx(const struct op_layer_norm_backward &args,
                                          const struct norm_row &row, float mean, float rstd,
                                          float mean_g, float mean_gx)
{
    for (int64_t i = row.lane * PACK; i < row.width; i += CUDA_WARP * PACK) {
        float dy[PACK], x[PACK], gamma[PACK], residual[PACK];
        cuda_load<PACK>(args.dy, row.at + i, dy);
        cuda_load<PACK>(args.x, row.at + i, x);
        if (args.gamma)
            cuda_load<PACK>(args.gamma, i, gamma);
        if (args.residual.data)
            cuda_load<PACK>(args.residual, row.at + i, residual);
        for (int k = 0; k < PACK; k++) {
            float g = args.gamma ? dy[k] * gamma[k] : dy[k];
            dy[k] = rstd * (g - mean_g - (x[k] - mean) * rstd * mean_gx);
            dy[k] += args.residual.data ? residual[k] : 0.0f;
        }
        cuda_store<PACK>(args.dx, row.at + i, dy);
    }
}

/* Shared: warps x 2 x norm_slots(width). partial (blocks, 2 * width): dgamma, dbeta of the block's
 * rows. */
template <int PACK>
static __global__ void norm_backward_kernel(struct op_layer_norm_backward args, float *partial)
{
    CUDA_SHARED_DYNAMIC(shared);
    int warp_in_block = (int)(threadIdx.x / CUDA_WARP), lane = (int)(threadIdx.x % CUDA_WARP);
    int warps = (int)(blockDim.x / CUDA_WARP);
    int64_t slots = norm_slots<PACK>(args.width), columns = 2 * slots;
    float *mine = (float *)(void *)shared + warp_in_block * columns;
    if (args.dgamma)
        for (int64_t i = lane; i < columns; i += CUDA_WARP)
            mine[i] = 0;
    __syncwarp();
    int64_t step = (int64_t)gridDim.x * warps;
    for (int64_t r = (int64_t)blockIdx.x * warps + warp_in_block; r < args.rows; r += step) {
        struct norm_row row = {r * args.width, args.width, lane};
        float mean = args.mean[r], rstd = args.rstd[r], sum_g, sum_gx;
        norm_row_sums<PACK>(args, row, mean, rstd, mine, sum_g, sum_gx);
        norm_row_dx<PACK>(args, row, mean, rstd, sum_g / (float)args.width,
                          sum_gx / (float)args.width);
    }
    __syncthreads();
    if (!args.dgamma)
        return;
    const float *all = (const float *)(const void *)shared;
    for (int64_t i = threadIdx.x; i < 2 * args.width; i += blockDim.x) {
        int64_t second = i / args.width, column = i % args.width;
        float sum = 0;
        for (int w = 0; w < warps; w++)
            sum += all[w * columns + second * slots + norm_slot<PACK>((int)column)];
        partial[(int64_t)blockIdx.x * 2 * args.width + i] = sum;
    }
}

/* Few enough that joining the blocks costs little. */
unsigned cuda_norm_blocks(const struct cuda_backend *cuda, int64_t rows)
{
    unsigned blocks = cuda_blocks(cuda, rows, NORM_WARPS * 8);
    unsigned most = 4 * (unsigned)cuda->multiprocessors;
    most = most < CUDA_PLAN_NORM_PARTS ? most : CUDA_PLAN_NORM_PARTS;
    return blocks < most ? blocks : most;
}

static enum ij_status norm_backward_check(struct cuda_backend *cuda,
                                          const struct op_layer_norm_backward *args,
                                          struct ij_err *reterr_err)
{
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "dy", args->dy, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    IJ_TRY(cuda_check(cuda, "dx", args->dx, reterr_err));
    IJ_TRY(cuda_check_optional(cuda, "residual", args->residual, reterr_err));
    if (!args->dgamma != !args->dbeta || (args->dgamma && !args->gamma))
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "layer_norm_backward: dgamma and dbeta go together and with gamma");
    return IJ_OK;
}

template <int PACK>
static enum ij_status norm_backward_run(struct cuda_backend *cuda,
                                        const struct op_layer_norm_backward *args, unsigned blocks,
                                        float *partial, struct ij_err *reterr_err)
{
    size_t each = args->dgamma ? 2 * (size_t)norm_slots<PACK>(args->width) * sizeof(float) : 0;
    int warps = NORM_WARPS;
    while (warps > 1 && (size_t)warps * each > (size_t)cuda->shared_max) /* very wide rows */
        warps /= 2;
    size_t shared = (size_t)warps * each;
    if (shared > (size_t)cuda->shared_max)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "layer_norm_backward: width %lld is too large",
                      (long long)args->width);
    CUDA_TRY(cuda, cudaFuncSetAttribute(norm_backward_kernel<PACK>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_LAUNCH((norm_backward_kernel<PACK>), dim3(blocks), dim3((unsigned)warps * CUDA_WARP),
                shared, cuda->stream, *args, partial);
    return IJ_OK;
}

enum ij_status cuda_layer_norm_backward(struct backend *backend,
                                        const struct op_layer_norm_backward *args,
                                        struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "layer_norm_backward", args->rows, args->width, 1);
    IJ_TRY(norm_backward_check(cuda, args, reterr_err));
    unsigned blocks = cuda_norm_blocks(cuda, args->rows);
    void *partial;
    IJ_TRY(
        cuda_scratch(cuda, blocks * 2 * (size_t)args->width * sizeof(float), &partial, reterr_err));
    bool packs = cuda_packs(args->width, args->dy.data, args->x.data, args->gamma,
                            args->residual.data, args->dx.data);
    if (packs)
        IJ_TRY(norm_backward_run<8>(cuda, args, blocks, (float *)partial, reterr_err));
    else
        IJ_TRY(norm_backward_run<1>(cuda, args, blocks, (float *)partial, reterr_err));
    if (args->dgamma) {
        const float *sums = (const float *)partial;
        cuda_add_parts(cuda, sums, blocks, 2 * args->width, args->width, args->dgamma,
                       args->accumulate);
        cuda_add_parts(cuda, sums + args->width, blocks, 2 * args->width, args->width, args->dbeta,
                       args->accumulate);
    }
    return cuda_done(cuda, reterr_err);
}
