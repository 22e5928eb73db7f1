/* The masks of one image, for people to look at. Part of the engine's questions: no backend. */
#include <string.h>

#include "gpu/engine.h"
#include "gpu/model/masks.h"

enum ij_status engine_preview_masks(const struct engine_spec *spec, uint64_t sample,
                                    struct engine_mask_preview *ret_preview,
                                    struct ij_err *reterr_err)
{
    IJ_TRY(engine_check(spec, reterr_err));
    if (spec->kind != ENGINE_PRETRAIN)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "kind", "only pretraining draws masks");
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct masks masks;
    IJ_TRY(masks_init(&masks, &rules, spec->seed, 1, reterr_err));
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
