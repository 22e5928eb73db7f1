/*
 * One model in training: its arenas, and one optimiser step as micro-batches and an update.
 *
 * Arenas (device memory, layout of gpu/model/layout.h): parameters, gradients, both AdamW moments
 * and the target encoder (the encoder's part only), with bfloat16 copies of parameters and target
 * where products run in bfloat16. Everything is allocated by trainer_new; a step allocates nothing.
 * One thread.
 */
#ifndef GPU_TRAIN_TRAINER_H
#define GPU_TRAIN_TRAINER_H

#include "gpu/comm/comm.h"
#include "gpu/model/ijepa.h"

enum trainer_arena {
    TRAINER_PARAMETER,
    TRAINER_GRADIENT,
    TRAINER_MOMENT1,
    TRAINER_MOMENT2,
    TRAINER_TARGET, /* encoder_floats long, the others floats */
    TRAINER_ARENA_COUNT
};

struct trainer {
    struct backend *backend; /* borrowed */
    struct vit_config config;
    struct layout layout;
    struct ijepa *ijepa;                    /* owned */
    float *arenas[TRAINER_ARENA_COUNT];     /* owned; device */
    uint16_t *parameter_bf16, *target_bf16; /* owned; device; NULL in float32 */
    uint8_t *target_e4m3;                   /* owned; device; NULL: no float8 */
    float *target_scale;                    /* owned; device; of the rows of target_e4m3 */
    bool target_is_new;                     /* target_e4m3 does not follow it yet */
    double *square_sums;                    /* owned; device; one per tensor */
    double *host_sums;                      /* owned */
    struct comm *comm;                      /* borrowed; NULL: one rank */
    int64_t summed_from; /* gradients from here on are given to comm, in the last micro-batch */
};

/* How one update is made. */
struct trainer_update {
    uint64_t step; /* from 1 */
    double lr, weight_decay, ema_momentum;
    double beta1, beta2, eps;
    double clip; /* global gradient norm; 0: off */
};
struct trainer_norms {
    double all, first, last; /* L2 of the gradient: everything, first and last encoder block */
};

IJ_MUST_USE enum ij_status trainer_new(struct backend *backend, const struct vit_config *config,
                                       const struct predictor_limits *limits,
                                       enum tensor_type pixels, struct trainer **ret_trainer,
                                       struct ij_err *reterr_err);
void trainer_free(struct trainer *trainer); /* NULL is fine */

/* From now on the gradients of a step are the mean over the ranks: summed while the last backward
 * pass goes on. Borrows comm. */
void trainer_join(struct trainer *trainer, struct comm *comm);

/* Initial weights of a run: gpu/model/weights_init.h; the target is a copy, moments are zero. */
IJ_MUST_USE enum ij_status trainer_set_random(struct trainer *trainer, uint64_t seed,
                                              struct ij_err *reterr_err);

/* Whole arenas from and to host memory; writing parameters or target renews their bfloat16 copy. */
int64_t trainer_floats(const struct trainer *trainer, enum trainer_arena arena);
IJ_MUST_USE enum ij_status trainer_write(struct trainer *trainer, enum trainer_arena arena,
                                         const float *values, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status trainer_read(struct trainer *trainer, enum trainer_arena arena,
                                        float *ret_values, struct ij_err *reterr_err);

/* |encoder - target encoder| / |encoder|, in double. */
IJ_MUST_USE enum ij_status trainer_ema_gap(struct trainer *trainer, double *ret_gap,
                                           struct ij_err *reterr_err);

/* Views of the weights for a pass over the model. */
struct block_arena trainer_weights(const struct trainer *trainer, bool accumulate);
struct block_arena trainer_target(const struct trainer *trainer);

/* Sends the next micro-batch to the device beside what it is doing. */
IJ_MUST_USE enum ij_status trainer_prefetch(struct trainer *trainer,
                                            const struct ijepa_batch *batch,
                                            struct ij_err *reterr_err);
/* The two halves of trainer_micro_batch: ask for all of it (batch NULL: the one prefetched), and
 * wait for its loss. */
IJ_MUST_USE enum ij_status trainer_start(struct trainer *trainer, const struct ijepa_batch *batch,
                                         uint32_t index, uint32_t count, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status trainer_loss(struct trainer *trainer, struct ijepa_loss *ret_loss,
                                        struct ij_err *reterr_err);
/* Micro-batch `index` of `count` of one step: adds its share to the gradients (index 0 writes). */
IJ_MUST_USE enum ij_status trainer_micro_batch(struct trainer *trainer,
                                               const struct ijepa_batch *batch, uint32_t index,
                                               uint32_t count, struct ijepa_loss *ret_loss,
                                               struct ij_err *reterr_err);

/* AdamW, then the moving average. IJ_NONFINITE, weights untouched: the gradient is not finite. */
IJ_MUST_USE enum ij_status trainer_update(struct trainer *trainer,
                                          const struct trainer_update *update,
                                          struct trainer_norms *ret_norms,
                                          struct ij_err *reterr_err);

#endif
