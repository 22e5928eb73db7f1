/*
 * The CUDA backend's own state, shared by the files of this folder and by nobody else.
 *
 * One GPU, one stream: operations run in the order of the calls. A call checks its arguments,
 * starts kernels and ends with `cuda_done`, which turns a launch error into IJ_DEVICE with the
 * operation and its shape. What happens inside a kernel is known later: the next `synchronize` or
 * `download` names the last operation started. With `check_each` set every call waits for its own
 * kernels, so that the text names the right one.
 *
 * One thread uses a backend. Memory beside the arguments comes from scratch, sized by
 * `reserve_scratch` and growing (after a wait) when an operation needs more.
 */
#ifndef GPU_OPS_CUDA_BACKEND_H
#define GPU_OPS_CUDA_BACKEND_H

#include "gpu/ops/cuda/cuda_launch.h"
#include "gpu/ops/cuda_device.h"
#include "gpu/ops/cuda_plan.h"
#include "gpu/ops/ops.h"

struct cuda_gemm;
struct cuda_lane;

#define CUDA_FLOAT8_ARCHITECTURE 89 /* the first with products of float8 */

/* What a kernel found wrong with its input; index 0 of `fault`. */
enum cuda_fault { CUDA_FAULT_NONE, CUDA_FAULT_INDEX };

/* A list of segments cut into chunks of at most CUDA_CHUNK elements, in device memory. */
#define CUDA_CHUNK CUDA_PLAN_CHUNK
struct cuda_chunk {
    int64_t offset, ema_offset; /* first element; ema_offset -1: no average */
    int32_t count;
    int32_t segment;
    int32_t decay;
    int32_t unused;
};
struct cuda_chunks {
    struct parameter_segment *segments; /* copy of the list that was cut; owned */
    int64_t segment_count, count;
    struct cuda_chunk *chunks; /* device; owned */
    int64_t *first;            /* device: (segment_count + 1) first chunk; owned */
};

struct cuda_backend {
    struct backend base;
    int device, multiprocessors, shared_max; /* bytes of shared memory that a block may have */
    int architecture;                        /* 10 * major + minor of the compute capability */
    cudaStream_t stream;
    bool check_each;
    unsigned char *scratch; /* device; owned */
    size_t scratch_size;
    int *fault;                         /* pinned; a kernel stores, the host reads after a wait */
    struct cuda_gemm *gemm;             /* owned */
    struct cuda_lane *lanes[OPS_LANES]; /* owned; NULL until they are opened */
    struct cuda_chunks adamw_chunks, square_chunks;
    const char *last_op; /* the operation started last, and its shape */
    long long last_shape[3];
};

static inline struct cuda_backend *cuda_backend_of(struct backend *backend)
{
    return (struct cuda_backend *)backend;
}

/* IJ_DEVICE (IJ_NO_MEMORY for an allocation) that names the call, its text and the last operation;
 * clears the runtime's error. */
enum ij_status cuda_error(struct cuda_backend *cuda, cudaError_t error, const char *call,
                          const char *file, int line, struct ij_err *reterr_err);

/* Runs a CUDA call; on failure returns from the function with IJ_DEVICE. */
#define CUDA_TRY(cuda, call)                                                                       \
    do {                                                                                           \
        cudaError_t try_error_ = (call);                                                           \
        if (try_error_ != cudaSuccess)                                                             \
            return cuda_error((cuda), try_error_, #call, __FILE__, __LINE__, reterr_err);          \
    } while (0)

/* Every operation begins with this (names it in errors) and ends with `cuda_done`. */
void cuda_begin(struct cuda_backend *cuda, const char *op, int64_t a, int64_t b, int64_t c);
IJ_MUST_USE enum ij_status cuda_done(struct cuda_backend *cuda, struct ij_err *reterr_err);

/* At least `bytes` of scratch, 256-byte aligned; keeps no content. */
IJ_MUST_USE enum ij_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **ret_memory,
                                        struct ij_err *reterr_err);

/* ---- Arguments ------------------------------------------------------------------------------- */

