/* See queue_move.h. Positions are real numbers, so a move writes one row until the gap is used up;
 * then every run of that priority is numbered anew. */
#include "daemon/queue_move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/daemon.h"
#include "daemon/queue.h"
#include "daemon/submit.h"

#define GAP_MIN 1e-6

enum where { WHERE_TOP, WHERE_BEFORE, WHERE_AFTER };

struct move {
    struct run *run;
    enum where where;
    struct run *other; /* NULL: to the top */
    int32_t priority;
    struct run **line; /* live runs of that priority in order, `run` not among them */
    size_t count, place;
    struct run_row *fresh; /* rows to write: of line[], and at [count] that of `run` */
};

static bool waits(const struct run *run)
{
    enum run_state state = run->row.state;
    return state == RUN_STATE_QUEUED || state == RUN_STATE_HELD || state == RUN_STATE_BACKOFF;
}

static enum ij_status refuse_state(const struct run *run, struct control_reply *reply)
{
    enum control_verb allowed[CONTROL_VERB_COUNT];
    size_t count = run_machine_verbs_allowed(run->row.state, run->row.desired, allowed);
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(names, json_string(control_verb_name(allowed[i])));
    reply->details =
        json_pack("{s:s, s:o}", "state", run_state_name(run->row.state), "allowed", names);
    return IJ_ERR(&reply->err, IJ_CONFLICT, "cannot move r%lld while it is %s",
                  (long long)run->row.id, run_state_name(run->row.state));
}

/* ---- What is asked --------------------------------------------------------------------------- */

static enum ij_status parse_other(struct move *move, const char *pointer, const json_t *value,
                                  struct ij_err *reterr_err)
{
    const char *text = json_string_value(value);
    int64_t id;
    if (!text || !submit_parse_id(text, 'r', &id))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "must be a run like \"r3\"");
    if (id == move->run->row.id)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "a run cannot move past itself");
    move->other = queue_find(move->run->daemon, id);
    if (!move->other || !waits(move->other))
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, pointer, "r%lld does not wait in the queue",
                            (long long)id);
    move->priority = move->other->row.priority;
    return IJ_OK;
}

static enum ij_status parse(struct move *move, const json_t *body, struct ij_err *reterr_err)
{
    const json_t *before = json_object_get(body, "before"), *after = json_object_get(body, "after");
    const json_t *top = json_object_get(body, "top");
    if ((before != NULL) + (after != NULL) + (top != NULL) != 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/top",
                            "exactly one of \"before\", \"after\" and \"top\" is needed");
    move->where = top ? WHERE_TOP : before ? WHERE_BEFORE : WHERE_AFTER;
    if (before)
        return parse_other(move, "/before", before, reterr_err);
    if (after)
        return parse_other(move, "/after", after, reterr_err);
    if (!json_is_true(top))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/top", "must be true");
    return IJ_OK;
}

/* ---- The line -------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right)
{
    const struct run_row *a = &(*(struct run *const *)left)->row;
    const struct run_row *b = &(*(struct run *const *)right)->row;
    if (a->queue_pos != b->queue_pos)
        return a->queue_pos < b->queue_pos ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static enum ij_status make_line(struct move *move, struct ij_err *reterr_err)
{
    const struct daemon *daemon = move->run->daemon;
    move->line = mem_array(struct run *, daemon->run_count);
    move->fresh = mem_array(struct run_row, daemon->run_count + 1);
    if (!move->line || !move->fresh)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to move a run");
    for (size_t i = 0; i < daemon->run_count; i++) {
        struct run *one = daemon->runs[i];
        if (one != move->run && one->row.priority == move->priority &&
            run_state_is_live(one->row.state))
            move->line[move->count++] = one;
    }
    qsort(move->line, move->count, sizeof(struct run *), by_place);
    while (move->where != WHERE_TOP && move->line[move->place] != move->other)
        move->place++;
    move->place += move->where == WHERE_AFTER;
    return IJ_OK;
}

/* Fills the rows that change. */
static void place(struct move *move)
{
    size_t at = move->place, count = move->count;
    struct run_row *mine = &move->fresh[count];
    *mine = move->run->row;
    mine->priority = move->priority;
    double low = at ? move->line[at - 1]->row.queue_pos : 0;
    double high = at < count ? move->line[at]->row.queue_pos : 0;
    if (!count)
        return;
    if (!at)
        mine->queue_pos = high - 1;
    else if (at == count)
        mine->queue_pos = low + 1;
    else
        mine->queue_pos = low + (high - low) / 2;
    if (!at || at == count || high - low >= GAP_MIN)
        return;
    for (size_t i = 0; i < count; i++) {
        move->fresh[i] = move->line[i]->row;
        move->fresh[i].queue_pos = (double)(i + 1 + (i >= at));
    }
    mine->queue_pos = (double)(at + 1);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static enum ij_status write_rows(struct move *move, const struct control_request *request,
                                 json_t *body, int64_t *ret_event, struct ij_err *reterr_err)
{
    struct store *store = move->run->daemon->store;
    for (size_t i = 0; i <= move->count; i++)
        if (move->fresh[i].id)
            IJ_TRY(run_row_update_state(store, &move->fresh[i], clock_wall_ms(), reterr_err));
    IJ_TRY(run_append_event(move->run, "run.changed", body, ret_event, reterr_err));
    return audit_request(store, request, move->run->row.id, reterr_err);
}

static enum ij_status commit(struct move *move, const struct control_request *request,
                             struct ij_err *reterr_err)
{
    struct run *run = move->run;
    struct store *store = run->daemon->store;
    int64_t event_id = 0;
    IJ_TRY(store_begin(store, reterr_err));
    json_t *body = json_pack("{s:o, s:s, s:s, s:i}", "run",
                             json_sprintf("r%lld", (long long)run->row.id), "name", run->row.name,
                             "state", run_state_name(run->row.state), "priority", move->priority);
    enum ij_status status = write_rows(move, request, body, &event_id, reterr_err);
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status == IJ_OK) {
        for (size_t i = 0; i < move->count; i++)
            if (move->fresh[i].id)
                move->line[i]->row = move->fresh[i];
        run->row = move->fresh[move->count];
        event_bus_publish(run->daemon->bus, event_id, run->row.id, "run.changed", body);
    } else {
        store_rollback(store);
    }
    json_decref(body);
    return status;
}

enum ij_status queue_move(struct run *run, const struct control_request *request,
                          struct control_reply *reply)
{
    struct move move = {.run = run, .priority = run->row.priority};
    if (!waits(run))
        return refuse_state(run, reply);
    IJ_TRY(parse(&move, request->body, &reply->err));
    enum ij_status status = make_line(&move, &reply->err);
    if (status == IJ_OK) {
        place(&move);
        status = commit(&move, request, &reply->err);
    }
    mem_free(move.line);
    mem_free(move.fresh);
    return status;
}
