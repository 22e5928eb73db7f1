/*
 * The ranks of one run: processes of one machine, one per device, that train one model together.
 *
 * Every rank calls the same functions in the same order. What a call returns is the same bits on
 * every rank: sums are taken in the order of ranks, whoever comes first. Beside the sums there is a
 * common fate: the first rank that fails says so with comm_fail, a rank whose process ended or that
 * is not heard of in time is found by the others, and every call of theirs then returns that rank's
 * status and words. Nobody waits for ever.
 *
 * Three ways for gradients: solo (one rank: nothing to do), through shared memory (any backend;
 * what ranks on the host backend use), and NCCL on a stream of its own (comm_nccl.h). What is small
 * always goes through shared memory. One thread per rank.
 */
#ifndef GPU_COMM_COMM_H
#define GPU_COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

#define COMM_SMALL_MAX 64 /* numbers of one comm_sum */

enum comm_way {
    COMM_AUTO, /* solo for one rank, NCCL for GPUs, else shared memory */
    COMM_SHARED,
    COMM_NCCL,
};

struct comm;

/* Joins the others; returns once all are here. `ranks` as in the spec; count 0 counts as 1. The
 * backend is borrowed. IJ_UNSUPPORTED: no NCCL here. */
IJ_MUST_USE enum ij_status comm_new(const struct engine_ranks *ranks, enum comm_way way,
                                    struct backend *backend, struct comm **ret_comm,
                                    struct ij_err *reterr_err);
void comm_free(struct comm *comm); /* NULL is fine */

uint32_t comm_rank(const struct comm *comm);
uint32_t comm_count(const struct comm *comm);

/* values[i] becomes the sum over the ranks; at most COMM_SMALL_MAX. */
IJ_MUST_USE enum ij_status comm_sum(struct comm *comm, double *values, size_t count,
                                    struct ij_err *reterr_err);

/* Device memory: data[i] becomes the sum over the ranks, once comm_add_finish has returned; until
 * then it belongs to the call. What the backend was asked before is done first. Parts may follow
 * each other; they overlap what the backend is asked meanwhile where the way allows it. */
IJ_MUST_USE enum ij_status comm_add(struct comm *comm, float *data, int64_t count,
                                    struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status comm_add_finish(struct comm *comm, struct ij_err *reterr_err);

/* While a rank is away (saving, evaluating) the others wait for it beyond their deadline. */
void comm_set_away(struct comm *comm, bool away);

/* The end for all: `err` is why. Only the first such word counts. */
void comm_fail(struct comm *comm, const struct ij_err *err);

#endif
