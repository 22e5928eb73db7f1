/*
 * The memory that the ranks of a run share: who has come how far, small numbers, one buffer per
 * rank for gradients, and the first failure. Waiting is by futex with a deadline; whoever waits
 * also looks whether a rank has failed or, where it is the parent of the others, has ended.
 */
#ifndef GPU_COMM_COMM_AREA_H
#define GPU_COMM_COMM_AREA_H

#include "gpu/comm/comm.h"

#define COMM_AREA_FLOATS   (1 << 20) /* of a rank's buffer */
#define COMM_AREA_ID_BYTES 128

struct comm_area;

/* `ranks->fd` is a descriptor of shared memory (memfd) that all ranks have, -1 where there is only
 * one rank. It stays the caller's. */
IJ_MUST_USE enum ij_status comm_area_new(const struct engine_ranks *ranks,
                                         struct comm_area **ret_area, struct ij_err *reterr_err);
void comm_area_free(struct comm_area *area);

/* Returns once every rank has called it as often. */
IJ_MUST_USE enum ij_status comm_area_meet(struct comm_area *area, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status comm_area_sum(struct comm_area *area, double *values, size_t count,
                                         struct ij_err *reterr_err);
/* The same for floats in memory that the backend copies from and to. */
IJ_MUST_USE enum ij_status comm_area_add(struct comm_area *area, struct backend *backend,
                                         float *data, int64_t count, struct ij_err *reterr_err);
/* Rank 0's COMM_AREA_ID_BYTES to everybody. */
IJ_MUST_USE enum ij_status comm_area_share(struct comm_area *area, void *id,
                                           struct ij_err *reterr_err);

void comm_area_set_away(struct comm_area *area, bool away);
void comm_area_fail(struct comm_area *area, const struct ij_err *err);
/* IJ_OK while no rank has failed or ended; never waits. */
IJ_MUST_USE enum ij_status comm_area_check(struct comm_area *area, struct ij_err *reterr_err);
/* How long one waits for a rank. */
int64_t comm_area_timeout_ms(const struct comm_area *area);

#endif
