/*
 * Cuts views out of one allocation. The same code runs twice: with base NULL it only measures, with
 * the allocated base it hands out pointers. Every view begins at a multiple of 64 bytes.
 */
#ifndef GPU_MODEL_CARVE_H
#define GPU_MODEL_CARVE_H

#include "gpu/ops/ops.h"

#define CARVE_ALIGNMENT 64

struct carve_view {
    size_t begin, bytes;
};

struct carve {
    char *base;   /* NULL: measure only, every view is NULL */
    size_t used;  /* bytes so far */
    size_t peak;  /* largest `used` seen: parts that are never alive together may restart lower */
    size_t count; /* views so far */
    struct carve_view *views; /* where each lies, or NULL: nobody wants to know */
};

static inline void *carve_bytes(struct carve *carve, size_t bytes)
{
    void *view = carve->base ? carve->base + carve->used : NULL;
    if (carve->views)
        carve->views[carve->count] = (struct carve_view){carve->used, bytes};
    carve->count++;
    carve->used += (bytes + CARVE_ALIGNMENT - 1) / CARVE_ALIGNMENT * CARVE_ALIGNMENT;
    if (carve->peak < carve->used)
        carve->peak = carve->used;
    return view;
}

static inline float *carve_floats(struct carve *carve, int64_t count)
{
    return (float *)carve_bytes(carve, (size_t)count * sizeof(float));
}

static inline int32_t *carve_indices(struct carve *carve, int64_t count)
{
    return (int32_t *)carve_bytes(carve, (size_t)count * sizeof(int32_t));
}

static inline struct tensor carve_tensor(struct carve *carve, enum tensor_type type, int64_t rows,
                                         int64_t width)
{
    struct tensor t = {carve_bytes(carve, (size_t)(rows * width) * tensor_type_size(type)), type};
    return t;
}

#endif
