/* Work per training image. See flops.h. */
#include "gpu/model/flops.h"

#include "gpu/model/masks.h"

#define IMAGES_DRAWN  20000 /* bounds the time; the mean's error is well below 1 % */
#define BATCHES_LEAST 16
#define BATCHES_MOST  400
#define BATCH_MOST    2048 /* larger ones are counted as this: contexts hardly shrink any more */
#define FIXED_SEED    1

static double stack_macs(const struct vit_stack *s, double tokens)
{
    double d = (double)s->width, hidden = (double)s->hidden;
    double block = tokens * (4 * d * d + 2 * d * hidden) + 2 * tokens * tokens * d;
    return (double)s->depth * block;
}

double flops_per_image(const struct vit_config *config, uint32_t targets, double context_count,
                       double target_count)
{
    double d = (double)config->encoder.width, p = (double)config->predictor.width;
    double patches = (double)config->patches;
    double embed = patches * (double)config->patch_values * d;
    double target = embed + stack_macs(&config->encoder, patches);
    if (config->target_at_input)
        target =
            targets * (target_count / patches * embed + stack_macs(&config->encoder, target_count));
    double context = 2 * embed + 3 * stack_macs(&config->encoder, context_count);
    double predictor = stack_macs(&config->predictor, context_count + target_count);
    predictor = 3 * (context_count * d * p + targets * (predictor + target_count * p * d));
    return 2 * (target + context + predictor);
}

enum ij_status flops_expected(const struct vit_config *config, const struct mask_sizes_rules *rules,
                              uint32_t batch, double *ret_flops, struct ij_err *reterr_err)
{
    struct masks masks;
    batch = batch < BATCH_MOST ? batch : BATCH_MOST;
    uint32_t batches = IMAGES_DRAWN / batch;
    batches = batches < BATCHES_LEAST ? BATCHES_LEAST : batches;
    batches = batches > BATCHES_MOST ? BATCHES_MOST : batches;
    double sum = 0;
    IJ_TRY(masks_init(&masks, rules, FIXED_SEED, batch, reterr_err));
    for (uint32_t i = 0; i < batches; i++) {
        masks_draw(&masks, 0, i, batch);
        sum += flops_per_image(config, rules->targets, masks.context_count, masks.target_count);
    }
    masks_done(&masks);
    *ret_flops = sum / batches;
    return IJ_OK;
}
