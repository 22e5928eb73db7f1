/* Adds position rows to tokens, one warp per token. */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define POSITION_WARPS 4

template <int PACK> static __global__ void position_kernel(struct op_add_position args, int *fault)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t warp = (int64_t)blockIdx.x * POSITION_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < args.rows; row += (int64_t)gridDim.x * POSITION_WARPS) {
        int64_t place = args.index ? args.index[row] : row % args.positions;
        if (place < 0 || place >= args.positions) {
            *fault = CUDA_FAULT_INDEX;
            continue;
        }
        for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
            float v[PACK], p[PACK];
            cuda_load<PACK>(args.x, row * args.width + i, v);
            cuda_load<PACK>(args.position, place * args.width + i, p);
            for (int k = 0; k < PACK; k++)
                v[k] += p[k];
            cuda_store<PACK>(args.x, row * args.width + i, v);
        }
    }
}

enum ij_status cuda_add_position(struct backend *backend, const struct op_add_position *args,
                                 struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "add_position", args->rows, args->width, args->positions);
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->width, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->positions, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    dim3 grid(cuda_blocks(cuda, args->rows, POSITION_WARPS)), block(POSITION_WARPS * CUDA_WARP);
    if (cuda_packs(args->width, args->x.data, args->position, NULL, NULL, NULL))
        CUDA_LAUNCH((position_kernel<8>), grid, block, 0, cuda->stream, *args, cuda->fault);
    else
        CUDA_LAUNCH((position_kernel<1>), grid, block, 0, cuda->stream, *args, cuda->fault);
    return cuda_done(cuda, reterr_err);
}
