/*
 * The host backend's own state, shared by the files of this folder and by nobody else.
 *
 * An operation splits its work into one contiguous part per thread (`host_part`), so the same
 * thread count always gives the same bits. Memory that an operation needs beside its arguments
 * comes from two scratch blocks that `reserve_scratch` sizes for the whole model: one shared, and
 * one per thread. An operation that needs more makes them grow: correct without a reservation, no
 * allocation with one.
 */
#ifndef GPU_OPS_HOST_BACKEND_H
#define GPU_OPS_HOST_BACKEND_H

#include <omp.h>
#include <stdatomic.h>

#include "gpu/ops/host/host_gelu.h"
#include "gpu/ops/host/host_isa.h"
#include "gpu/ops/ops.h"

/* What is left of one thread's part: see host_deal.h. */
struct host_deal {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
};

struct host_backend {
    struct backend base;
    enum host_isa isa;
    struct host_gelu gelu;
    float *shared;                  /* owned; 64-byte aligned */
    float *local;                   /* owned; `base.threads` blocks of `local_size` floats */
    size_t shared_size, local_size; /* in floats */
    struct host_deal *deals;        /* owned; two sets of `base.threads` */
};

struct host_span {
    int64_t begin, end;
};

/* Part `part` of `parts` equal ones of [0, count), cut at multiples of `grain`. */
static inline struct host_span host_part(int64_t count, int64_t grain, int part, int parts)
{
    int64_t units = (count + grain - 1) / grain;
    struct host_span span = {units * part / parts * grain, units * (part + 1) / parts * grain};
    if (span.end > count)
        span.end = count;
    if (span.begin > span.end)
        span.begin = span.end;
    return span;
}

/* The part of the calling thread, inside a parallel region. */
static inline struct host_span host_my_part(int64_t count, int64_t grain)
{
    return host_part(count, grain, omp_get_thread_num(), omp_get_num_threads());
}

static inline struct host_backend *host_backend_of(struct backend *backend)
{
    return (struct host_backend *)backend;
}

/* Makes both blocks at least this large (floats); keeps no content. Outside parallel regions
 * only. */
IJ_MUST_USE enum ij_status host_backend_need(struct host_backend *host, size_t shared_floats,
                                             size_t local_floats, struct ij_err *reterr_err);

/* The calling thread's block. */
static inline float *host_backend_local(const struct host_backend *host)
{
    return host->local + (size_t)omp_get_thread_num() * host->local_size;
}

/* Every operation of OPS_LIST, implemented in host_<op>.c. */
#define X(name)                                                                                    \
    enum ij_status host_##name(struct backend *backend, const struct op_##name *args,              \
                               struct ij_err *reterr_err);
OPS_LIST(X)
#undef X

#endif