/* IJ_INVALID with the tensor's name unless it is float32 or bfloat16, and present. */
IJ_MUST_USE enum ij_status cuda_check(struct cuda_backend *cuda, const char *name, struct tensor t,
                                      struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_check_optional(struct cuda_backend *cuda, const char *name,
                                               struct tensor t, struct ij_err *reterr_err);
/* IJ_INVALID unless rows >= 0 and width >= 1. */
IJ_MUST_USE enum ij_status cuda_check_shape(struct cuda_backend *cuda, int64_t rows, int64_t width,
                                            struct ij_err *reterr_err);

/* May elements be moved CUDA_PACK at a time: width divides and every pointer given is 16-byte
 * aligned (NULL: absent)? */
static inline bool cuda_packs(int64_t width, const void *a, const void *b, const void *c,
                              const void *d, const void *e)
{
    uintptr_t all = (uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d | (uintptr_t)e;
    return width % 8 == 0 && all % 16 == 0;
}

/* Blocks of `threads` threads for `items`, at least 1 and at most what fills the GPU a few times
 * over: kernels loop with the grid's stride. */
static inline unsigned cuda_blocks(const struct cuda_backend *cuda, int64_t items,
                                   int64_t per_block)
{
    int64_t blocks = (items + per_block - 1) / per_block,
            most = (int64_t)cuda->multiprocessors * 16;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

/* ---- Pieces that operations share ------------------------------------------------------------ */

/* y[c] (+)= sum over `parts` rows of partial (parts, width), in order. */
void cuda_add_parts(struct cuda_backend *cuda, const float *partial, int64_t parts, int64_t stride,
                    int64_t width, float *y, bool accumulate);
/* y[c] (+)= column sums of x (rows, width), in two stages; uses scratch at `partial`, which holds
 * cuda_column_parts(rows) * width floats. */
int64_t cuda_column_parts(int64_t rows);
/* Blocks, hence partial sums of 2 * width floats, of the layer norm's backward pass. */
unsigned cuda_norm_blocks(const struct cuda_backend *cuda, int64_t rows);
void cuda_column_sums(struct cuda_backend *cuda, struct tensor x, int64_t rows, int64_t width,
                      float *partial, float *y, bool accumulate);
/* y = gelu(pre) [+ residual] and dx = product . gelu'(pre) [+ old dx]; `count` elements. */
void cuda_gelu(struct cuda_backend *cuda, int64_t count, bool tanh_form, struct tensor pre,
               struct tensor residual, struct tensor y);
void cuda_gelu_backward(struct cuda_backend *cuda, int64_t count, bool tanh_form,
                        struct tensor product, struct tensor pre, struct tensor dx,
                        bool accumulate);
/* Cuts the list unless it is the one that was cut last. */
IJ_MUST_USE enum ij_status cuda_chunks_prepare(struct cuda_backend *cuda,
                                               const struct parameter_segment *segments,
                                               int64_t segment_count, struct cuda_chunks *chunks,
                                               struct ij_err *reterr_err);
void cuda_chunks_free(struct cuda_chunks *chunks);

/* cuda_lane.cu: uploads beside the operations, as in ops.h. */
IJ_MUST_USE enum ij_status cuda_lane_open(struct backend *backend, int lane, void *device,
                                          size_t bytes, void **ret_host, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_lane_send(struct backend *backend, int lane, size_t bytes,
                                          struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_lane_enter(struct backend *backend, int lane,
                                           struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_lane_leave(struct backend *backend, int lane,
                                           struct ij_err *reterr_err);
void cuda_lanes_wait(struct cuda_backend *cuda); /* for their copies */
void cuda_lanes_free(struct cuda_backend *cuda);

/* Every operation of OPS_LIST, implemented in cuda_<op>.cu. */
#define X(name)                                                                                    \
    enum ij_status cuda_##name(struct backend *backend, const struct op_##name *args,              \
                               struct ij_err *reterr_err);
OPS_LIST(X)
#undef X

#endif
