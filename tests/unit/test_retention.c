/* Pins, deletions of checkpoints and policies, with everything failing in turn: the newest whole
 * checkpoint stays, what is refused has changed nothing, and rows and files agree in the end. */
#include "tests/unit/daemon_fixture.h"

#include "daemon/retention.h"

TestSuite(retention, .init = fixture_open, .fini = fixture_close);

static struct control_reply reply;
static json_t *body;
static int64_t run, version;
static struct checkpoint_row old, newest;

static enum ij_status ask(enum control_verb verb, int64_t checkpoint)
{
    const struct control_request request = {
        .verb = verb, .checkpoint = checkpoint, .body = body, .actor = "ann", .address = "::1"};
    control_reply_done(&reply);
    reply = (struct control_reply){.status = IJ_OK};
    return retention_handle(&daemon_, &request, &reply);
}

static enum ij_status ask_pin(int64_t checkpoint, const char *text)
{
    json_decref(body);
    body = json_loads(text, 0, NULL);
    return ask(CONTROL_CHECKPOINT_PIN, checkpoint);
}

static bool marked(const struct checkpoint_row *row)
{
    char path[1100];
    snprintf(path, sizeof path, "%s.pinned", row->path);
    return access(path, F_OK) == 0;
}

static bool is_there(const struct checkpoint_row *row)
{
    return access(row->path, F_OK) == 0;
}

static void make_two(void)
{
    run = fixture_run(RUN_STATE_SUCCEEDED);
    old = fixture_checkpoint(run, 4);
    newest = fixture_checkpoint(run, 8);
}

static void damage(const struct checkpoint_row *row)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/model.safetensors", row->path);
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    fseek(file, -1, SEEK_END);
    fputc('!', file);
    fclose(file);
}

static int64_t events(const char *type)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM event WHERE type='%s'", type);
    int64_t count;
    OK(db_value(&daemon_.store->state, sql, &count, &err));
    return count;
}

/* ---- What is refused ------------------------------------------------------------------------- */

Test(retention, what_may_not_go)
{
    make_two();
    cr_expect_eq(ask(CONTROL_CHECKPOINT_DELETE, 999), IJ_NOT_FOUND);
    cr_expect_eq(ask(CONTROL_CHECKPOINT_DELETE, newest.id), IJ_CONFLICT);
    cr_expect_eq(ask_pin(old.id, "{\"pinned\": 1}"), IJ_INVALID);
    cr_expect_eq(ask_pin(old.id, "{\"pinned\": true, \"x\": 1}"), IJ_INVALID);
    cr_assert_eq(ask_pin(old.id, "{\"pinned\": true}"), IJ_OK, "%s", reply.err.text);
    cr_expect(marked(&old));
    cr_expect_eq(ask(CONTROL_CHECKPOINT_DELETE, old.id), IJ_CONFLICT);
    cr_assert_eq(ask_pin(old.id, "{\"pinned\": false}"), IJ_OK, "%s", reply.err.text);
    cr_expect_not(marked(&old));
    cr_assert_eq(ask(CONTROL_CHECKPOINT_DELETE, old.id), IJ_OK, "%s", reply.err.text);
    cr_expect_eq(ask(CONTROL_CHECKPOINT_DELETE, old.id), IJ_CONFLICT, "it is going already");
    cr_expect_eq(ask_pin(old.id, "{\"pinned\": true}"), IJ_CONFLICT);
    fixture_settle();
    cr_expect_eq(fixture_state_of(old.id), CHECKPOINT_ROW_GONE);
    cr_expect_not(is_there(&old));
    cr_expect(is_there(&newest));
}

Test(retention, a_full_queue)
{
    struct reaper_job job = {.kind = REAPER_RUN};
    make_two();
    for (int i = 0; i < 3 * REAPER_QUEUE_MAX && reaper_waiting(daemon_.reaper) < REAPER_QUEUE_MAX;
         i++) {
        job.id = i;
        snprintf(job.path, sizeof job.path, "%s/none-%d", daemon_config.state_dir, i);
        if (reaper_submit(daemon_.reaper, &job, &err) == IJ_BUSY)
            break;
    }
    enum ij_status status = ask(CONTROL_CHECKPOINT_DELETE, old.id);
    cr_expect(status == IJ_BUSY || status == IJ_OK, "%s", reply.err.text);
    fixture_settle();
    cr_expect_eq(is_there(&old), status == IJ_BUSY);
}

/* ---- The newest is not what it says ---------------------------------------------------------- */

Test(retention, a_damaged_newest_keeps_the_older_one)
{
    make_two();
    damage(&newest);
    cr_assert_eq(ask(CONTROL_CHECKPOINT_DELETE, old.id), IJ_OK);
    fixture_settle();
    cr_expect_eq(fixture_state_of(old.id), CHECKPOINT_ROW_VALID);
    cr_expect_eq(fixture_state_of(newest.id), CHECKPOINT_ROW_CORRUPT);
    cr_expect(is_there(&old));
    cr_expect_eq(events("run.warning"), 1);
}

