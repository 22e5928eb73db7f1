/* Runs and what belongs to them, read only. */
#include <math.h>
#include <string.h>

#include "api/context.h"
#include "api/cursor.h"
#include "api/handlers.h"
#include "api/page_link.h"
#include "api/show.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/scheduler_rank.h"
#include "daemon/submit.h"

#define LIST_DEFAULT 50
#define CHILDREN_MAX 500 /* attempts, results */

/* ---- Filters ---- */

static enum ij_status unknown_state(const char *word, struct ij_err *reterr_err)
{
    const char *names[RUN_STATE_COUNT];
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        names[i] = run_state_name((enum run_state)i);
    const char *near = text_nearest(word, names, RUN_STATE_COUNT);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "state", "\"%.32s\" is no state%s%s%s", word,
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* "queued,running", or "live" for every state that is not an end. */
static enum ij_status parse_states(const char *text, uint32_t *states, struct ij_err *reterr_err)
{
    mem_auto char *copy = text ? mem_strdup(text) : NULL;
    if (!text)
        return IJ_OK;
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a filter");
    char *rest = copy, *word;
    while ((word = strsep(&rest, ","))) {
        enum run_state state;
        if (strcmp(word, "live") == 0)
            *states |= run_state_live_mask();
        else if (run_state_from_name(word, &state))
            *states |= RUN_STATE_BIT(state);
        else
            return unknown_state(word, reterr_err);
    }
    return IJ_OK;
}

static enum ij_status parse_sort(const char *text, struct run_row_filter *filter,
                                 struct ij_err *reterr_err)
{
    static const char *const names[] = {
        [RUN_ROW_BY_CREATED] = "created",
        [RUN_ROW_BY_PRIORITY] = "priority",
        [RUN_ROW_BY_UPDATED] = "updated",
    };
    if (!text)
        return IJ_OK;
    filter->ascending = text[0] != '-';
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], text + !filter->ascending) == 0) {
            filter->sort = (enum run_row_sort)i;
            return IJ_OK;
        }
    }
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "sort",
                        "must be created, priority or updated, with - before it for descending");
}

static unsigned order_of(const struct run_row_filter *filter)
{
    return (unsigned)filter->sort * 2 + filter->ascending;
}

static enum ij_status parse_filter(const struct request *request, struct run_row_filter *filter,
                                   struct ij_err *reterr_err)
{
    *filter = (struct run_row_filter){.kind = request_query(request, "kind"),
                                      .tag = request_query(request, "tag"),
                                      .name_prefix = request_query(request, "name"),
                                      .user = request_query(request, "user")};
    filter->limit = (uint32_t)query_integer(&request->query, "limit", LIST_DEFAULT);
    IJ_TRY(parse_states(request_query(request, "state"), &filter->states, reterr_err));
    IJ_TRY(parse_sort(request_query(request, "sort"), filter, reterr_err));
    const char *parent = request_query(request, "parent");
    if (parent && !submit_parse_id(parent, 'r', &filter->parent))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "parent", "must be an id like r42");
    const char *cursor = request_query(request, "cursor");
    if (cursor && !cursor_decode(cursor, order_of(filter), &filter->after))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "cursor",
                            "must be the next_cursor of an answer with the same sort");
    return IJ_OK;
}

/* ---- Lists of runs ---- */

static json_t *show_runs(const struct run_row_list *list)
{
    json_t *items = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(items, show_run(&list->rows[i]));
    return items;
}

enum ij_status serve_runs_list(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    struct run_row_filter filter;
    struct run_row_list list;
    struct store *store;
    IJ_TRY(parse_filter(request, &filter, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_list(store, &filter, &list, reterr_err));
    json_t *next = json_null();
    if (list.more) {
        char text[CURSOR_MAX];
        cursor_encode(order_of(&filter), &list.next, text);
        next = json_string(text);
        page_link_next(request, reply, "cursor", text);
    }
    json_t *object = json_pack("{s:o, s:o}", "items", show_runs(&list), "next_cursor", next);
    run_row_list_done(&list);
    int64_t total;
    if (query_flag(&request->query, "count")) {
        enum ij_status status = run_row_count(store, &filter, &total, reterr_err);
        if (status != IJ_OK) {
            json_decref(object);
            return status;
        }
        (void)json_object_set_new(object, "total", json_integer(total));
    }
    return reply_take_json(reply, object, reterr_err);
}

/* Waiting runs in the order in which they will start, as the scheduler has it. */
static enum ij_status rank_waiting(const struct api *api, const struct run_row_list *list,
                                   struct scheduler_rank **ret_ranks, size_t *ret_count,
                                   struct ij_err *reterr_err)
{
    struct scheduler_rank *ranks = mem_array(struct scheduler_rank, list->count + 1);
    if (!ranks)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the queue");
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct run_row *row = &list->rows[i];
        if (row->state == RUN_STATE_QUEUED || row->state == RUN_STATE_BACKOFF)
            ranks[count++] =
                (struct scheduler_rank){.id = row->id,
                                        .priority = row->priority,
                                        .queue_pos = row->queue_pos,
                                        .queued_ms = row->queued_ms,
                                        .ages = strncmp(row->reason, "dependency", 10) != 0,
                                        .index = i};
    }
    scheduler_rank(ranks, count, clock_wall_ms(), api->options.priority_age_s * 1000);
    *ret_ranks = ranks;
    *ret_count = count;
    return IJ_OK;
}

