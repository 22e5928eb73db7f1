/* Initial weights. See weights_init.h. */
#include "gpu/model/weights_init.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

static void fill_normal(const struct layout_tensor *t, const struct vit_config *config,
                        uint64_t seed, uint64_t index, float *ret_values)
{
    struct rng rng;
    bool is_patch = strcmp(t->name, "encoder.patch_embed.proj.weight") == 0;
    double deviation = is_patch ? config->patch_init_std : config->init_std;
    if (config->init_rescale && t->rescale > 0)
        deviation /= sqrt(2.0 * (double)t->rescale);
    rng_init(&rng, seed, RNG_INIT_WEIGHTS, 0, index);
    for (int64_t i = 0; i < t->count; i++)
        ret_values[i] = (float)(deviation * rng_normal(&rng));
}

void weights_init_fill(const struct layout *layout, const struct vit_config *config, uint64_t seed,
                       float *ret_arena)
{
    memset(ret_arena, 0, (size_t)layout->floats * sizeof *ret_arena);
    for (size_t i = 0; i < layout->count; i++) {
        const struct layout_tensor *t = &layout->tensors[i];
        float *values = ret_arena + t->offset;
        if (t->init == LAYOUT_INIT_NORMAL)
            fill_normal(t, config, seed, i, values);
        for (int64_t j = 0; t->init == LAYOUT_INIT_ONE && j < t->count; j++)
            values[j] = 1.0f;
    }
}