Test(retention, a_lost_newest_keeps_the_older_one)
{
    make_two();
    cr_assert_eq(ask(CONTROL_CHECKPOINT_DELETE, old.id), IJ_OK);
    OK(file_remove_tree(newest.path, &err));
    fixture_settle();
    if (is_there(&old)) { /* unless the reaper had read it before it was lost */
        cr_expect_eq(fixture_state_of(old.id), CHECKPOINT_ROW_VALID);
        cr_expect_eq(fixture_state_of(newest.id), CHECKPOINT_ROW_GONE);
    }
}

/* ---- Everything fails in turn ---------------------------------------------------------------- */

static void unchanged_if_refused(enum ij_status status, enum failing_kind kind)
{
    cr_assert(!store_in_transaction(daemon_.store));
    if (status != IJ_OK && !failing_is_vague(kind))
        cr_assert_eq(fixture_version(), version, "%s: %s", failing_names[kind], reply.err.text);
    cr_assert(is_there(&newest));
    cr_assert_eq(fixture_state_of(newest.id), CHECKPOINT_ROW_VALID);
}

static void remember(void)
{
    version = fixture_version();
}

static enum ij_status pin(struct ij_err *ret_err)
{
    enum ij_status status = ask_pin(old.id, "{\"pinned\": true}");
    *ret_err = reply.err;
    return status;
}

static void marked_if_pinned(enum ij_status status, enum failing_kind kind)
{
    struct checkpoint_row row;
    unchanged_if_refused(status, kind);
    OK(checkpoint_row_get(daemon_.store, old.id, &row, &err));
    cr_assert(!row.pinned || marked(&old), "a row that says so and no file that keeps the worker");
    cr_assert_eq(ask_pin(old.id, "{\"pinned\": false}"), IJ_OK, "%s", reply.err.text);
    cr_assert_not(marked(&old));
}

Test(retention, pins_with_everything_failing)
{
    const struct failing_scene scene = {"pin", remember, pin, marked_if_pinned};
    make_two();
    cr_expect_gt(failing_sweep(&scene), 50);
}

static void unpinned(void)
{
    cr_assert_eq(ask_pin(old.id, "{\"pinned\": true}"), IJ_OK, "%s", reply.err.text);
    remember();
}

static enum ij_status unpin(struct ij_err *ret_err)
{
    enum ij_status status = ask_pin(old.id, "{\"pinned\": false}");
    *ret_err = reply.err;
    return status;
}

Test(retention, pins_taken_away_with_everything_failing)
{
    const struct failing_scene scene = {"unpin", unpinned, unpin, unchanged_if_refused};
    make_two();
    cr_expect_gt(failing_sweep(&scene), 50);
}

static void another_two(void)
{
    fixture_settle();
    make_two();
    remember();
}

static enum ij_status delete_old(struct ij_err *ret_err)
{
    enum ij_status status = ask(CONTROL_CHECKPOINT_DELETE, old.id);
    *ret_err = reply.err;
    return status;
}

/* What was to go and could not is made up for by the next start. */
static void gone_if_told(enum ij_status status, enum failing_kind kind)
{
    unchanged_if_refused(status, kind);
    if (status != IJ_OK && !failing_is_vague(kind)) {
        cr_assert_eq(fixture_state_of(old.id), CHECKPOINT_ROW_VALID);
        cr_assert(is_there(&old));
        return;
    }
    retention_finish(&daemon_);
    fixture_settle();
    cr_assert(fixture_state_of(old.id) == CHECKPOINT_ROW_GONE || failing_is_vague(kind));
    cr_assert_eq(is_there(&old), fixture_state_of(old.id) == CHECKPOINT_ROW_VALID);
}

Test(retention, deletions_with_everything_failing)
{
    const struct failing_scene scene = {"delete", another_two, delete_old, gone_if_told};
    cr_expect_gt(failing_sweep(&scene), 50);
}

/* The reaper's news, as if the newest were damaged. Whatever fails, it is not the old one that is
 * lost, and the daemon goes on or ends for the next start to look again. */
static void both_valid(void)
{
    OK(checkpoint_row_set_state(daemon_.store, old.id, CHECKPOINT_ROW_DELETING, &err));
    OK(checkpoint_row_set_state(daemon_.store, newest.id, CHECKPOINT_ROW_VALID, &err));
    remember();
}

static enum ij_status guard(const struct reaper_job *job, struct ij_err *reterr_err)
{
    (void)job;
    (void)reterr_err;
    return IJ_OK;
}

