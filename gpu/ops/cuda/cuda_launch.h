/*
 * What differs between a GPU and the host build of the same sources (tests/simt): how a kernel is
 * started and where its shared memory comes from. Beside this file only cuda_fragment.h, with its
 * two instructions, asks which it is.
 */
#ifndef GPU_OPS_CUDA_LAUNCH_H
#define GPU_OPS_CUDA_LAUNCH_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

/* CUDA_LAUNCH((kernel<8>), grid, block, bytes of dynamic shared memory, stream, arguments...) */
#ifdef SIMT_HOST
#define CUDA_LAUNCH(kernel, grid, block, shared, stream, ...)                                      \
    simt_launch((grid), (block), (shared), [=]() { kernel(__VA_ARGS__); })
#define CUDA_SHARED_DYNAMIC(name) unsigned char *name = simt_shared()
#else
#define CUDA_LAUNCH(kernel, grid, block, shared, stream, ...)                                      \
    kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define CUDA_SHARED_DYNAMIC(name) extern __shared__ __align__(16) unsigned char name[]
#endif

#define CUDA_WARP     32
#define CUDA_ALL      0xffffffffu /* all lanes of a warp */
#define CUDA_GRID_MAX 65535       /* blocks along y and z */

#endif
