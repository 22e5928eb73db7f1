/* See mask_tail.h. */
#include "gpu/model/mask_tail.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/masks.h"

#define DRAWS      2048
#define DRAWN      64 /* at once */
#define FIXED_SEED 1
#define DEVIATIONS 4 /* of the estimate, on the safe side; */
#define UNSEEN     9 /* and so many draws more: none in all of them are not impossible */

/* counts[c]: draws whose context has more than c patches. */
static enum ij_status count_longer(const struct mask_sizes_rules *rules, uint32_t *counts,
                                   struct ij_err *reterr_err)
{
    struct masks masks;
    IJ_TRY(masks_init(&masks, rules, FIXED_SEED, DRAWN, reterr_err));
    for (uint64_t batch = 0; batch < DRAWS / DRAWN; batch++) {
        masks_draw_longest(&masks, batch, DRAWN);
        for (uint32_t i = 0; i < DRAWN; i++)
            counts[masks.lengths[i] - 1]++;
    }
    for (uint32_t c = masks.bounds.context_max - 1; c > 0; c--)
        counts[c - 1] += counts[c];
    masks_done(&masks);
    return IJ_OK;
}

/* The fewest images whose shortest context is longer than `count` draws in DRAWS say with less than
 * the chance. */
static double images_needed(uint32_t count)
{
    double k = count, spread = DEVIATIONS * sqrt(k * (DRAWS - k) / DRAWS);
    double share = (k + spread + UNSEEN) / DRAWS;
    return share < 1 ? ceil(log(MASK_TAIL_CHANCE) / log(share)) : INFINITY;
}

enum ij_status mask_tail_rows(const struct mask_sizes_rules *rules, uint32_t images,
                              int64_t *ret_rows, struct ij_err *reterr_err)
{
    uint32_t longest = mask_sizes_bounds(rules).context_max;
    *ret_rows = (int64_t)images * longest;
    if (rules->masking != ENGINE_MASKING_MULTI_BLOCK || images == 1)
        return IJ_OK;
    mem_auto uint32_t *counts = mem_array(uint32_t, longest);
    if (!counts)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the lengths of contexts");
    IJ_TRY(count_longer(rules, counts, reterr_err));
    /* Contexts of c patches are planned for batches too small for c - 1, the largest of which has
     * the most rows. */
    int64_t rows = longest;
    for (uint32_t c = longest; c > 0; c--) {
        double fewer = images_needed(counts[c - 1]);
        double most = fmin(images, fewer - 1);
        rows = (double)c * most > (double)rows ? (int64_t)((double)c * most) : rows;
        if (fewer > images)
            break;
    }
    *ret_rows = rows;
    return IJ_OK;
}
