/* The order of an epoch: a Fisher-Yates permutation keyed by (seed, RNG_ORDER, epoch). */
#ifndef GPU_DATA_SAMPLE_ORDER_H
#define GPU_DATA_SAMPLE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the permutation of 0..count-1, or the identity without `shuffle`. count <= 2^32 - 1. */
void sample_order_fill(uint32_t *order, size_t count, uint64_t seed, uint64_t epoch, bool shuffle);

#endif
