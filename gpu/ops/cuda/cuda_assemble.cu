/*
 * The predictor's input and its gradient, one warp per row.
 *
 * The mask token's gradient: the target rows' column sums in two stages, like a bias gradient.
 */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define ASSEMBLE_WARPS 4
#define ASSEMBLE_PARTS 128

template <int PACK> static __global__ void assemble_kernel(struct op_assemble_forward args)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t length = args.context_count + args.target_count;
    int64_t rows = args.blocks * args.images * length;
    int64_t warp = (int64_t)blockIdx.x * ASSEMBLE_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < rows; row += (int64_t)gridDim.x * ASSEMBLE_WARPS) {
        int64_t sequence = row / length, j = row % length;
        int64_t context = sequence % args.images * args.context_count + j;
        int64_t target = sequence * args.target_count + j - args.context_count;
        bool seen = j < args.context_count;
        int64_t place = seen ? args.context_index[context] : args.target_index[target];
        for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
            float v[PACK], p[PACK];
            if (seen)
                cuda_load<PACK>(args.context, context * args.width + i, v);
            else
                cuda_load<PACK>(args.mask_token, i, v);
            cuda_load<PACK>(args.position, place * args.width + i, p);
            for (int k = 0; k < PACK; k++)
                v[k] += p[k];
            cuda_store<PACK>(args.x, row * args.width + i, v);
        }
    }
}

enum ij_status cuda_assemble_forward(struct backend *backend,
                                     const struct op_assemble_forward *args,
                                     struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    int64_t rows = args->blocks * args->images * (args->context_count + args->target_count);
    cuda_begin(cuda, "assemble_forward", rows, args->width, args->blocks);
    IJ_TRY(cuda_check_shape(cuda, rows, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "context", args->context, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    if (rows == 0)
        return IJ_OK;
    dim3 grid(cuda_blocks(cuda, rows, ASSEMBLE_WARPS)), block(ASSEMBLE_WARPS * CUDA_WARP);
    if (cuda_packs(args->width, args->context.data, args->position, args->mask_token, args->x.data,
                   NULL))
        CUDA_LAUNCH((assemble_kernel<8>), grid, block, 0, cuda->stream, *args);
    else
        CUDA_LAUNCH((assemble_kernel<1>), grid, block, 0, cuda->stream, *args);
    return cuda_done(cuda, reterr_err);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* dcontext = sum over the blocks, in order. */
template <int PACK> static __global__ void assemble_context_kernel(struct op_assemble_backward args)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t length = args.context_count + args.target_count;
    int64_t rows = args.images * args.context_count;
    int64_t warp = (int64_t)blockIdx.x * ASSEMBLE_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < rows; row += (int64_t)gridDim.x * ASSEMBLE_WARPS) {
        int64_t image = row / args.context_count, j = row % args.context_count;
        for (int64_t i = lane * PACK; i < args.width; i += CUDA_WARP * PACK) {
            float sum[PACK] = {}, v[PACK];
            for (int64_t b = 0; b < args.blocks; b++) {
                int64_t from = (b * args.images + image) * length + j;
                cuda_load<PACK>(args.dx, from * args.width + i, v);
                for (int k = 0; k < PACK; k++)
                    sum[k] += v[k];
            }
            cuda_store<PACK>(args.dcontext, row * args.width + i, sum);
        }
    }
}

/* partial[part][column] = sum over the part's target rows; one warp per part and 32 columns. */
static __global__ void assemble_token_kernel(struct op_assemble_backward args, int64_t per_part,
                                             float *partial)
{
    int64_t column = (int64_t)blockIdx.x * CUDA_WARP + threadIdx.x;
    int64_t length = args.context_count + args.target_count;
    int64_t rows = args.blocks * args.images * args.target_count;
    int64_t first = (int64_t)blockIdx.y * per_part, end = first + per_part;
    float sum = 0;
    if (column >= args.width)
        return;
    for (int64_t r = first; r < end && r < rows; r++) {
        int64_t at = r / args.target_count * length + args.context_count + r % args.target_count;
        float v[1];
        cuda_load<1>(args.dx, at * args.width + column, v);
        sum += v[0];
    }
    partial[blockIdx.y * args.width + column] = sum;
}

static enum ij_status assemble_token(struct cuda_backend *cuda,
                                     const struct op_assemble_backward *args,
                                     struct ij_err *reterr_err)
{
    int64_t rows = args->blocks * args->images * args->target_count;
    int64_t parts = rows < 1 ? 1 : rows > ASSEMBLE_PARTS ? ASSEMBLE_PARTS : rows;
    int64_t per_part = (rows + parts - 1) / parts;
    void *partial;
    IJ_TRY(cuda_scratch(cuda, (size_t)(parts * args->width) * sizeof(float), &partial, reterr_err));
    CUDA_LAUNCH(assemble_token_kernel,
                dim3((unsigned)((args->width + CUDA_WARP - 1) / CUDA_WARP), (unsigned)parts),
                dim3(CUDA_WARP), 0, cuda->stream, *args, per_part, (float *)partial);
    cuda_add_parts(cuda, (const float *)partial, parts, args->width, args->width, args->dmask_token,
                   args->accumulate);
    return IJ_OK;
}

enum ij_status cuda_assemble_backward(struct backend *backend,
                                      const struct op_assemble_backward *args,
                                      struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    int64_t rows = args->images * args->context_count;
    cuda_begin(cuda, "assemble_backward", rows, args->width, args->blocks);
    IJ_TRY(cuda_check_shape(cuda, rows, args->width, reterr_err));
    IJ_TRY(cuda_check(cuda, "dx", args->dx, reterr_err));
    IJ_TRY(cuda_check(cuda, "dcontext", args->dcontext, reterr_err));
    dim3 grid(cuda_blocks(cuda, rows, ASSEMBLE_WARPS)), block(ASSEMBLE_WARPS * CUDA_WARP);
    if (cuda_packs(args->width, args->dx.data, args->dcontext.data, NULL, NULL, NULL))
        CUDA_LAUNCH((assemble_context_kernel<8>), grid, block, 0, cuda->stream, *args);
    else
        CUDA_LAUNCH((assemble_context_kernel<1>), grid, block, 0, cuda->stream, *args);
    if (args->dmask_token)
        IJ_TRY(assemble_token(cuda, args, reterr_err));
    return cuda_done(cuda, reterr_err);
}
