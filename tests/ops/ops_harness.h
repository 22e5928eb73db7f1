/*
 * What every operation test shares: the backends of this machine, buffers with guard zones, and the
 * comparison of a result with a double-precision reference.
 *
 * A case owns its buffers. Each has a value array in double (what the reference reads, already
 * rounded to the buffer's type) and device memory between two guard zones of a known pattern.
 * Outputs start as NaN, so an operation that "writes" but reads the old content is found out.
 * `ops_end` checks that all guards and all inputs are as they were.
 */
#ifndef TESTS_OPS_HARNESS_H
#define TESTS_OPS_HARNESS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/ops/cuda_device.h"
#include "gpu/ops/ops.h"

#define OPS_GUARD        256 /* bytes on either side; a multiple of the alignment */
#define OPS_GUARD_BYTE   0xa5
#define OPS_BUFFERS_MAX  24
#define OPS_BACKENDS_MAX 5
#define OPS_THREADS      2
/* Of a float32 result, norm-wise, unless a test says otherwise. A sanitizer's build adds up one
 * value after the other, without vectors. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OPS_FLOAT32_TOLERANCE 4e-6
#else
#define OPS_FLOAT32_TOLERANCE 2e-6
#endif

enum ops_role { OPS_INPUT, OPS_OUTPUT, OPS_UPDATED };

struct ops_buffer {
    enum ops_role role;
    enum tensor_type type;
    size_t count;
    double *value;  /* what was uploaded, in double */
    double *result; /* what `ops_result` downloaded last */
    uint8_t *image; /* guards and content as uploaded */
    void *memory;   /* device memory, guards included */
};

struct ops_case {
    struct backend *backend;
    struct rng rng;
    int count;
    struct ops_buffer buffers[OPS_BUFFERS_MAX];
};

/* ---- Backends: one more device is one more line here ----------------------------------------- */

/* The CUDA backend where the program has it: on a GPU, or compiled for the host by tests/simt.
 * Every call waits for its kernels, so that what a kernel finds wrong is the call's own error. */
static inline int ops_backends_cuda(struct backend **ret_backend)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!cuda_device_built() && !getenv("IJEPAD_TEST_CUDA"))
        return 0;
    cr_assert(cuda_device_built(), "IJEPAD_TEST_CUDA is set, but this program has no CUDA backend");
    enum ij_status status = backend_cuda_new(0, ret_backend, &err);
    if (status == IJ_UNSUPPORTED && !getenv("IJEPAD_TEST_CUDA"))
        return 0; /* linked with the backend, but there is no GPU, and nobody insists on one */
    cr_assert_eq(status, IJ_OK, "%s", err.text);
    backend_cuda_check_each(*ret_backend, true);
    return 1;
}

/* The host backend at each level of instructions that this machine has. */
static inline int ops_backends_host(struct backend **list)
{
    static const char *const levels[] = {"plain", "avx512", "avx512_bf16", "amx"};
    struct ij_err err = IJ_ERR_INIT;
    int count = 0;
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        setenv("IJEPAD_HOST_ISA", levels[i], 1);
        cr_assert_eq(backend_host_new(OPS_THREADS, &list[count], &err), IJ_OK, "%s", err.text);
        if (strcmp(list[count]->level, levels[i]) == 0)
            count++;
        else /* the processor has no such instructions */
            list[count]->ops->free(list[count]);
    }
    unsetenv("IJEPAD_HOST_ISA");
    return count;
}

static inline int ops_backends(struct backend *list[OPS_BACKENDS_MAX])
{
    int count = ops_backends_host(list);
    return count + ops_backends_cuda(&list[count]);
}

static inline void ops_backends_free(struct backend *list[OPS_BACKENDS_MAX], int count)
{
    for (int i = 0; i < count; i++)
        list[i]->ops->free(list[i]);
}

/* Calls `body(backend, type, user)` for every backend and every activation type it supports `op`
 * for. */
static inline void ops_for_each(enum op_id op,
                                void (*body)(struct backend *, enum tensor_type, const void *),
                                const void *user)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int i = 0; i < count; i++) {
        cr_assert(list[i]->ops->supports(list[i], op, TENSOR_F32), "%s: operation %d",
                  list[i]->name, (int)op);
        body(list[i], TENSOR_F32, user);
        if (list[i]->ops->supports(list[i], op, TENSOR_BF16))
            body(list[i], TENSOR_BF16, user);
    }
    ops_backends_free(list, count);
}

