/*
 * Where the weights of an encoder with a linear classifier lie, and to which layer each belongs.
 *
 * The encoder's tensors lie as in layout.h; behind them fc_norm.{weight,bias} and
 * head.{weight,bias}. Layers are those of layer-wise decay: 0 the patch embedding, i + 1 block i,
 * depth + 1 what is behind. The encoder's final norm is kept but takes no part: the classifier
 * norms the mean over tokens instead.
 */
#ifndef GPU_MODEL_CLASSIFIER_LAYOUT_H
#define GPU_MODEL_CLASSIFIER_LAYOUT_H

#include "gpu/model/layout.h"

struct classifier_layout {
    struct layout encoder; /* owned; its predictor is not used */
    int64_t classes, floats;
    int64_t norm_weight, norm_bias, head_weight, head_bias;
    struct layout_tensor *tensors; /* owned; the encoder's, then the head's four */
    size_t count;
    struct parameter_segment *segments; /* owned; the trained ones, by layer */
    size_t *first;                      /* owned; (layers + 1) first segment of each layer */
    int64_t layers;                     /* depth + 2 */
};

IJ_MUST_USE enum ij_status classifier_layout_init(struct classifier_layout *layout,
                                                  const struct vit_config *config, int64_t classes,
                                                  struct ij_err *reterr_err);
void classifier_layout_done(struct classifier_layout *layout); /* a zeroed struct is fine */

/* decay^(depth + 1 - layer): what the layer's learning rate is multiplied with (Clark et al., ICLR
 * 2020; as in fine-tuning of masked autoencoders). */
double classifier_layout_rate(const struct classifier_layout *layout, double decay, int64_t layer);

#endif
