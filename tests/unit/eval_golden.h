/* Reads the golden values of tests/golden/eval; each helper asserts that the tensor is there with
 * so many values. */
#ifndef TESTS_UNIT_EVAL_GOLDEN_H
#define TESTS_UNIT_EVAL_GOLDEN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "gpu/checkpoint/safetensors.h"

static inline struct safetensors *golden_open(const char *name)
{
    char path[128];
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    snprintf(path, sizeof path, "tests/golden/eval/%s", name);
    cr_assert_eq(safetensors_open(path, &file, &err), IJ_OK, "%s", err.text);
    return file;
}

static inline const struct safetensors_tensor *
golden_find(const struct safetensors *file, const char *prefix, const char *name, uint64_t count)
{
    char whole[96];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    const struct safetensors_tensor *tensor = safetensors_find(file, whole);
    cr_assert_not_null(tensor, "no tensor %s", whole);
    cr_assert_eq(tensor->count, count, "%s has %d values", whole, (int)tensor->count);
    return tensor;
}

static inline void golden_f32(const struct safetensors *file, const char *prefix, const char *name,
                              float *values, uint64_t count)
{
    cr_assert_eq(safetensors_copy_f32(golden_find(file, prefix, name, count), values, count, NULL),
                 IJ_OK);
}

static inline void golden_f64(const struct safetensors *file, const char *prefix, const char *name,
                              double *values, uint64_t count)
{
    cr_assert_eq(safetensors_copy_f64(golden_find(file, prefix, name, count), values, count, NULL),
                 IJ_OK);
}

static inline void golden_i32(const struct safetensors *file, const char *prefix, const char *name,
                              int32_t *values, uint64_t count)
{
    const struct safetensors_tensor *tensor = golden_find(file, prefix, name, count);
    for (uint64_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, (const char *)tensor->data + i * sizeof value, sizeof value);
        values[i] = (int32_t)value;
    }
}

#endif
