/* See sweep.h. */
#include "daemon/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#define NAME_MAX_BYTES 58 /* a run's name has "-200" behind it and at most 64 bytes */

static enum ij_status bad(struct ij_err *reterr_err, const char *prefix, const char *key,
                          const char *text)
{
    char pointer[IJ_ERR_FIELD_MAX];
    snprintf(pointer, sizeof(pointer), "%s%.80s", prefix, key);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "%s", text);
}

/* ---- One run --------------------------------------------------------------------------------- */

/* The description without what makes it a sweep, with the values in its parameters. */
static enum ij_status add_run(struct sweep *sweep, const json_t *body, json_t *values,
                              struct ij_err *reterr_err)
{
    static const char *const own[] = {"grid", "random", "max_parallel"};
    json_t *run = json_deep_copy(body), *params = json_object_get(run, "params");
    const char *name = json_string_value(json_object_get(body, "name"));
    for (size_t i = 0; i < COUNT_OF(own); i++)
        json_object_del(run, own[i]);
    if (!params) {
        params = json_object();
        json_object_set_new(run, "params", params);
    }
    json_object_update(params, values);
    json_object_set_new(
        run, "name",
        json_sprintf("%s-%zu", name ? name : "sweep", json_array_size(sweep->runs) + 1));
    if (run && json_array_append_new(sweep->runs, run) == 0)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sweep");
}

/* ---- Grid ------------------------------------------------------------------------------------ */

struct axis {
    const char *key;
    const json_t *values;
    size_t at;
};

static enum ij_status read_axes(const json_t *grid, struct axis axes[SWEEP_KEYS_MAX],
                                size_t *ret_count, struct ij_err *reterr_err)
{
    const char *key;
    json_t *value;
    size_t runs = 1, count = 0;
    if (!json_is_object(grid) || !json_object_size(grid) || json_object_size(grid) > SWEEP_KEYS_MAX)
        return bad(reterr_err, "/grid", "", "grid must be an object of 1 to 16 keys");
    json_object_foreach((json_t *)grid, key, value)
    {
        size_t size = json_array_size(value);
        if (!size || size > SWEEP_RUNS_MAX)
            return bad(reterr_err, "/grid/", key, "must be an array of 1 to 200 values");
        runs *= size;
        if (runs > SWEEP_RUNS_MAX)
            return bad(reterr_err, "/grid", "", "a sweep makes at most 200 runs");
        axes[count++] = (struct axis){.key = key, .values = value};
    }
    *ret_count = count;
    return IJ_OK;
}

/* The next combination; false after the last. */
static bool advance(struct axis *axes, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        if (++axes[i].at < json_array_size(axes[i].values))
            return true;
        axes[i].at = 0;
    }
    return false;
}

static enum ij_status expand_grid(struct sweep *sweep, const json_t *body,
                                  struct ij_err *reterr_err)
{
    struct axis axes[SWEEP_KEYS_MAX];
    size_t count = 0;
    IJ_TRY(read_axes(json_object_get(body, "grid"), axes, &count, reterr_err));
    do {
        json_t *values = json_object();
        for (size_t i = 0; i < count; i++)
            json_object_set(values, axes[i].key, json_array_get(axes[i].values, axes[i].at));
        enum ij_status status = add_run(sweep, body, values, reterr_err);
        json_decref(values);
        IJ_TRY(status);
    } while (advance(axes, count));
    return IJ_OK;
}

/* ---- Random ---------------------------------------------------------------------------------- */

/* One value of {"log": [low, high]} and its like; NULL: the form is wrong. */
static json_t *draw_range(const json_t *form, struct rng *rng)
{
    const char *kind = json_object_iter_key(json_object_iter((json_t *)form));
    const json_t *ends = kind ? json_object_get(form, kind) : NULL;
    const json_t *first = json_array_get(ends, 0), *last = json_array_get(ends, 1);
    double low = json_number_value(first), high = json_number_value(last);
    if (json_object_size(form) != 1 || json_array_size(ends) != 2 || !json_is_number(first) ||
        !json_is_number(last) || !(low <= high))
        return NULL;
    double u = rng_uniform(rng);
    if (strcmp(kind, "uniform") == 0)
        return json_real(low + u * (high - low));
    if (strcmp(kind, "log") == 0 && low > 0)
        return json_real(exp(log(low) + u * (log(high) - log(low))));
    if (strcmp(kind, "integer") == 0 && json_is_integer(first) && json_is_integer(last) &&
        high - low < 4294967295.0)
        return json_integer(json_integer_value(first) +
                            (json_int_t)rng_below(rng, (uint32_t)(high - low) + 1));
    return NULL;
}