/* ---- Types ----------------------------------------------------------------------------------- */

/* Round to nearest even, by the definition: keep 8 significant bits. Normal numbers only. */
static inline double ops_round_bf16(double x)
{
    if (x == 0 || !isfinite(x))
        return x;
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

static inline double ops_round(double x, enum tensor_type type)
{
    return type == TENSOR_BF16 ? ops_round_bf16(x) : (double)(float)x;
}

static inline void ops_encode(double x, enum tensor_type type, void *target)
{
    float f = (float)x;
    uint32_t word;
    memcpy(&word, &f, sizeof(word));
    if (type == TENSOR_BF16)
        word >>= 16; /* exact: x was rounded before */
    else if (type != TENSOR_F32)
        word = (uint32_t)(int32_t)x;
    memcpy(target, &word, tensor_type_size(type)); /* little-endian: the low bytes */
}

static inline double ops_decode(const void *source, enum tensor_type type)
{
    if (type == TENSOR_U8 || type == TENSOR_E4M3) /* of float8: the code */
        return *(const uint8_t *)source;
    if (type == TENSOR_I32)
        return *(const int32_t *)source;
    uint32_t bits = 0;
    memcpy((char *)&bits + (type == TENSOR_BF16 ? 2 : 0), source, tensor_type_size(type));
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* ---- Buffers --------------------------------------------------------------------------------- */

static inline void ops_begin(struct ops_case *c, struct backend *backend, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    c->backend = backend;
    rng_init(&c->rng, seed, RNG_TEST, 0, 0);
}

/* A buffer of `count` elements; `value` (count) becomes the buffer's. */
static inline struct ops_buffer *ops_take(struct ops_case *c, enum ops_role role,
                                          enum tensor_type type, size_t count, double *value)
{
    cr_assert(c->count < OPS_BUFFERS_MAX && value);
    struct ops_buffer *b = &c->buffers[c->count++];
    struct ij_err err = IJ_ERR_INIT;
    size_t size = tensor_type_size(type), bytes = count * size + 2 * OPS_GUARD;
    *b = (struct ops_buffer){.role = role, .type = type, .count = count, .value = value};
    b->image = mem_alloc_zero(bytes, 1);
    b->result = mem_alloc_zero(count, sizeof(double));
    cr_assert(b->image && b->result);
    memset(b->image, OPS_GUARD_BYTE, bytes);
    for (size_t i = 0; i < count; i++)
        ops_encode(value[i], type, b->image + OPS_GUARD + i * size);
    const struct ops *ops = c->backend->ops;
    cr_assert_eq(ops->allocate(c->backend, bytes, &b->memory, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(ops->upload(c->backend, b->memory, b->image, bytes, &err), IJ_OK, "%s", err.text);
    return b;
}

static inline struct ops_buffer *ops_filled(struct ops_case *c, enum ops_role role,
                                            enum tensor_type type, size_t count, double fill)
{
    double *value = mem_array(double, count);
    cr_assert(value);
    for (size_t i = 0; i < count; i++)
        value[i] = fill;
    return ops_take(c, role, type, count, value);
}

/* Normal deviates times `scale`, rounded to the type. */
static inline struct ops_buffer *ops_random(struct ops_case *c, enum ops_role role,
                                            enum tensor_type type, size_t count, double scale)
{
    double *value = mem_array(double, count);
    cr_assert(value);
    for (size_t i = 0; i < count; i++)
        value[i] = ops_round(scale * rng_normal(&c->rng), type);
    return ops_take(c, role, type, count, value);
}

/* Integers below `below`. */
static inline struct ops_buffer *ops_integers(struct ops_case *c, enum tensor_type type,
                                              size_t count, uint32_t below)
{
    double *value = mem_array(double, count);
    cr_assert(value);
    for (size_t i = 0; i < count; i++)
        value[i] = rng_below(&c->rng, below);
    return ops_take(c, OPS_INPUT, type, count, value);
}

static inline struct ops_buffer *ops_input(struct ops_case *c, enum tensor_type type, size_t count)
{
    return ops_random(c, OPS_INPUT, type, count, 1.0);
}

static inline struct ops_buffer *ops_output(struct ops_case *c, enum tensor_type type, size_t count)
{
    return ops_filled(c, OPS_OUTPUT, type, count, (double)NAN);
}

/* An output that the operation adds to (old content random), or writes (NaN). */
static inline struct ops_buffer *ops_sum(struct ops_case *c, enum tensor_type type, size_t count,
                                         bool accumulate)
{
    return accumulate ? ops_random(c, OPS_UPDATED, type, count, 1.0) : ops_output(c, type, count);
}

static inline void *ops_data(const struct ops_buffer *b)
{
    return b ? (char *)b->memory + OPS_GUARD : NULL;
}

static inline struct tensor ops_tensor(const struct ops_buffer *b)
{
    struct tensor t = {ops_data(b), b ? b->type : TENSOR_F32};
    return t;
}

/* Downloads a buffer's content as doubles; valid until `ops_end`. */
static inline double *ops_result(struct ops_case *c, struct ops_buffer *b)
{
    struct ij_err err = IJ_ERR_INIT;
    size_t size = tensor_type_size(b->type);
    mem_auto char *copy = mem_alloc_zero(b->count, size);
    cr_assert_eq(c->backend->ops->synchronize(c->backend, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(c->backend->ops->download(c->backend, copy, ops_data(b), b->count * size, &err),
                 IJ_OK);
    for (size_t i = 0; i < b->count; i++)
        b->result[i] = ops_decode(copy + i * size, b->type);
    return b->result;
}

static inline void ops_check_intact(struct ops_case *c, int index)
{
    struct ops_buffer *b = &c->buffers[index];
    struct ij_err err = IJ_ERR_INIT;
    size_t content = b->count * tensor_type_size(b->type), bytes = content + 2 * OPS_GUARD;
    mem_auto uint8_t *now = mem_alloc_zero(bytes, 1);
    cr_assert_eq(c->backend->ops->download(c->backend, now, b->memory, bytes, &err), IJ_OK);
    cr_assert(memcmp(now, b->image, OPS_GUARD) == 0, "buffer %d: written before its start", index);
    size_t end = OPS_GUARD + content;
    cr_assert(memcmp(now + end, b->image + end, OPS_GUARD) == 0,
              "buffer %d: written beyond its end", index);
    if (b->role == OPS_INPUT)
        cr_assert(memcmp(now, b->image, bytes) == 0, "buffer %d: an input was changed", index);
}

static inline void ops_end(struct ops_case *c)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(c->backend->ops->synchronize(c->backend, &err), IJ_OK, "%s", err.text);
    for (int i = 0; i < c->count; i++)
        ops_check_intact(c, i);
    for (int i = 0; i < c->count; i++) {
        c->backend->ops->release(c->backend, c->buffers[i].memory);
        mem_free(c->buffers[i].value);
        mem_free(c->buffers[i].result);
        mem_free(c->buffers[i].image);
    }
    c->count = 0;
}

/* ---- Comparison ------------------------------------------------------------------------------ */

/* |got - want| / |want|, norm-wise; not a number if anything is. */
static inline double ops_error(const double *got, const double *want, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* Fails unless the buffer's content is `want` within `tolerance`. `emulated` is the same reference
 * with every stored value rounded to bfloat16: for a bfloat16 case twice its error is allowed. */
#define ops_check(c, buffer, want, emulated, tolerance)                                            \
    do {                                                                                           \
        double allowed_ = (tolerance);                                                             \
        const double *emulated_ = (emulated);                                                      \
        if (emulated_)                                                                             \
            allowed_ += 2 * ops_error(emulated_, (want), (buffer)->count);                         \
        double error_ = ops_error(ops_result((c), (buffer)), (want), (buffer)->count);             \
        const char *level_ = (c)->backend->level ? (c)->backend->level : "";                       \
        cr_assert(error_ <= allowed_, "%s %s: %s: error %.3g, allowed %.3g", (c)->backend->name,   \
                  level_, #buffer, error_, allowed_);                                              \
    } while (0)

#define ops_run(c, name, args)                                                                     \
    do {                                                                                           \
        struct ij_err err_ = IJ_ERR_INIT;                                                          \
        cr_assert_eq((c)->backend->ops->name((c)->backend, (args), &err_), IJ_OK, "%s",            \
                     err_.text);                                                                   \
    } while (0)

/* Central difference of `objective` at x[i]. */
static inline double ops_slope(double (*objective)(void *), void *user, double *x, size_t i)
{
    const double h = 1e-5;
    double old = x[i];
    x[i] = old + h;
    double above = objective(user);
    x[i] = old - h;
    double below = objective(user);
    x[i] = old;
    return (above - below) / (2 * h);
}

static inline double *ops_doubles(size_t count)
{
    double *x = mem_array(double, count);
    cr_assert(x);
    return x;
}

#endif
