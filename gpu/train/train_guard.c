/* See train_guard.h. In a checkpoint: {"loss_mean": 0.31, "loss_steps": 4000} */
#include "gpu/train/train_guard.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

const char *train_guard_fault(const struct train_guard *guard, const struct engine_guard *rules,
                              double loss)
{
    if (!isfinite(loss))
        return "nonfinite";
    if (rules->spike_factor > 0 && guard->steps >= TRAIN_GUARD_STEPS &&
        loss > rules->spike_factor * guard->mean)
        return "spike";
    return NULL;
}

void train_guard_note(struct train_guard *guard, double loss)
{
    guard->steps++;
    double share = guard->steps < TRAIN_GUARD_STEPS ? (double)guard->steps : TRAIN_GUARD_STEPS;
    guard->mean += (loss - guard->mean) / share;
}

char *train_guard_write(const struct train_guard *guard, const struct engine_guard *rules)
{
    if (!(rules->spike_factor > 0))
        return NULL;
    json_t *object =
        json_pack("{s:f, s:I}", "loss_mean", guard->mean, "loss_steps", (json_int_t)guard->steps);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return copy;
}

void train_guard_read(const char *text, struct train_guard *ret_guard)
{
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *mean = json_object_get(object, "loss_mean");
    json_int_t steps = json_integer_value(json_object_get(object, "loss_steps"));
    *ret_guard = (struct train_guard){0};
    if (json_is_number(mean) && steps > 0)
        *ret_guard = (struct train_guard){json_number_value(mean), (uint64_t)steps};
    json_decref(object);
}