static json_t *draw(const json_t *form, struct rng *rng)
{
    size_t size = json_array_size(form);
    if (json_is_array(form))
        return size ? json_incref(json_array_get(form, rng_below(rng, (uint32_t)size))) : NULL;
    return json_is_object(form) ? draw_range(form, rng) : NULL;
}

static enum ij_status draw_run(struct sweep *sweep, const json_t *body, const json_t *space,
                               struct rng *rng, struct ij_err *reterr_err)
{
    json_t *values = json_object();
    enum ij_status status = IJ_OK;
    const char *key;
    json_t *form;
    json_object_foreach((json_t *)space, key, form)
    {
        json_t *value = draw(form, rng);
        if (!value && status == IJ_OK)
            status = bad(reterr_err, "/random/space/", key,
                         "must be an array of choices, or {\"uniform\"|\"log\"|\"integer\": [low, "
                         "high]} with low <= high, for log above 0");
        json_object_set_new(values, key, value);
    }
    if (status == IJ_OK)
        status = add_run(sweep, body, values, reterr_err);
    json_decref(values);
    return status;
}

static enum ij_status expand_random(struct sweep *sweep, const json_t *body,
                                    struct ij_err *reterr_err)
{
    const json_t *random = json_object_get(body, "random");
    const json_t *count = json_object_get(random, "count"), *seed = json_object_get(random, "seed");
    const json_t *space = json_object_get(random, "space");
    if (!json_is_object(random) || json_object_size(random) != 2u + (seed != NULL))
        return bad(reterr_err, "/random", "", "random must have count, space and perhaps seed");
    if (!json_is_integer(count) || json_integer_value(count) < 1 ||
        json_integer_value(count) > SWEEP_RUNS_MAX)
        return bad(reterr_err, "/random/count", "", "count must be a whole number from 1 to 200");
    if (seed && (!json_is_integer(seed) || json_integer_value(seed) < 0))
        return bad(reterr_err, "/random/seed", "", "seed must be a whole number, not negative");
    if (!json_is_object(space) || !json_object_size(space) ||
        json_object_size(space) > SWEEP_KEYS_MAX)
        return bad(reterr_err, "/random/space", "", "space must be an object of 1 to 16 keys");
    for (json_int_t i = 0; i < json_integer_value(count); i++) {
        struct rng rng;
        rng_init(&rng, (uint64_t)json_integer_value(seed), RNG_SWEEP, 0, (uint64_t)i);
        IJ_TRY(draw_run(sweep, body, space, &rng, reterr_err));
    }
    return IJ_OK;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static enum ij_status check(const json_t *body, int32_t *ret_parallel, struct ij_err *reterr_err)
{
    const json_t *parallel = json_object_get(body, "max_parallel");
    const json_t *name = json_object_get(body, "name"), *params = json_object_get(body, "params");
    json_int_t value = parallel ? json_integer_value(parallel) : 1;
    if (!json_is_object(body))
        return bad(reterr_err, "", "", "a sweep is a JSON object");
    if ((parallel && !json_is_integer(parallel)) || value < 1 || value > SWEEP_PARALLEL_MAX)
        return bad(reterr_err, "/max_parallel", "",
                   "max_parallel must be a whole number from 1 to 64");
    if (name && (!json_is_string(name) || !text_is_name(json_string_value(name)) ||
                 json_string_length(name) > NAME_MAX_BYTES))
        return bad(reterr_err, "/name", "",
                   "name must be 1 to 58 letters, digits, '.', '_' or '-', not beginning with '.'");
    if (params && !json_is_object(params))
        return bad(reterr_err, "/params", "", "params must be an object");
    if (json_object_get(body, "after"))
        return bad(reterr_err, "/after", "", "the runs of a sweep wait for no others");
    if (!json_object_get(body, "grid") == !json_object_get(body, "random"))
        return bad(reterr_err, "/grid", "", "exactly one of \"grid\" and \"random\" is needed");
    *ret_parallel = (int32_t)value;
    return IJ_OK;
}

enum ij_status sweep_expand(const json_t *body, struct sweep *ret_sweep, struct ij_err *reterr_err)
{
    struct sweep sweep = {.max_parallel = 1};
    IJ_TRY(check(body, &sweep.max_parallel, reterr_err));
    sweep.runs = json_array();
    enum ij_status status = json_object_get(body, "grid") ? expand_grid(&sweep, body, reterr_err)
                                                          : expand_random(&sweep, body, reterr_err);
    if (status == IJ_OK)
        *ret_sweep = sweep;
    else
        sweep_done(&sweep);
    return status;
}

void sweep_done(struct sweep *sweep)
{
    json_decref(sweep->runs);
    *sweep = (struct sweep){.max_parallel = 0};
}
