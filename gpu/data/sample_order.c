/* See sample_order.h. */
#include "gpu/data/sample_order.h"

#include "base/rng.h"

void sample_order_fill(uint32_t *order, size_t count, uint64_t seed, uint64_t epoch, bool shuffle)
{
    struct rng rng;
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    if (!shuffle)
        return;
    rng_init(&rng, seed, RNG_ORDER, epoch, 0);
    for (size_t i = count; i > 1; i--) {
        uint32_t j = rng_below(&rng, (uint32_t)i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}
