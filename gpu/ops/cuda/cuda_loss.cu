/*
 * Loss, its gradient and two observations in one pass, one warp per row. Sums are in double: over
 * a row, over a block's rows in order, over the blocks in order.
 */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define LOSS_WARPS 4
#define LOSS_SUMS  3 /* loss, cosine, non-finite */

/* One element: its loss; *ret_slope is the derivative. */
static __device__ inline float loss_element(enum loss_kind kind, float e, float *ret_slope)
{
    if (kind == LOSS_L2) {
        *ret_slope = 2.0f * e;
        return e * e;
    }
    float a = fabsf(e);
    *ret_slope = e > 1.0f ? 1.0f : e < -1.0f ? -1.0f : e;
    return a < 1.0f ? 0.5f * e * e : a - 0.5f;
}

/* Adds the row to sums (in lane 0's opinion as in everybody's). */
template <int PACK>
static __device__ inline void loss_row(const struct op_loss &args, int64_t row, int lane,
                                       float factor, double (&sums)[LOSS_SUMS])
{
    double loss = 0, pt = 0, pp = 0, tt = 0, bad = 0;
    for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
        float p[PACK], t[PACK], d[PACK];
        cuda_load<PACK>(args.prediction, row * args.width + i, p);
        cuda_load<PACK>(args.target, row * args.width + i, t);
        for (int k = 0; k < PACK; k++) {
            loss += (double)loss_element(args.kind, p[k] - t[k], &d[k]);
            d[k] *= factor;
            pt += (double)p[k] * (double)t[k];
            pp += (double)p[k] * (double)p[k];
            tt += (double)t[k] * (double)t[k];
            bad += (__float_as_uint(p[k]) & 0x7f800000u) == 0x7f800000u ? 1.0 : 0.0;
        }
        if (args.dprediction.data)
            cuda_store<PACK>(args.dprediction, row * args.width + i, d);
    }
    double norms = sqrt(cuda_warp_sum(pp) * cuda_warp_sum(tt));
    double product = cuda_warp_sum(pt);
    sums[0] += cuda_warp_sum(loss);
    sums[1] += norms > 0 ? product / norms : norms; /* 0 stays 0, NaN stays NaN */
    sums[2] += cuda_warp_sum(bad);
}

template <int PACK>
static __global__ void loss_kernel(struct op_loss args, float factor, double *partial)
{
    __shared__ double shared[LOSS_WARPS][LOSS_SUMS];
    int lane = (int)threadIdx.x % CUDA_WARP, warp = (int)threadIdx.x / CUDA_WARP;
    double sums[LOSS_SUMS] = {};
    int64_t step = (int64_t)gridDim.x * LOSS_WARPS;
    for (int64_t r = (int64_t)blockIdx.x * LOSS_WARPS + warp; r < args.rows; r += step)
        loss_row<PACK>(args, r, lane, factor, sums);
    if (lane == 0)
        for (int i = 0; i < LOSS_SUMS; i++)
            shared[warp][i] = sums[i];
    __syncthreads();
    if (threadIdx.x < LOSS_SUMS) {
        double sum = 0;
        for (int w = 0; w < LOSS_WARPS; w++)
            sum += shared[w][threadIdx.x];
        partial[blockIdx.x * LOSS_SUMS + threadIdx.x] = sum;
    }
}

/* Warp i joins sum i. */
static __global__ void loss_join_kernel(const double *partial, int blocks, double rows,
                                        double elements, float *sums)
{
    int lane = (int)threadIdx.x % CUDA_WARP, which = (int)threadIdx.x / CUDA_WARP;
    double sum = 0;
    for (int i = lane; i < blocks; i += CUDA_WARP)
        sum += partial[i * LOSS_SUMS + which];
    sum = cuda_warp_sum(sum);
    if (lane == 0)
        sums[which] = (float)(sum / (which == 1 ? rows : elements));
}

enum ij_status cuda_loss(struct backend *backend, const struct op_loss *args,
                         struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "loss", args->rows, args->width, 1);
    IJ_TRY(cuda_check_shape(cuda, args->rows - 1, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "prediction", args->prediction, reterr_err));
    IJ_TRY(cuda_check_optional(cuda, "dprediction", args->dprediction, reterr_err));
    double elements = (double)args->rows * (double)args->width;
    float factor = (float)((double)args->gradient_scale / elements);
    unsigned blocks = cuda_blocks(cuda, args->rows, LOSS_WARPS * 4);
    void *partial;
    IJ_TRY(cuda_scratch(cuda, blocks * LOSS_SUMS * sizeof(double), &partial, reterr_err));
    dim3 block(LOSS_WARPS * CUDA_WARP);
    if (cuda_packs(args->width, args->prediction.data, args->target, args->dprediction.data, NULL,
                   NULL))
        CUDA_LAUNCH((loss_kernel<8>), dim3(blocks), block, 0, cuda->stream, *args, factor,
                    (double *)partial);
    else
        CUDA_LAUNCH((loss_kernel<1>), dim3(blocks), block, 0, cuda->stream, *args, factor,
                    (double *)partial);
    CUDA_LAUNCH(loss_join_kernel, dim3(1), dim3(LOSS_SUMS * CUDA_WARP), 0, cuda->stream,
                (const double *)partial, (int)blocks, (double)args->rows, elements, args->sums);
    return cuda_done(cuda, reterr_err);
}
