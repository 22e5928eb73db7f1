/*
 * Gradients by NCCL: one GPU per rank, sums on a stream of their own beside the backward pass.
 *
 * The library is opened by name (libnccl.so.2, or the path in IJEPAD_NCCL) when ranks are made. It
 * is used without blocking: whoever waits polls its asynchronous error, the other ranks' fate and a
 * deadline, and aborts the communicator rather than hang. The interface is declared in comm_nccl.c
 * from the facts of NCCL's documented ABI.
 */
#ifndef GPU_COMM_COMM_NCCL_H
#define GPU_COMM_COMM_NCCL_H

#include "gpu/comm/comm_area.h"

struct comm_nccl;

/* Borrows area and backend. Every rank calls it. IJ_UNSUPPORTED: no CUDA backend, or no library. */
IJ_MUST_USE enum ij_status comm_nccl_new(struct comm_area *area, uint32_t rank, uint32_t count,
                                         struct backend *backend, struct comm_nccl **ret_nccl,
                                         struct ij_err *reterr_err);
void comm_nccl_free(struct comm_nccl *nccl); /* NULL is fine; never waits for other ranks */

/* As comm_add and comm_add_finish. */
IJ_MUST_USE enum ij_status comm_nccl_add(struct comm_nccl *nccl, float *data, int64_t count,
                                         struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status comm_nccl_finish(struct comm_nccl *nccl, struct ij_err *reterr_err);

#endif
