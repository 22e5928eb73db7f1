/*
 * Floating-point work of one training image, as published comparisons count it: multiply-adds of
 * matrix products times two. Norms, softmax, GELU, optimiser and moving average are left out.
 *
 *   block(n tokens) = n (4 D^2 + 2 D Dm) + 2 n^2 D multiply-adds
 *   image           = target forward on N + patch embedding forward and weight gradient on N
 *                     + 3 x context blocks on Nc
 *                     + 3 x (predictor embedding on Nc + M (blocks on Nc + K, projection on K))
 *
 * A convention for comparing runs, not a count of what this engine executes: it embeds only kept
 * patches and skips rows that the last blocks need not compute.
 */
#ifndef GPU_MODEL_FLOPS_H
#define GPU_MODEL_FLOPS_H

#include "gpu/model/mask_sizes.h"
#include "gpu/model/vit_config.h"

/* For given mask lengths. */
double flops_per_image(const struct vit_config *config, uint32_t targets, double context_count,
                       double target_count);

/* Expectation over the masks of micro-batches of `batch` images: the mean over batches drawn from
 * a fixed seed, so equal arguments give equal results. */
IJ_MUST_USE enum ij_status flops_expected(const struct vit_config *config,
                                          const struct mask_sizes_rules *rules, uint32_t batch,
                                          double *ret_flops, struct ij_err *reterr_err);

#endif
