/* See metric_lod.h. */
#include "store/metric_lod.h"

#include <math.h>

const unsigned metric_lod_shift[METRIC_LOD_LEVELS] = {6, 12};

_Static_assert(sizeof(struct metric_lod_key) == 32, "the layout on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the byte order on disk");

void metric_lod_add(struct metric_lod_key *key, uint64_t step, float value)
{
    if (!isfinite(value))
        return;
    if (!key->finite || value < key->min)
        key->min = value;
    if (!key->finite || value > key->max)
        key->max = value;
    if (!key->finite || step >= key->last_step) {
        key->last = value;
        key->last_step = step;
    }
    key->sum += (double)value;
    key->finite++;
}

void metric_lod_merge(struct metric_lod_key *key, const struct metric_lod_key *other)
{
    if (!other->finite)
        return;
    if (!key->finite || other->min < key->min)
        key->min = other->min;
    if (!key->finite || other->max > key->max)
        key->max = other->max;
    if (!key->finite || other->last_step >= key->last_step) {
        key->last = other->last;
        key->last_step = other->last_step;
    }
    key->sum += other->sum;
    key->finite += other->finite;
}
