/* A benchmark as a run: progress, a stop when asked, and a result like an evaluation's. */
#ifndef GPU_ENGINE_BENCHMARK_H
#define GPU_ENGINE_BENCHMARK_H

#include "gpu/engine.h"

/* engine_run for kind ENGINE_BENCHMARK; nothing is saved of one that is stopped. The result,
 * <directory>/result.json too: {"kind", "what", "result": what engine_bench_step or _loader say, or
 * for ops an array of the lines}. */
IJ_MUST_USE enum ij_status engine_benchmark_run(const struct engine_spec *spec,
                                                const struct engine_sink *sink,
                                                struct ij_err *reterr_err);

#endif