static enum ij_status tell_damage(struct ij_err *ret_err)
{
    const struct reaper_job job = {
        .kind = REAPER_CHECKPOINT, .id = old.id, .witness_id = newest.id, .guard = guard};
    const struct ij_err why = {.code = IJ_CORRUPT, .text = "damaged"};
    (void)ret_err;
    retention_reaped(&daemon_, &job, &why);
    return IJ_OK;
}

static void old_is_kept(enum ij_status status, enum failing_kind kind)
{
    (void)status;
    (void)kind;
    enum checkpoint_row_state is = fixture_state_of(old.id), of = fixture_state_of(newest.id);
    cr_assert(is_there(&old));
    cr_assert((is == CHECKPOINT_ROW_VALID && of == CHECKPOINT_ROW_CORRUPT) ||
                  (is == CHECKPOINT_ROW_DELETING && of == CHECKPOINT_ROW_VALID),
              "half done: %s, %s", checkpoint_row_state_name(is), checkpoint_row_state_name(of));
}

Test(retention, news_with_everything_failing)
{
    const struct failing_scene scene = {"news", both_valid, tell_damage, old_is_kept};
    make_two();
    cr_expect_gt(failing_sweep(&scene), 50);
}

Test(retention, news_of_what_failed)
{
    struct reaper_job job = {.kind = REAPER_CHECKPOINT, .id = 77};
    const struct ij_err why = {.code = IJ_IO, .text = "cannot remove"};
    make_two();
    retention_reaped(&daemon_, &job, NULL); /* its run was deleted meanwhile */
    retention_reaped(&daemon_, &job, &why);
    job.kind = REAPER_RUN;
    retention_reaped(&daemon_, &job, &why);
    retention_reaped(&daemon_, &job, NULL);
    cr_expect_not(daemon_.storage_failed);
    job = (struct reaper_job){.kind = REAPER_CHECKPOINT, .id = old.id};
    failing_arm(FAILING_STEP, 0);
    retention_reaped(&daemon_, &job, NULL);
    cr_expect(failing_disarm());
    cr_expect_neq(daemon_.storage_retry_ms, 0, "it is tried again");
}

/* ---- Policy ---------------------------------------------------------------------------------- */

static struct run_row row_;

static void five_of_a_run(void)
{
    static uint64_t step = 100;
    fixture_settle();
    OK(db_exec(&daemon_.store->state, "DELETE FROM checkpoint", &err)); /* or the list grows */
    run = fixture_run(RUN_STATE_SUCCEEDED);
    for (int i = 0; i < 5; i++)
        newest = fixture_checkpoint(run, step++);
    old = newest;
    run_row_done(&row_);
    OK(run_row_get(daemon_.store, run, &row_, &err));
    remember();
}

static enum ij_status apply(struct ij_err *ret_err)
{
    (void)ret_err;
    retention_apply(&daemon_, &row_, 0);
    return IJ_OK;
}

/* Whatever failed, the next time it is in line: the three newest and nothing else. */
static void in_line_the_next_time(enum ij_status status, enum failing_kind kind)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    unchanged_if_refused(status, kind);
    fixture_settle();
    retention_finish(&daemon_);
    retention_apply(&daemon_, &row_, 0);
    fixture_settle();
    OK(checkpoint_row_list(daemon_.store, run, 1u << CHECKPOINT_ROW_VALID, 0, 10, &rows, &count,
                           &err));
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_assert(is_there(&rows[i]));
}

Test(retention, policies_with_everything_failing)
{
    const struct failing_scene scene = {"apply", five_of_a_run, apply, in_line_the_next_time};
    cr_expect_gt(failing_sweep(&scene), 50);
}

Test(retention, workers_are_told_by_files)
{
    five_of_a_run();
    retention_apply(&daemon_, &row_, 3);
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    OK(checkpoint_row_list(daemon_.store, run, 1u << CHECKPOINT_ROW_VALID, 0, 10, &rows, &count,
                           &err));
    cr_expect_eq(count, 5, "its worker removes them");
    for (size_t i = 0; i < count; i++)
        cr_expect_not(marked(&rows[i]));
    retention_apply(&daemon_, &row_, 1); /* the policy keeps more than the worker would */
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(marked(&rows[i]), i < 3);
    OK(file_remove_tree(rows[4].path, &err));
    retention_apply(&daemon_, &row_, 3);
    cr_expect_eq(fixture_state_of(rows[4].id), CHECKPOINT_ROW_GONE);
}

Test(retention, a_stored_policy_that_cannot_be_read)
{
    struct run_row row = {.id = 3, .retention = "{\"latest\": -1}", .resolved = "{"};
    struct retention_policy policy = retention_policy_of(&row);
    cr_expect_eq(policy.latest, 3);
    row.retention = NULL;
    row.resolved = "{\"keep_checkpoints\": 7}";
    cr_expect_eq(retention_policy_of(&row).latest, 7);
}
