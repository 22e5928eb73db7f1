/*
 * Column sums in two stages, for bias gradients and the like: fixed parts of COLUMN_ROWS or more
 * rows, then the parts in order. A block sums 32 columns: 8 rows of threads, joined in order.
 */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda_plan.h"

#define COLUMN_ROWS      128
#define COLUMN_PARTS_MAX CUDA_PLAN_COLUMNS
#define COLUMN_WARPS     8
#define JOIN_WARPS       16

int64_t cuda_column_parts(int64_t rows)
{
    int64_t parts = (rows + COLUMN_ROWS - 1) / COLUMN_ROWS;
    return parts < 1 ? 1 : parts > COLUMN_PARTS_MAX ? COLUMN_PARTS_MAX : parts;
}

/* partial[part][column] = sum over the part's rows. */
static __global__ void column_part_kernel(struct tensor x, int64_t rows, int64_t width,
                                          int64_t per_part, float *partial)
{
    __shared__ float sums[COLUMN_WARPS][CUDA_WARP];
    int lane = (int)threadIdx.x % CUDA_WARP, warp = (int)threadIdx.x / CUDA_WARP;
    int64_t column = (int64_t)blockIdx.x * CUDA_WARP + lane;
    int64_t first = (int64_t)blockIdx.y * per_part, end = first + per_part;
    float sum = 0;
    for (int64_t r = first + warp; r < end && r < rows && column < width; r += COLUMN_WARPS) {
        float v[1];
        cuda_load<1>(x, r * width + column, v);
        sum += v[0];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || column >= width)
        return;
    for (int w = 1; w < COLUMN_WARPS; w++)
        sum += sums[w][lane];
    partial[blockIdx.y * width + column] = sum;
}

/* A block joins 32 columns: every warp its share of the parts, then the warps in order. */
static __global__ void add_parts_kernel(const float *partial, int64_t parts, int64_t stride,
                                        int64_t width, float *y, bool accumulate)
{
    __shared__ float sums[JOIN_WARPS][CUDA_WARP];
    int lane = (int)threadIdx.x % CUDA_WARP, warp = (int)threadIdx.x / CUDA_WARP;
    int64_t column = (int64_t)blockIdx.x * CUDA_WARP + lane;
    float sum = 0;
    for (int64_t i = warp; i < parts && column < width; i += JOIN_WARPS)
        sum += partial[i * stride + column];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || column >= width)
        return;
    for (int w = 1; w < JOIN_WARPS; w++)
        sum += sums[w][lane];
    y[column] = accumulate ? y[column] + sum : sum;
}

void cuda_add_parts(struct cuda_backend *cuda, const float *partial, int64_t parts, int64_t stride,
                    int64_t width, float *y, bool accumulate)
{
    CUDA_LAUNCH(add_parts_kernel, dim3((unsigned)((width + CUDA_WARP - 1) / CUDA_WARP)),
                dim3(JOIN_WARPS * CUDA_WARP), 0, cuda->stream, partial, parts, stride, width, y,
                accumulate);
}

void cuda_column_sums(struct cuda_backend *cuda, struct tensor x, int64_t rows, int64_t width,
                      float *partial, float *y, bool accumulate)
{
    int64_t parts = cuda_column_parts(rows), per_part = (rows + parts - 1) / parts;
    CUDA_LAUNCH(column_part_kernel,
                dim3((unsigned)((width + CUDA_WARP - 1) / CUDA_WARP), (unsigned)parts),
                dim3(COLUMN_WARPS * CUDA_WARP), 0, cuda->stream, x, rows, width, per_part, partial);
    cuda_add_parts(cuda, partial, parts, width, width, y, accumulate);
}
