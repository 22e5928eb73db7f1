/* See bench_ceiling.h. */
#include "gpu/bench_ceiling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gpu/model/op_call.h"
#include "gpu/ops/host/host_peak.h"

#define ROUNDS        5
#define PATTERN       (1 << 20) /* values uploaded at a time */
#define COPY_BYTES    ((size_t)1 << 30)
#define HOST_BYTES    ((size_t)64 << 20)
#define PRODUCT_SIDE  8192
#define PRODUCT_FLOAT 4096
#define CEILING_S     0.15

/* ---- Clock ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum ij_status round_of(struct backend *backend, const struct bench_call *call, int count,
                               double *ret_seconds, struct ij_err *reterr_err)
{
    int64_t begin_ns = clock_monotonic_ns();
    for (int i = 0; i < count; i++)
        IJ_TRY(call->run(backend, call->user, reterr_err));
    IJ_TRY(backend->ops->synchronize(backend, reterr_err));
    *ret_seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9 / count;
    return IJ_OK;
}

enum ij_status bench_ceiling_time(struct backend *backend, const struct bench_call *call,
                                  double seconds, double *ret_seconds, struct ij_err *reterr_err)
{
    double each, rounds[ROUNDS];
    IJ_TRY(round_of(backend, call, 1, &each, reterr_err));
    IJ_TRY(round_of(backend, call, 2, &each, reterr_err));
    double wanted = seconds / ROUNDS / (each > 1e-9 ? each : 1e-9);
    int count = wanted < 1 ? 1 : wanted > 10000 ? 10000 : (int)wanted;
    for (int i = 0; i < ROUNDS; i++)
        IJ_TRY(round_of(backend, call, count, &rounds[i], reterr_err));
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    *ret_seconds = rounds[ROUNDS / 2];
    return IJ_OK;
}

/* ---- Content --------------------------------------------------------------------------------- */

static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

enum ij_status bench_ceiling_fill(struct backend *backend, struct tensor t, int64_t count,
                                  struct ij_err *reterr_err)
{
    size_t size = tensor_type_size(t.type);
    mem_auto char *pattern = mem_array(char, PATTERN *size);
    struct rng rng;
    if (!pattern)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a benchmark's values");
    rng_init(&rng, 1, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < PATTERN && i < count; i++) {
        float value = (float)rng_normal(&rng) * 0.25f;
        if (t.type == TENSOR_BF16)
            ((uint16_t *)(void *)pattern)[i] = bf16_of(value);
        else if (t.type == TENSOR_F32)
            ((float *)(void *)pattern)[i] = value;
        else
            pattern[i * (int64_t)size] = (char)rng_u32(&rng);
    }
    for (int64_t at = 0; at < count; at += PATTERN) {
        size_t part = (size_t)(count - at < PATTERN ? count - at : PATTERN) * size;
        IJ_TRY(backend->ops->upload(backend, (char *)t.data + (size_t)at * size, pattern, part,
                                    reterr_err));
    }
    return IJ_OK;
}

/* ---- Ceilings -------------------------------------------------------------------------------- */

struct square {
    int64_t side;
    struct tensor x, weight, y;
};

static enum ij_status square_run(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct square *s = user;
    OP_CALL(linear_forward, .rows = s->side, .in = s->side, .out = s->side, .x = s->x,
            .weight = s->weight, .y = s->y);
    return IJ_OK;
}

struct copy {
    int64_t count;
    struct tensor x, y;
};

static enum ij_status copy_run(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct copy *c = user;
    OP_CALL(convert, .count = c->count, .x = c->x, .y = c->y);
    return IJ_OK;
}

static enum ij_status measure_product(struct backend *backend, enum tensor_type type, char *memory,
                                      double *ret_gflops, struct ij_err *reterr_err)
{
    int64_t side = type == TENSOR_F32 ? PRODUCT_FLOAT : PRODUCT_SIDE;
    size_t bytes = (size_t)(side * side) * tensor_type_size(type);
    struct square s = {side, {memory, type}, {memory + bytes, type}, {memory + 2 * bytes, type}};
    struct bench_call call = {square_run, &s};
    double seconds;
    IJ_TRY(bench_ceiling_fill(backend, s.x, side * side, reterr_err));
    IJ_TRY(bench_ceiling_fill(backend, s.weight, side * side, reterr_err));
    IJ_TRY(bench_ceiling_time(backend, &call, CEILING_S, &seconds, reterr_err));
    *ret_gflops = 2.0 * (double)side * (double)side * (double)side / seconds / 1e9;
    return IJ_OK;
}

bool bench_on_host(const struct backend *backend)
{
    return backend->level != NULL;
}

static void measure_registers(int threads, enum tensor_type type, struct bench_ceiling *ret_ceiling)
{
    double vector = host_peak_gflops(HOST_PEAK_FLOAT32, threads), tiles = 0;
    if (type == TENSOR_BF16) {
        vector = fmax(vector, host_peak_gflops(HOST_PEAK_BF16, threads));
        tiles = host_peak_gflops(HOST_PEAK_BF16_TILES, threads);
    }
    ret_ceiling->vector_gflops = vector;
    ret_ceiling->gflops = fmax(vector, tiles);
}

static enum ij_status measure_all(struct backend *backend, enum tensor_type type, bool host,
                                  char *memory, size_t bytes, struct bench_ceiling *ret_ceiling,
                                  struct ij_err *reterr_err)
{
    int64_t count = (int64_t)(bytes / 2 / sizeof(float));
    struct copy c = {count, {memory, TENSOR_F32}, {memory + bytes / 2, TENSOR_F32}};
    struct bench_call call = {copy_run, &c};
    double seconds;
    IJ_TRY(backend->ops->clear(backend, memory, bytes, reterr_err));
    IJ_TRY(bench_ceiling_time(backend, &call, CEILING_S, &seconds, reterr_err));
    ret_ceiling->gbytes_s = (double)bytes / seconds / 1e9;
    if (host) {
        measure_registers(backend->threads, type, ret_ceiling);
        return IJ_OK;
    }
    IJ_TRY(measure_product(backend, type, memory, &ret_ceiling->gflops, reterr_err));
    ret_ceiling->vector_gflops = ret_ceiling->gflops;
    return IJ_OK;
}

double bench_ceiling_now(const struct backend *backend)
{
    return bench_on_host(backend) ? host_peak_now_gflops(HOST_PEAK_FLOAT32, backend->threads)
                                  : (double)NAN;
}

enum ij_status bench_ceiling_measure(struct backend *backend, enum tensor_type type,
                                     struct bench_ceiling *ret_ceiling, struct ij_err *reterr_err)
{
    void *memory = NULL;
    bool host = bench_on_host(backend);
    size_t bytes = host ? HOST_BYTES : COPY_BYTES;
    IJ_TRY(backend->ops->allocate(backend, bytes, &memory, reterr_err));
    enum ij_status status =
        measure_all(backend, type, host, memory, bytes, ret_ceiling, reterr_err);
    backend->ops->release(backend, memory);
    return status;
}
