/* Deletion of runs, with everything failing in turn: what is refused has changed nothing, and the
 * next start finishes what was begun or takes it back. */
#include "tests/unit/daemon_fixture.h"

#include "daemon/queue.h"
#include "daemon/run.h"
#include "daemon/run_erase.h"

TestSuite(run_erase, .init = fixture_open, .fini = fixture_close);

static struct control_reply reply;
static int64_t run, version;

static enum ij_status erase(struct ij_err *ret_err)
{
    const struct control_request request = {
        .verb = CONTROL_DELETE, .run = run, .actor = "ann", .address = "::1"};
    control_reply_done(&reply);
    reply = (struct control_reply){.status = IJ_OK};
    enum ij_status status = run_erase_handle(&daemon_, &request, &reply);
    *ret_err = reply.err;
    return status;
}

static const char *path_of(const char *folder, const char *end)
{
    char name[64];
    snprintf(name, sizeof name, "%s/r%lld%s", folder, (long long)run, end);
    return fixture_path(name);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool has_row(void)
{
    struct run_row row = {0};
    enum ij_status status = run_row_get(daemon_.store, run, &row, NULL);
    run_row_done(&row);
    return status == IJ_OK;
}

static void make_run(void)
{
    fixture_settle();
    run = fixture_run(RUN_STATE_SUCCEEDED);
    OK(file_make_dirs(path_of("runs", "/checkpoints"), 0700, &err));
    OK(file_make_dirs(fixture_path("logs"), 0700, &err));
    OK(file_write_durable(path_of("logs", "-a1.log"), "line\n", 5, 0600, &err));
    version = fixture_version();
}

static void finish(void)
{
    run_erase_finish(&daemon_);
    while (run_erase_some(&daemon_))
        ;
    fixture_settle();
}

/* ---- What is refused ------------------------------------------------------------------------- */

Test(run_erase, what_may_not_go)
{
    make_run();
    struct checkpoint_row row = fixture_checkpoint(run, 4);
    OK(checkpoint_row_set_pinned(daemon_.store, row.id, true, &err));
    GIVES(IJ_CONFLICT, erase(&err));
    cr_expect_not_null(strstr(err.text, "pinned"));
    run = fixture_run(RUN_STATE_HELD);
    GIVES(IJ_CONFLICT, erase(&err));
    cr_expect_not_null(reply.details);
    run = 999;
    GIVES(IJ_NOT_FOUND, erase(&err));
    make_run();
    struct run live = {.daemon = &daemon_, .row = {.id = run}};
    OK(queue_add(&daemon_, &live, &err));
    GIVES(IJ_CONFLICT, erase(&err));
    queue_remove(&daemon_, &live);
    daemon_.erased_count = REAPER_QUEUE_MAX;
    GIVES(IJ_BUSY, erase(&err));
    daemon_.erased_count = 0;
    cr_expect(has_row() && is_there(path_of("runs", "")));
    OK(erase(&err));
    finish();
    cr_expect_not(has_row() || is_there(path_of("runs", "")) ||
                  is_there(path_of("runs", ".deleted")));
    cr_expect_not(is_there(path_of("logs", "-a1.log")));
}

Test(run_erase, one_that_never_had_a_folder)
{
    run = fixture_run(RUN_STATE_CANCELED);
    OK(erase(&err));
    cr_expect(is_there(path_of("runs", ".deleted")), "the deletion is not over");
    finish();
    cr_expect_not(is_there(path_of("runs", ".deleted")));
}

/* ---- Everything fails in turn ---------------------------------------------------------------- */

static void whole_or_gone(enum ij_status status, enum failing_kind kind)
{
    cr_assert(!store_in_transaction(daemon_.store));
    if (status != IJ_OK && !failing_is_vague(kind))
        cr_assert_eq(fixture_version(), version, "%s: %s", failing_names[kind], reply.err.text);
    finish();
    cr_assert_not(is_there(path_of("runs", ".deleted")), "%s", failing_names[kind]);
    cr_assert_eq(is_there(path_of("runs", "")), has_row(), "%s", failing_names[kind]);
    cr_assert_eq(is_there(path_of("logs", "-a1.log")), has_row(), "%s", failing_names[kind]);
    if (!failing_is_vague(kind))
        cr_assert_eq(has_row(), status != IJ_OK);
}

Test(run_erase, deletions_with_everything_failing)
{
    const struct failing_scene scene = {"delete", make_run, erase, whole_or_gone};
    cr_expect_gt(failing_sweep(&scene), 50);
}

/* A folder that a crash has left: of a run that is there, or of one that is not. */
static void left_over(void)
{
    make_run();
    cr_assert_eq(rename(path_of("runs", ""), path_of("runs", ".deleted")), 0);
    if (run % 2)
        OK(run_row_delete(daemon_.store, run, &err));
}

static enum ij_status go_on(struct ij_err *ret_err)
{
    (void)ret_err;
    run_erase_finish(&daemon_);
    while (run_erase_some(&daemon_))
        ;
    return IJ_OK;
}

static void finished_the_next_time(enum ij_status status, enum failing_kind kind)
{
    (void)status;
    fixture_settle();
    finish();
    cr_assert_not(is_there(path_of("runs", ".deleted")), "%s", failing_names[kind]);
    cr_assert_eq(is_there(path_of("runs", "")), has_row(), "%s", failing_names[kind]);
}

Test(run_erase, starts_with_everything_failing)
{
    const struct failing_scene scene = {"finish", left_over, go_on, finished_the_next_time};
    cr_expect_gt(failing_sweep(&scene), 20);
    cr_expect_gt(failing_sweep(&scene), 20); /* the other kind of left-over at each */
}

Test(run_erase, names_that_are_not_of_deleted_runs_stay)
{
    static const char *const names[] = {"runs/r.deleted",
                                        "runs/rx.deleted",
                                        "runs/x1.deleted",
                                        "runs/r1.deleted.old",
                                        "runs/r99999999999999999999999999.deleted",
                                        "runs/r9999999999999999999.deleted"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        OK(file_make_dirs(fixture_path(names[i]), 0700, &err));
    finish();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        cr_expect(is_there(fixture_path(names[i])), "%s", names[i]);
    cr_expect_eq(daemon_.erased_count, 0);
}
