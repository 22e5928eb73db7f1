/* See run_health.h. */
#include "daemon/run_health.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/record_event.h"
#include "store/metric_query.h"

#define LOG_MODULE "health"
#define CHECKS_MAX 2000 /* more are looked at in buckets: of each the last */

static const struct {
    const char *key;
    size_t offset;
} figures[] = {
#define X(member, key) {key, offsetof(struct health_check, member)},
    HEALTH_FIGURES(X)
#undef X
};

/* Puts one column into the checks. */
static void fill(const struct metric_series *series, size_t rows, struct health_check *checks)
{
    for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) {
        if (strcmp(series->key, figures[f].key) != 0)
            continue;
        for (size_t i = 0; i < rows; i++) {
            double value = isfinite(series->last[i]) ? (double)series->last[i] : (double)NAN;
            memcpy((char *)&checks[i] + figures[f].offset, &value, sizeof value);
        }
    }
}

static enum ij_status checks_of(const struct metric_table *table, struct health_check **ret_checks,
                                struct ij_err *reterr_err)
{
    struct health_check *checks = mem_array(struct health_check, table->rows);
    if (!checks)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu checks", table->rows);
    for (size_t i = 0; i < table->rows; i++) {
#define X(member, key) checks[i].member = (double)NAN;
        HEALTH_FIGURES(X)
#undef X
        checks[i].step = table->step[i];
    }
    for (size_t c = 0; c < table->columns; c++)
        fill(&table->series[c], table->rows, checks);
    /* What every check measures. */
    for (size_t i = 0; i < table->rows; i++)
        checks[i].nonfinite = isnan(checks[i].rankme) || isnan(checks[i].target_std);
    *ret_checks = checks;
    return IJ_OK;
}

static json_t *show_figures(const struct health_check *check)
{
    json_t *object = json_object();
    for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) {
        double value;
        memcpy(&value, (const char *)check + figures[f].offset, sizeof value);
        if (isfinite(value))
            json_object_set_new(object, figures[f].key, json_real(value));
    }
    return object;
}

/* The row's health as it will be; NULL: no memory. */
static char *show(const struct health_verdict *v, const struct health_check *newest, uint64_t step)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "verdict", health_level_name(v->level), "rule",
                  v->rule, "text", v->text, "step", (json_int_t)step, "since_step",
                  (json_int_t)v->since_step, "figures", show_figures(newest));
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return copy;
}

/* "healthy" where the row has none yet. */
static void verdict_of(const char *health, char *ret_verdict, size_t size)
{
    json_t *object = health ? json_loads(health, 0, NULL) : NULL;
    const char *verdict = json_string_value(json_object_get(object, "verdict"));
    snprintf(ret_verdict, size, "%s", verdict ? verdict : health_level_name(HEALTH_HEALTHY));
    json_decref(object);
}

static enum ij_status keep(struct run *run, const struct health_verdict *v,
                           const struct health_check *newest, uint64_t step,
                           struct ij_err *reterr_err)
{
    const char *name = health_level_name(v->level);
    char was[16];
    char *health = show(v, newest, step);
    if (!health)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run's health");
    verdict_of(run->row.health, was, sizeof was);
    mem_free(run->row.health);
    run->row.health = health;
    run->progress_dirty = true;
    if (strcmp(was, name) == 0)
        return IJ_OK;
    log_line(v->level == HEALTH_HEALTHY ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, LOG_MODULE, run->row.id,
             "%s, was %s: %s %s", name, was, v->rule, v->text);
    return record_event_health(run,
                               json_pack("{s:s, s:s, s:s, s:s, s:I}", "verdict", name, "was", was,
                                         "rule", v->rule, "text", v->text, "step",
                                         (json_int_t)step),
                               reterr_err);
}

enum ij_status run_health_check(struct run *run, uint64_t step, struct ij_err *reterr_err)
{
    const char *keys[sizeof figures / sizeof figures[0]];
    struct metric_result result;
    for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++)
        keys[f] = figures[f].key;
    const struct metric_query query = {.runs = &run->row.id,
                                       .run_count = 1,
                                       .keys = keys,
                                       .key_count = sizeof keys / sizeof keys[0],
                                       .to = UINT64_MAX,
                                       .max_points = CHECKS_MAX};
    IJ_TRY(metric_query(run->daemon->store, &query, &result, reterr_err));
    mem_auto struct health_check *checks = NULL;
    const struct metric_table *table = NULL;
    for (size_t i = 0; i < result.count; i++)
        if (strcmp(result.tables[i].stream, "ssl") == 0)
            table = &result.tables[i];
    enum ij_status status = IJ_OK;
    if (table && table->rows) {
        status = checks_of(table, &checks, reterr_err);
        if (status == IJ_OK) {
            struct health_verdict verdict = health_judge(checks, table->rows, run->row.steps);
            status = keep(run, &verdict, &checks[table->rows - 1], step, reterr_err);
        }
    }
    metric_query_done(&result);
    return status;
}
