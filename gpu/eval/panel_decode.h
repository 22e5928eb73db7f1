/*
 * The panel's images as a light decoder sees them: pixels of each patch from its target feature,
 * and from what the predictor made of it. In the spirit of the paper's figure 6, with a linear map
 * in place of a generative model: what shows in the decoded prediction is in the representation;
 * what does not may still be.
 *
 * The decoder (decoder.h) is fitted on frozen target features of the bank's images that are not
 * shown; predictions are never seen in fitting.
 */
#ifndef GPU_EVAL_PANEL_DECODE_H
#define GPU_EVAL_PANEL_DECODE_H

#include "gpu/eval/panel.h"

struct panel_decode {
    /* owned; (n, crop, crop, 3). The second: the image's own pixels in the context, decoded
     * predictions in the target blocks, white elsewhere. */
    uint8_t *target, *prediction;
    double fit;              /* share of the pixels' variance, patches set aside in fitting */
    double target_share;     /* the same of the predicted patches of the images shown, from */
    double prediction_share; /* target features, from predictions */
    double lambda;
    size_t patches; /* fitted on */
};

/* The panel must have a predictor. IJ_INVALID: the bank has no image that is not shown. */
IJ_MUST_USE enum ij_status panel_decode_make(const struct panel *panel,
                                             struct panel_decode *ret_decoded,
                                             struct ij_err *reterr_err);
void panel_decode_done(struct panel_decode *decoded); /* a zeroed struct is fine */

#endif
