/*
 * Where everything of the model lies in its one allocation. See ijepa.h.
 *
 * The target encoder's buffers and the backward pass's scratch share a place, as they are never
 * alive together.
 */
#ifndef GPU_MODEL_IJEPA_VIEWS_H
#define GPU_MODEL_IJEPA_VIEWS_H

#include "gpu/model/encoder.h"
#include "gpu/model/encoder_infer.h"
#include "gpu/model/predictor.h"

#define IJEPA_LOSS_SUMS 3 /* what the loss operation writes */

/* Views into device memory. */
struct ijepa_views {
    float *position, *pred_position;       /* (patches, D), (patches, P) */
    struct tensor needed_features, target; /* (needed_count, D), (M * B * K, D) float32 */
    float *sums;                           /* (parts, 3) of the loss */
    struct encoder encoder;
    struct predictor predictor;
    struct encoder_infer infer; /* shares its place with the next two */
    struct block_work encoder_work, predictor_work;
};

/* Allocates the arrays of views. */
IJ_MUST_USE enum ij_status ijepa_views_init(struct ijepa_views *views,
                                            const struct vit_config *config,
                                            struct ij_err *reterr_err);
void ijepa_views_done(struct ijepa_views *views); /* a zeroed struct is fine */
void ijepa_views_carve(struct ijepa_views *views, struct carve *carve,
                       const struct vit_config *config, const struct predictor_limits *limits);

#endif