enum ij_status serve_runs_queue(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    struct run_row_list list;
    struct store *store;
    mem_auto struct scheduler_rank *ranks = NULL;
    size_t count = 0;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_live(store, &list, reterr_err));
    enum ij_status status = rank_waiting(request->api, &list, &ranks, &count, reterr_err);
    json_t *active = json_array(), *waiting = json_array(), *parked = json_array();
    for (size_t i = 0; i < count && status == IJ_OK; i++)
        (void)json_array_append_new(waiting, show_run(&list.rows[ranks[i].index]));
    for (size_t i = 0; i < list.count && status == IJ_OK; i++) {
        const struct run_row *row = &list.rows[i];
        if (run_state_has_process(row->state))
            (void)json_array_append_new(active, show_run(row));
        else if (row->state == RUN_STATE_HELD || row->state == RUN_STATE_PAUSED)
            (void)json_array_append_new(parked, show_run(row));
    }
    run_row_list_done(&list);
    json_t *object =
        json_pack("{s:o, s:o, s:o}", "active", active, "waiting", waiting, "parked", parked);
    if (status == IJ_OK)
        return reply_take_json(reply, object, reterr_err);
    json_decref(object);
    return status;
}

/* ---- One run ---- */

static bool etag_matches(const char *header, const char *etag)
{
    return header && (strcmp(header, "*") == 0 || strstr(header, etag));
}

enum ij_status serve_runs_reply(struct request *request, int64_t run, struct reply *reply,
                                struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    char etag[48];
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    show_etag(&row, etag);
    json_t *object = show_run(&row);
    run_row_done(&row);
    reply_header(reply, "ETag", "%s", etag);
    return reply_take_json(reply, object, reterr_err);
}

/* A run that has a worker changes without its version: only one at rest is "not modified". */
enum ij_status serve_runs_show(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    char etag[48];
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    show_etag(&row, etag);
    reply_header(reply, "ETag", "%s", etag);
    bool unchanged = !run_state_has_process(row.state) &&
                     etag_matches(request_header(request, "if-none-match"), etag);
    json_t *object = unchanged ? NULL : show_run(&row);
    run_row_done(&row);
    if (unchanged) {
        reply->status = 304;
        return IJ_OK;
    }
    return reply_take_json(reply, object, reterr_err);
}

enum ij_status serve_runs_config(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    struct run_row row, parent = {0};
    struct store *store;
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    bool known = row.parent && run_row_get(store, row.parent, &parent, NULL) == IJ_OK;
    json_t *object = show_config(&row, known ? &parent : NULL);
    run_row_done(&row);
    run_row_done(&parent);
    return reply_take_json(reply, object, reterr_err);
}

/* ---- What belongs to a run ---- */

enum ij_status serve_runs_items(struct reply *reply, json_t *items, struct ij_err *reterr_err)
{
    return reply_take_json(reply, json_pack("{s:o}", "items", items), reterr_err);
}

/* The run must exist, so that a wrong id is told from an empty list. */
static enum ij_status known_run(struct request *request, int64_t *ret_run, struct store **ret_store,
                                struct ij_err *reterr_err)
{
    struct run_row row;
    IJ_TRY(request_id(request, 0, 'r', ret_run, reterr_err));
    IJ_TRY(request_store(request, ret_store, reterr_err));
    IJ_TRY(run_row_get(*ret_store, *ret_run, &row, reterr_err));
    run_row_done(&row);
    return IJ_OK;
}

enum ij_status serve_runs_attempts(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct attempt_row *rows = NULL;
    struct store *store;
    size_t count;
    int64_t run;
    IJ_TRY(known_run(request, &run, &store, reterr_err));
    IJ_TRY(attempt_row_list(store, run, CHILDREN_MAX, &rows, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_attempt(&rows[i]));
    mem_free(rows);
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_runs_results(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    struct result_row_list list;
    struct store *store;
    int64_t run;
    IJ_TRY(known_run(request, &run, &store, reterr_err));
    IJ_TRY(result_row_list(store, run, CHILDREN_MAX, &list, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(items, show_result(&list.rows[i]));
    result_row_list_done(&list);
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_runs_events(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    struct event_row_list list;
    struct store *store;
    int64_t run, after = (int64_t)query_integer(&request->query, "after", 0);
    uint32_t limit = (uint32_t)query_integer(&request->query, "limit", 200);
    IJ_TRY(known_run(request, &run, &store, reterr_err));
    IJ_TRY(event_row_list(store, run, after, limit, &list, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(items, show_event(&list.rows[i]));
    event_row_list_done(&list);
    return serve_runs_items(reply, items, reterr_err);
}
