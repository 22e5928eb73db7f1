/*
 * All heads of a linear probe: {last, concat4} x {BatchNorm + Linear, Linear} x learning rates x
 * weight decays, every one trained on the same batches.
 *
 * Protocol of I-JEPA's appendix A.2 (Assran et al., CVPR 2023): "last" is the mean over tokens of
 * the final norm's output, "concat4" the same of the last four blocks side by side. A rate is given
 * per 256 samples and multiplied by batch / 256; it falls by a cosine to a share of itself, or to a
 * tenth after each milestone. One thread; deterministic.
 */
#ifndef GPU_EVAL_PROBE_HEADS_H
#define GPU_EVAL_PROBE_HEADS_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

#define PROBE_HEADS_GROUPS    4
#define PROBE_HEADS_PER_GROUP (ENGINE_LIST_MAX * ENGINE_LIST_MAX)
#define PROBE_HEADS_MAX       (PROBE_HEADS_GROUPS * PROBE_HEADS_PER_GROUP)
#define PROBE_HEADS_NAME_SIZE 48

struct probe_heads;

struct probe_heads_options {
    const struct engine_probe *recipe; /* borrowed for the heads' life */
    size_t classes;
    int64_t width, batch; /* of "last"; rows of every step */
    uint32_t epochs;
    uint64_t steps_per_epoch, seed;
};

IJ_MUST_USE enum ij_status probe_heads_new(struct backend *backend,
                                           const struct probe_heads_options *options,
                                           struct probe_heads **ret_heads,
                                           struct ij_err *reterr_err);
void probe_heads_free(struct probe_heads *heads); /* NULL is fine */

/* Device memory of them all; width: of "last". */
uint64_t probe_heads_device_bytes(const struct engine_probe *recipe, int64_t width, size_t classes,
                                  int64_t batch);

/* What the recipe makes of a rate: the factor at optimiser step `step`, from 0. */
double probe_heads_factor(const struct engine_probe *recipe, uint32_t epochs,
                          uint64_t steps_per_epoch, uint64_t step);

/* One update of every head with `batch` rows: last (batch, width), concat (batch, 4 width), host
 * memory. ret_losses (may be NULL): one value per head. */
IJ_MUST_USE enum ij_status probe_heads_step(struct probe_heads *heads, const float *last,
                                            const float *concat, const int32_t *labels,
                                            double *ret_losses, struct ij_err *reterr_err);
/* The class that each head answers: ret_classes (heads, rows); rows <= batch. */
IJ_MUST_USE enum ij_status probe_heads_predict(struct probe_heads *heads, const float *last,
                                               const float *concat, int64_t rows,
                                               int32_t *ret_classes, struct ij_err *reterr_err);

/* ---- What head h of a recipe is -------------------------------------------------------------- */

size_t probe_heads_count(const struct engine_probe *recipe);
/* "last.bn.lr0.03.wd0.0005" */
void probe_heads_name(const struct engine_probe *recipe, size_t head,
                      char ret_name[PROBE_HEADS_NAME_SIZE]);
bool probe_heads_is_concat(const struct engine_probe *recipe, size_t head);
bool probe_heads_has_norm(const struct engine_probe *recipe, size_t head);
double probe_heads_rate(const struct engine_probe *recipe, size_t head);
double probe_heads_weight_decay(const struct engine_probe *recipe, size_t head);

#endif
