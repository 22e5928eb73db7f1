/* The masks of one image, for people to look at. Part of the engine's questions: no backend. */
#include <string.h>

#include "gpu/engine.h"
#include "gpu/model/masks.h"

/* Checks the spec, and gets ready to draw for one image at a time. */
static enum ij_status begin(const struct engine_spec *spec, struct mask_sizes_rules *ret_rules,
                            struct masks *ret_masks, struct ij_err *reterr_err)
{
    IJ_TRY(engine_check(spec, reterr_err));
    if (spec->kind != ENGINE_PRETRAIN)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "kind", "only pretraining draws masks");
    *ret_rules = mask_sizes_from_spec(spec);
    return masks_init(ret_masks, ret_rules, spec->seed, 1, reterr_err);
}

enum ij_status engine_preview_kept(const struct engine_spec *spec, uint32_t draws,
                                   uint32_t *ret_counts, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules;
    struct masks masks;
    IJ_TRY(begin(spec, &rules, &masks, reterr_err));
    memset(ret_counts, 0, (ENGINE_PATCHES_MAX + 1) * sizeof *ret_counts);
    for (uint32_t i = 0; i < draws; i++) {
        masks_draw(&masks, 0, i, 1);
        IJ_ASSERT(masks.context_count <= ENGINE_PATCHES_MAX);
        ret_counts[masks.context_count]++;
    }
    masks_done(&masks);
    return IJ_OK;
}

enum ij_status engine_preview_masks(const struct engine_spec *spec, uint64_t sample,
                                    struct engine_mask_preview *ret_preview,
                                    struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules;
    struct masks masks;
    IJ_TRY(begin(spec, &rules, &masks, reterr_err));
    masks_draw(&masks, 0, sample, 1);
    memset(ret_preview, 0, sizeof *ret_preview);
    ret_preview->grid = rules.grid;
    ret_preview->blocks = rules.targets;
    ret_preview->context_count = masks.context_count;
    for (uint32_t i = 0; i < masks.context_count; i++)
        ret_preview->context[i] = (uint16_t)masks.context[i];
    for (uint32_t m = 0; m < rules.targets; m++) {
        ret_preview->target_count[m] = masks.target_count;
        for (uint32_t i = 0; i < masks.target_count; i++)
            ret_preview->targets[m][i] = (uint16_t)masks.targets[m * masks.target_count + i];
    }
    masks_done(&masks);
    return IJ_OK;
}
