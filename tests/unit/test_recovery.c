/* The start with a damaged database, with everything failing in turn: what is restored is told, no
 * start that fails loses the marker or the damaged file, and the next one brings all back. */
#include "tests/unit/daemon_fixture.h"

#include "daemon/condition.h"
#include "daemon/recovery.h"
#include "store/backup_set.h"

TestSuite(recovery, .init = fixture_open, .fini = fixture_close);

static int64_t run;

/* A run and its checkpoint that the backup knows, a checkpoint and a run that it does not. */
static void make_history(void)
{
    run = fixture_run(RUN_STATE_SUCCEEDED);
    (void)fixture_checkpoint(run, 4);
    OK(backup_set_make(fixture_dir, false, 1700000000000, 0, &err));
    (void)fixture_checkpoint(run, 8);
    (void)fixture_checkpoint(fixture_run(RUN_STATE_SUCCEEDED), 8);
    OK(file_make_dirs(fixture_path("runs/r77/checkpoints/step-000000000002"), 0700, &err));
    OK(file_make_dirs(fixture_path("runs/r1/checkpoints/step-000000000002"), 0700, &err));
}

static void write_rubbish(const char *name)
{
    FILE *file = fopen(fixture_path(name), "r+");
    cr_assert_not_null(file);
    fseek(file, 0, SEEK_SET);
    for (int i = 0; i < 512; i++)
        fputs("rubbish ", file);
    fclose(file);
}

/* As main.c does: only the parts that recovery needs. */
static void close_it(void)
{
    daemon_close(&daemon_);
    daemon_ = (struct daemon){.config = daemon_config};
}

static enum ij_status start(struct ij_err *ret_err)
{
    *ret_err = (struct ij_err)IJ_ERR_INIT;
    return daemon_open(&daemon_, &daemon_config, ret_err);
}

static bool is_degraded(void)
{
    struct condition_view view;
    condition_read(daemon_.condition, &view);
    return view.degraded;
}

/* `least`: checkpoints that are found; one whose files cannot be read or parsed is not. */
static void expect_all_back(size_t least)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    cr_assert(is_degraded());
    cr_assert_eq(recovery_refuse(&daemon_, &err), IJ_DEGRADED);
    err = (struct ij_err)IJ_ERR_INIT;
    OK(checkpoint_row_list(daemon_.store, run, 1u << CHECKPOINT_ROW_VALID, 0, 10, &rows, &count,
                           &err));
    cr_assert(count >= least && count <= 2, "%zu: what the backup did not know is found", count);
    cr_assert_gt(fixture_run(RUN_STATE_HELD), 77, "no number is given twice");
}

static enum ij_status acknowledge(struct control_reply *reply)
{
    const struct control_request request = {
        .verb = CONTROL_ACKNOWLEDGE, .actor = "ann", .address = "::1"};
    control_reply_done(reply);
    *reply = (struct control_reply){.status = IJ_OK};
    return recovery_acknowledge(&daemon_, &request, reply);
}

Test(recovery, restores_tells_and_is_acknowledged)
{
    struct control_reply reply = {.status = IJ_OK};
    make_history();
    cr_expect_eq(acknowledge(&reply), IJ_CONFLICT);
    OK(recovery_refuse(&daemon_, &err));
    close_it();
    write_rubbish("state.db");
    OK(start(&err));
    expect_all_back(2);
    close_it();
    OK(start(&err)); /* still degraded */
    cr_expect(is_degraded());
    cr_assert_eq(acknowledge(&reply), IJ_OK, "%s", reply.err.text);
    cr_expect_not(is_degraded());
    cr_expect_neq(access(fixture_path("degraded.json"), F_OK), 0);
    close_it();
    OK(start(&err));
    cr_expect_not(is_degraded());
}

Test(recovery, without_a_backup_nothing_is_touched)
{
    close_it();
    write_rubbish("state.db");
    GIVES(IJ_CORRUPT, start(&err));
    cr_expect_neq(access(fixture_path("degraded.json"), F_OK), 0, "the marker is withdrawn");
    close_it();
    GIVES(IJ_CORRUPT, start(&err));
}

