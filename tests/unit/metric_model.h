/* A naive model of metrics: everything in arrays, every answer by looking at all of it. */
#ifndef TESTS_UNIT_METRIC_MODEL_H
#define TESTS_UNIT_METRIC_MODEL_H

#include "tests/unit/store_fixture.h"

#include "base/rng.h"
#include "store/metric_query.h"
#include "store/metric_store.h"

#define MODEL_STEPS    20000
#define MODEL_STREAMS  24
#define MODEL_KEYS_MAX 3

struct model_stream {
    int64_t id;
    int attempt;
    const char *name;
    const char *keys[MODEL_KEYS_MAX];
    size_t key_count;
    int64_t dead_after; /* INT64_MAX: alive */
    uint64_t newest;
    bool present[MODEL_STEPS];
    float values[MODEL_STEPS][MODEL_KEYS_MAX];
};

struct model_answer {
    uint64_t count, finite;
    double sum;
    float min, max, last, newest; /* newest: finite or not */
};

static struct model_stream model[MODEL_STREAMS];
static size_t model_count;

static inline struct model_stream *model_add(int64_t run, int attempt, const char *name,
                                             const char *const *keys, size_t key_count)
{
    struct model_stream *stream = &model[model_count++];
    cr_assert_leq(model_count, MODEL_STREAMS);
    *stream = (struct model_stream){
        .attempt = attempt, .name = name, .key_count = key_count, .dead_after = INT64_MAX};
    for (size_t i = 0; i < key_count; i++)
        stream->keys[i] = keys[i];
    OK(metric_store_stream(store, run, attempt, name, keys, key_count, &stream->id, &err));
    return stream;
}

static inline void model_put(struct model_stream *stream, uint64_t step, const float *values)
{
    OK(metric_store_put(store, stream->id, step, (int64_t)step, values, stream->key_count, &err));
    stream->present[step] = true;
    memcpy(stream->values[step], values, stream->key_count * sizeof values[0]);
    if (step > stream->newest)
        stream->newest = step;
}

static inline void model_supersede(int64_t run, int attempt, uint64_t step)
{
    int64_t dead_after = step == 0 ? -1 : (int64_t)step;
    OK(metric_store_supersede(store, run, attempt, step, &err));
    for (size_t i = 0; i < model_count; i++)
        if (model[i].attempt < attempt && dead_after < model[i].dead_after)
            model[i].dead_after = dead_after;
}

/* One key over the steps lo..hi, streams in the order of (attempt, id). */
static inline struct model_answer model_ask(const char *name, const char *key, uint64_t lo,
                                            uint64_t hi)
{
    struct model_answer answer = {.count = 0};
    for (uint64_t step = lo; step <= hi && step < MODEL_STEPS; step++)
        for (size_t i = 0; i < model_count; i++) {
            const struct model_stream *stream = &model[i];
            if (strcmp(stream->name, name) != 0 || !stream->present[step] ||
                (int64_t)step > stream->dead_after)
                continue;
            for (size_t k = 0; k < stream->key_count; k++) {
                float value = stream->values[step][k];
                if (strcmp(stream->keys[k], key) != 0)
                    continue;
                answer.count++;
                answer.newest = value;
                if (!isfinite(value))
                    continue;
                answer.min = answer.finite && answer.min < value ? answer.min : value;
                answer.max = answer.finite && answer.max > value ? answer.max : value;
                answer.last = value;
                answer.sum += (double)value;
                answer.finite++;
            }
        }
    return answer;
}

#endif
