/*
 * A classifier in training: its arenas, and one optimiser step as micro-batches and an update.
 *
 * Arenas (device memory, layout of gpu/model/classifier_layout.h): parameters, gradients, both
 * AdamW moments, and a bfloat16 copy of the parameters where products run in bfloat16. Everything
 * is allocated by tuner_new; a step allocates nothing. One thread.
 *
 * Loss: mean over images of -sum(target * log softmax(logits)). Update: AdamW, the learning rate of
 * layer l multiplied with classifier_layout_rate; matrices decay, biases and norms do not.
 */
#ifndef GPU_TRAIN_TUNER_H
#define GPU_TRAIN_TUNER_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"
#include "gpu/model/classifier.h"

enum tuner_arena { TUNER_PARAMETER, TUNER_GRADIENT, TUNER_MOMENT1, TUNER_MOMENT2, TUNER_ARENAS };

struct tuner {
    struct backend *backend; /* borrowed */
    struct vit_config config;
    struct classifier_layout layout;
    struct classifier *classifier; /* owned */
    float *arenas[TUNER_ARENAS];   /* owned; device; layout.floats each */
    uint16_t *parameter_bf16;      /* owned; device; NULL in float32 */
    double *square_sums;           /* owned; device; one per segment */
    double *host_sums;             /* owned */
    float *logits;                 /* owned; host, (images, classes) */
};

struct tuner_batch {
    const uint8_t *pixels; /* (images, crop, crop, 3) */
    int64_t images;
    const float *targets; /* (images, classes) */
    const float *drop;    /* (depth, 2, images), or NULL */
};

struct tuner_update {
    uint64_t step; /* from 1 */
    double lr, weight_decay, layer_decay, beta1, beta2, eps;
    double clip; /* global gradient norm; 0: off */
};

IJ_MUST_USE enum ij_status tuner_new(struct backend *backend, const struct vit_config *config,
                                     int64_t classes, int64_t images, struct tuner **ret_tuner,
                                     struct ij_err *reterr_err);
void tuner_free(struct tuner *tuner); /* NULL is fine */

/* Initial weights: the encoder as a pretraining run of this seed has them, a head of deviation
 * 2e-5; moments are zero. */
IJ_MUST_USE enum ij_status tuner_set_random(struct tuner *tuner, uint64_t seed,
                                            struct ij_err *reterr_err);
/* The encoder from a checkpoint; the head stays. IJ_CORRUPT names a tensor that does not fit. */
IJ_MUST_USE enum ij_status tuner_load_encoder(struct tuner *tuner,
                                              const struct checkpoint *checkpoint,
                                              enum engine_encoder encoder,
                                              struct ij_err *reterr_err);

/* Whole arenas from and to host memory. */
IJ_MUST_USE enum ij_status tuner_write(struct tuner *tuner, enum tuner_arena arena,
                                       const float *values, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status tuner_read(struct tuner *tuner, enum tuner_arena arena,
                                      float *ret_values, struct ij_err *reterr_err);

/* Logits of a batch without dropped branches: host memory (images, classes). */
IJ_MUST_USE enum ij_status tuner_answer(struct tuner *tuner, const uint8_t *pixels, int64_t images,
                                        float *ret_logits, struct ij_err *reterr_err);
/* Micro-batch `index` of `count` of one step: adds its share to the gradients (index 0 writes). */
IJ_MUST_USE enum ij_status tuner_micro_batch(struct tuner *tuner, const struct tuner_batch *batch,
                                             uint32_t index, uint32_t count, double *ret_loss,
                                             struct ij_err *reterr_err);
/* IJ_NONFINITE, weights untouched: the gradient is not finite. */
IJ_MUST_USE enum ij_status tuner_update(struct tuner *tuner, const struct tuner_update *update,
                                        double *ret_norm, struct ij_err *reterr_err);

#endif
