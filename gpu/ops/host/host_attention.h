/*
 * One head of one sequence: what the attention operations are made of, and their scratch.
 *
 * host_attention.c takes heads out of tensors and splits them between the threads; host_head.c
 * computes one head in the calling thread.
 */
#ifndef GPU_OPS_HOST_ATTENTION_H
#define GPU_OPS_HOST_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

/* Float32 matrices (length, dim), dim a multiple of 8, rows `stride` apart (`out_stride` for y,
 * out and dout). Borrows everything. */
struct host_head {
    int64_t length, dim, query_start;
    float scale; /* of the scores */
    int64_t stride, out_stride;
    int64_t lse_stride;
    const float *q, *k, *v;
    float *y;                /* forward: output */
    const float *out, *dout; /* backward */
    float *dq, *dk, *dv;     /* backward: gradients, rows `stride` apart */
    float *lse;              /* written (NULL: not wanted) or read, `lse_stride` apart */
    float *scratch;          /* host_head_floats(length, dim) */
};

/* Floats of `scratch`. */
size_t host_head_floats(int64_t length, int64_t dim);

/* Writes y and lse of the rows from query_start on. */
void host_head_forward(const struct host_head *head);
/* Writes all rows of dq, dk, dv. */
void host_head_backward(const struct host_head *head);

/* Floats per thread to reserve for sequences up to `length` and heads up to `head_dim`. */
size_t host_attention_local_floats(int64_t length, int64_t head_dim);

#endif
