/*
 * Summaries of frames: what is kept of one key over a span of steps. Combining is associative and,
 * thanks to last_step, does not depend on order (sums up to rounding). Pure; internal to store/.
 */
#ifndef STORE_METRIC_LOD_H
#define STORE_METRIC_LOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRIC_LOD_LEVELS 2

/* Steps per bucket as powers of two, by level: 64 and 4096. */
extern const unsigned metric_lod_shift[METRIC_LOD_LEVELS];

/* On disk as in memory, little-endian, 32 bytes. Non-finite values are left out of all but the
 * frame count, which is kept once for all keys. */
struct metric_lod_key {
    float min, max, last;
    uint32_t finite; /* values behind the others; 0: the others mean nothing */
    double sum;
    uint64_t last_step; /* of `last` */
};

void metric_lod_add(struct metric_lod_key *key, uint64_t step, float value);
void metric_lod_merge(struct metric_lod_key *key, const struct metric_lod_key *other);

#endif
