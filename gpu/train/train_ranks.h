/*
 * One run on several ranks: what each of them does alone, what they do together, and how they stay
 * of one mind.
 *
 * N ranks with batches of b train on the samples and masks of one rank with batches of N b (sampler
 * unbiased), or of one rank with batches of b and N times as many micro-batches (sampler published,
 * whose cut to the shortest context is a property of one rank's batch). Every rank holds all
 * weights and makes the same update from the same sum of gradients. Rank 0 alone talks to the host,
 * checks the representation and writes checkpoints; what the host asks is told to all before each
 * step.
 */
#ifndef GPU_TRAIN_TRAIN_RANKS_H
#define GPU_TRAIN_TRAIN_RANKS_H

#include "gpu/comm/comm.h"
#include "gpu/model/masks.h"
#include "gpu/train/train_sink.h"

/* The number of ranks, at least 1. */
static inline uint32_t train_ranks_count(const struct engine_spec *spec)
{
    return spec->ranks.count > 1 ? spec->ranks.count : 1;
}
static inline bool train_ranks_is_leader(const struct engine_spec *spec)
{
    return spec->ranks.rank == 0;
}

/* Images that masks are drawn for together. */
uint32_t train_ranks_mask_images(const struct engine_spec *spec);
/* This rank's masks for its `batch`-th micro-batch of `epoch`. */
void train_ranks_draw(const struct engine_spec *spec, struct masks *masks, uint64_t epoch,
                      uint64_t batch);

/* IJ_CONFLICT unless all ranks stand at the same step; ends the time without deadlines. */
IJ_MUST_USE enum ij_status train_ranks_begin(struct comm *comm, uint64_t step,
                                             struct ij_err *reterr_err);
/* Rank 0's command for all. */
IJ_MUST_USE enum ij_status train_ranks_agree(struct comm *comm, enum engine_command *command,
                                             struct ij_err *reterr_err);
/* Means over the ranks of what a step gave, and of the share of values that are not finite. */
IJ_MUST_USE enum ij_status train_ranks_mean(struct comm *comm, struct train_sink_step *step,
                                            double *nonfinite_share, struct ij_err *reterr_err);

#endif
