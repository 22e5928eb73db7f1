/* Metrics: the keys of a run, and values of several runs as JSON, CSV or binary columns. */
#include <string.h>

#include "api/handlers.h"
#include "api/metrics_out.h"
#include "api/show.h"
#include "base/mem.h"
#include "daemon/submit.h"
#include "store/metric_clock.h"
#include "store/run_row.h"

#define ANSWER_MAX     ((size_t)64 * 1024 * 1024)
#define POINTS_DEFAULT 1000

enum ij_status serve_metrics_catalogue(struct request *request, struct reply *reply,
                                       struct ij_err *reterr_err)
{
    struct metric_catalogue_entry *entries = NULL;
    struct run_row row;
    struct store *store;
    size_t count;
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    run_row_done(&row);
    IJ_TRY(metric_query_catalogue(store, run, &entries, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_catalogue_entry(&entries[i]));
    mem_free(entries);
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_metrics_clock(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct metric_clock_point points[METRIC_CLOCK_MAX];
    struct run_row row;
    struct store *store;
    size_t count;
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    run_row_done(&row);
    IJ_TRY(metric_clock(store, run, points, &count, reterr_err));
    json_t *steps = json_array(), *elapsed = json_array();
    for (size_t i = 0; i < count; i++) {
        double seconds = (double)(points[i].ts_ms - points[0].ts_ms) / 1000.0;
        (void)json_array_append_new(steps, json_integer((json_int_t)points[i].step));
        (void)json_array_append_new(elapsed, json_real(seconds));
    }
    return reply_take_json(reply,
                           json_pack("{s:o, s:o, s:o}", "start",
                                     show_time(count ? points[0].ts_ms : 0), "step", steps,
                                     "elapsed_s", elapsed),
                           reterr_err);
}

/* What a query points into. */
struct query_lists {
    char *runs_text, *keys_text; /* owned */
    int64_t runs[METRIC_QUERY_RUNS_MAX];
    const char *keys[METRIC_QUERY_KEYS_MAX];
    size_t run_count, key_count;
};

static void lists_done(struct query_lists *lists)
{
    mem_free(lists->runs_text);
    mem_free(lists->keys_text);
}

static enum ij_status parse_runs(const char *text, struct query_lists *lists,
                                 struct ij_err *reterr_err)
{
    lists->runs_text = mem_strdup(text ? text : "");
    char *rest = lists->runs_text, *word;
    while ((word = strsep(&rest, ","))) {
        if (lists->run_count == METRIC_QUERY_RUNS_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "runs", "must be at most %d runs",
                                METRIC_QUERY_RUNS_MAX);
        if (!submit_parse_id(word, 'r', &lists->runs[lists->run_count++]))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "runs", "must be ids like r42,r43");
    }
    return IJ_OK;
}

static enum ij_status parse_keys(const char *text, struct query_lists *lists,
                                 struct ij_err *reterr_err)
{
    lists->keys_text = mem_strdup(text ? text : "");
    char *rest = lists->keys_text, *word;
    while ((word = strsep(&rest, ","))) {
        if (lists->key_count == METRIC_QUERY_KEYS_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keys", "must be at most %d keys",
                                METRIC_QUERY_KEYS_MAX);
        if (!*word)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keys",
                                "must be names like train/loss,eval/knn_top1");
        lists->keys[lists->key_count++] = word;
    }
    return IJ_OK;
}

/* A run that is not there is an error: an empty chart would hide a wrong number. */
static enum ij_status check_runs(struct store *store, const struct query_lists *lists,
                                 struct ij_err *reterr_err)
{
    for (size_t i = 0; i < lists->run_count; i++) {
        struct run_row row;
        IJ_TRY(run_row_get(store, lists->runs[i], &row, reterr_err));
        run_row_done(&row);
    }
    return IJ_OK;
}

static enum ij_status fill_query(struct request *request, const struct query_lists *lists,
                                 struct metric_query *query, struct ij_err *reterr_err)
{
    const char *agg = request_query(request, "agg");
    *query = (struct metric_query){.runs = lists->runs,
                                   .run_count = lists->run_count,
                                   .keys = lists->keys,
                                   .key_count = lists->key_count};
    query->from = query_integer(&request->query, "from", 0);
    query->to = query_integer(&request->query, "to", UINT64_MAX);
    query->max_points = (uint32_t)query_integer(&request->query, "max_points", POINTS_DEFAULT);
    query->raw = agg && strcmp(agg, "none") == 0;
    query->superseded = query_flag(&request->query, "superseded");
    if (agg && !query->raw && strcmp(agg, "minmax") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "agg", "must be minmax or none");
    if (query->from > query->to)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "from", "must not be greater than to");
    return IJ_OK;
}

/* In the form that the Accept header names; JSON unless it is one of the two others. */
static enum ij_status write_result(struct request *request, const struct metric_result *result,
                                   struct reply *reply, struct ij_err *reterr_err)
{
    struct buf buf;
    const char *accept = request_header(request, "accept"), *type = "application/json";
    buf_init(&buf, ANSWER_MAX);
    if (accept && strstr(accept, "application/vnd.ijepad.f32")) {
        type = "application/vnd.ijepad.f32";
        metrics_out_f32(result, &buf);
    } else if (accept && strstr(accept, "text/csv")) {
        type = "text/csv; charset=utf-8";
        metrics_out_csv(result, &buf);
    } else {
        metrics_out_json(result, &buf);
    }
    reply_header(reply, "Vary", "Accept");
    return reply_take_buf(reply, type, &buf, reterr_err);
}

static enum ij_status run_query(struct request *request, struct query_lists *lists,
                                struct reply *reply, struct ij_err *reterr_err)
{
    struct metric_query query;
    struct metric_result result;
    struct store *store;
    IJ_TRY(parse_runs(request_query(request, "runs"), lists, reterr_err));
    IJ_TRY(parse_keys(request_query(request, "keys"), lists, reterr_err));
    IJ_TRY(fill_query(request, lists, &query, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(check_runs(store, lists, reterr_err));
    IJ_TRY(metric_query(store, &query, &result, reterr_err));
    enum ij_status status = write_result(request, &result, reply, reterr_err);
    metric_query_done(&result);
    return status;
}

enum ij_status serve_metrics_query(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct query_lists lists = {.runs_text = NULL};
    enum ij_status status = run_query(request, &lists, reply, reterr_err);
    lists_done(&lists);
    return status;
}
