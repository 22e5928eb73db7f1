/*
 * What the device can do at most, measured: to this, benchmarks relate their rates.
 *
 * And the clock that the benchmarks of operations share.
 */
#ifndef GPU_BENCH_CEILING_H
#define GPU_BENCH_CEILING_H

#include "gpu/ops/ops.h"

struct bench_ceiling {
    double gflops;        /* of matrix products: host: the level's best instruction for the type, on
                        registers; GPU: the best of a few large square products of the type */
    double vector_gflops; /* host: without AMX tiles; GPU: as `gflops` */
    double gbytes_s;      /* of a large copy, bytes read and bytes written */
};

/* Or on a GPU. */
bool bench_on_host(const struct backend *backend);

/* Takes under a second on a GPU, a few on a host. */
IJ_MUST_USE enum ij_status bench_ceiling_measure(struct backend *backend, enum tensor_type type,
                                                 struct bench_ceiling *ret_ceiling,
                                                 struct ij_err *reterr_err);

/* GFLOP/s of float32 multiply-adds on registers at this time, which a host that shares its machine
 * gives now more and now less of. NaN on a GPU. Takes about 10 ms. */
double bench_ceiling_now(const struct backend *backend);

/* A call to be timed; it starts its work and need not wait for it. */
struct bench_call {
    enum ij_status (*run)(struct backend *backend, void *user, struct ij_err *reterr_err);
    void *user;
};

/* Median seconds per call of rounds of at least `seconds` together, after a warm-up; a round waits
 * for the device once, at its end. */
IJ_MUST_USE enum ij_status bench_ceiling_time(struct backend *backend,
                                              const struct bench_call *call, double seconds,
                                              double *ret_seconds, struct ij_err *reterr_err);

/* Fills device memory with small normal values of the type. */
IJ_MUST_USE enum ij_status bench_ceiling_fill(struct backend *backend, struct tensor t,
                                              int64_t count, struct ij_err *reterr_err);

#endif