Test(recovery, damaged_metrics_are_begun_anew)
{
    make_history();
    close_it();
    write_rubbish("metrics.db");
    OK(start(&err));
    cr_expect(is_degraded());
    json_t *account = condition_account(daemon_.condition);
    cr_expect_str_eq(json_string_value(json_object_get(
                         json_array_get(json_object_get(account, "files"), 0), "file")),
                     "metrics.db");
    json_decref(account);
}

Test(recovery, an_account_that_cannot_be_read_still_degrades)
{
    close_it();
    OK(file_write_durable(fixture_path("degraded.json"), "{", 1, 0600, &err));
    OK(start(&err));
    cr_expect(is_degraded());
    close_it();
    OK(file_write_durable(fixture_path("degraded.json"), "[1]", 3, 0600, &err));
    OK(start(&err));
    cr_expect(is_degraded());
}

/* ---- Everything fails in turn ---------------------------------------------------------------- */

static void remove_kept(void)
{
    DIR *dir = opendir(fixture_dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strstr(entry->d_name, ".damaged-"))
            (void)unlink(fixture_path(entry->d_name));
    closedir(dir);
}

static void damaged_again(void)
{
    close_it();
    remove_kept();
    (void)unlink(fixture_path("degraded.json"));
    write_rubbish("state.db");
}

/* Of the start only what is about recovery. */
static enum ij_status recover(struct ij_err *ret_err)
{
    IJ_TRY(condition_new(&daemon_.condition, ret_err));
    IJ_TRY(recovery_open(&daemon_, ret_err));
    IJ_TRY(event_bus_new(16, &daemon_.bus, ret_err));
    return recovery_finish(&daemon_, ret_err);
}

static void back_by_the_next_start(enum ij_status status, enum failing_kind kind)
{
    if (status == IJ_OK)
        cr_assert(is_degraded(), "%s: it was restored and nobody is told", failing_names[kind]);
    close_it();
    OK(start(&err));
    bool unread = kind == FAILING_CALL || kind == FAILING_JSON;
    expect_all_back(unread && status == IJ_OK ? 1 : 2);
}

Test(recovery, starts_with_everything_failing)
{
    const struct failing_scene scene = {"recover", damaged_again, recover, back_by_the_next_start};
    make_history();
    cr_expect_gt(failing_sweep(&scene), 50);
}

static void told_before(void)
{
    close_it();
    OK(file_write_durable(fixture_path("degraded.json"), "{\"reason\": \"x\"}", 15, 0600, &err));
}

static void told_if_started(enum ij_status status, enum failing_kind kind)
{
    if (status == IJ_OK)
        cr_assert(is_degraded(), "%s: nobody is told any more", failing_names[kind]);
    close_it();
    OK(start(&err));
    cr_assert(is_degraded());
}

Test(recovery, later_starts_with_everything_failing)
{
    const struct failing_scene scene = {"start", told_before, recover, told_if_started};
    cr_expect_gt(failing_sweep(&scene), 20);
}

static struct control_reply reply;

static void degraded_again(void)
{
    json_t *account = json_pack("{s:s}", "reason", "x");
    condition_set_degraded(daemon_.condition, account);
    json_decref(account);
    OK(file_write_durable(fixture_path("degraded.json"), "{}", 2, 0600, &err));
}

static enum ij_status acknowledge_it(struct ij_err *ret_err)
{
    enum ij_status status = acknowledge(&reply);
    *ret_err = reply.err;
    return status;
}

static void degraded_unless_told(enum ij_status status, enum failing_kind kind)
{
    cr_assert_eq(is_degraded(), status != IJ_OK, "%s", failing_names[kind]);
    if (status == IJ_OK)
        cr_assert_neq(access(fixture_path("degraded.json"), F_OK), 0, "%s", failing_names[kind]);
}

Test(recovery, acknowledgements_with_everything_failing)
{
    const struct failing_scene scene = {"acknowledge", degraded_again, acknowledge_it,
                                        degraded_unless_told};
    cr_expect_gt(failing_sweep(&scene), 20);
}
