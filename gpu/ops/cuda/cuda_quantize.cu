/* Rows as float8 (E4M3) with a scale each: one warp per row, which is read again from cache. */
#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda/cuda_view.h"

#include <cuda_fp8.h>
#include <float.h>

#define QUANTIZE_WARPS 4
#define QUANTIZE_MOST  448.0f

static __device__ inline uint8_t quantize_value(float x)
{
    return (uint8_t)__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
}

template <int PACK>
static __device__ inline void quantize_store(uint8_t *y, const float (&v)[PACK], float scale)
{
    if (PACK == 8) {
        unsigned words[2] = {0, 0};
        for (int k = 0; k < PACK; k++)
            words[k / 4] |= (unsigned)quantize_value(v[k] / scale) << k % 4 * 8;
        *(uint2 *)(void *)y = make_uint2(words[0], words[1]);
    } else {
        y[0] = quantize_value(v[0] / scale);
    }
}

template <int PACK> static __global__ void quantize_kernel(struct op_quantize_rows args)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t warp = (int64_t)blockIdx.x * QUANTIZE_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < args.rows; row += (int64_t)gridDim.x * QUANTIZE_WARPS) {
        float most = 0, v[PACK];
        for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
            cuda_load<PACK>(args.x, row * args.width + i, v);
            for (int k = 0; k < PACK; k++)
                most = fmaxf(most, fabsf(v[k])); /* NaN does not count, and stays one below */
        }
        most = cuda_warp_max(most);
        float scale = most > 0 ? fmaxf(most / QUANTIZE_MOST, FLT_MIN) : 1.0f;
        uint8_t *y = (uint8_t *)args.y.data + row * args.width;
        for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
            cuda_load<PACK>(args.x, row * args.width + i, v);
            quantize_store<PACK>(y + i, v, scale);
        }
        if (lane == 0)
            args.scale[row] = scale;
    }
}

enum ij_status cuda_quantize_rows(struct backend *backend, const struct op_quantize_rows *args,
                                  struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "quantize_rows", args->rows, args->width, 1);
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    if (!args->y.data || args->y.type != TENSOR_E4M3 || !args->scale)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "y",
                            "quantize_rows: y must be E4M3, with a scale");
    if (args->rows == 0)
        return IJ_OK;
    dim3 grid(cuda_blocks(cuda, args->rows, QUANTIZE_WARPS)), block(QUANTIZE_WARPS * CUDA_WARP);
    if (cuda_packs(args->width, args->x.data, args->y.data, NULL, NULL, NULL))
        CUDA_LAUNCH((quantize_kernel<8>), grid, block, 0, cuda->stream, *args);
    else
        CUDA_LAUNCH((quantize_kernel<1>), grid, block, 0, cuda->stream, *args);
    return cuda_done(cuda, reterr_err);
}
