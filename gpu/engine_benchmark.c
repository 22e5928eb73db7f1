/* See engine_benchmark.h. */
#include "gpu/engine_benchmark.h"

#include <jansson.h>
#include <math.h>

#include "base/build.h"
#include "base/mem.h"
#include "gpu/eval/eval_result.h"

static enum ij_status tell(const struct engine_sink *sink, uint64_t done, uint64_t all)
{
    struct engine_progress progress = {
        .step = done, .steps = all, .epoch = NAN, .eta_s = NAN, .phase = "measuring"};
    return sink->progress ? sink->progress(sink->user, &progress) : IJ_OK;
}

/* A sign of life after every step, and the end where the host wants it. */
static enum ij_status on_step(void *user, uint64_t done, uint64_t all, struct ij_err *reterr_err)
{
    const struct engine_sink *sink = user;
    enum engine_command command = sink->poll ? sink->poll(sink->user) : ENGINE_CONTINUE;
    if (command == ENGINE_STOP || command == ENGINE_ABORT)
        return IJ_ERR(reterr_err, IJ_STOPPED, "stopped after %llu of %llu steps",
                      (unsigned long long)done, (unsigned long long)all);
    enum ij_status status = tell(sink, done, all);
    return status == IJ_OK ? IJ_OK : IJ_ERR(reterr_err, status, "the host refused progress");
}

struct lines {
    const struct engine_sink *sink;
    json_t *list;
};

static void on_line(void *user, const char *line)
{
    struct lines *lines = user;
    json_t *object = json_loads(line, 0, NULL);
    if (object && json_array_append_new(lines->list, object) == 0)
        (void)tell(lines->sink, json_array_size(lines->list), 0);
}

/* New reference in *ret_result. */
static enum ij_status measure(const struct engine_spec *spec, const struct engine_sink *sink,
                              json_t **ret_result, struct ij_err *reterr_err)
{
    const struct engine_benchmark *b = &spec->benchmark;
    struct engine_bench_watch watch = {(void *)(uintptr_t)sink, on_step};
    struct lines lines = {sink, NULL};
    mem_auto char *text = NULL;
    enum ij_status status;
    mem_auto struct engine_spec *unlabelled = mem_new(struct engine_spec);
    if (!unlabelled)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a benchmark");
    *unlabelled = *spec;
    unlabelled->data.labels = ENGINE_LABELS_NONE;
    switch (b->what) {
    case ENGINE_BENCHMARK_OPS:
        lines.list = json_array();
        status = engine_bench_ops(spec, b->seconds, on_line, &lines, reterr_err);
        break;
    case ENGINE_BENCHMARK_LOADER:
        status = engine_bench_loader(unlabelled, b->seconds, &text, reterr_err);
        break;
    default:
        status = engine_bench_step(spec, b->warmup, b->steps, &watch, &text, reterr_err);
    }
    *ret_result = text ? json_loads(text, 0, NULL) : lines.list;
    if (status == IJ_OK && !*ret_result)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the result");
    return status;
}

enum ij_status engine_benchmark_run(const struct engine_spec *spec, const struct engine_sink *sink,
                                    struct ij_err *reterr_err)
{
    static const char *const names[] = {"step", "loader", "ops"};
    json_t *result = NULL;
    if (tell(sink, 0, 0) != IJ_OK)
        return IJ_ERR(reterr_err, IJ_IO, "the host refused progress");
    enum ij_status status = measure(spec, sink, &result, reterr_err);
    if (status != IJ_OK) {
        json_decref(result);
        return status;
    }
    json_t *object = json_pack("{s:s, s:s, s:o, s:s}", "kind", "benchmark", "what",
                               names[spec->benchmark.what], "result", result, "build", build_id());
    return eval_result_publish(object, spec, sink, "benchmark", reterr_err);
}
