/* Failing disks: every write and sync of a scenario fails in turn; a disk that is really full. */
#include "tests/unit/fault_vfs.h"
#include "tests/unit/metric_model.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "store/handle.h"

static const char *const keys[] = {"a", "b"};

static void open_with_faults(void)
{
    fault_install();
    fixture_open();
}

TestSuite(store_fault, .init = open_with_faults, .fini = fixture_close, .timeout = 280);

#define STEPS 12

/* What the writer was told is safe. */
struct promised {
    bool frame[STEPS];
    bool run[STEPS];
};

static bool is_disk_trouble(enum ij_status status)
{
    return status == IJ_NO_SPACE || status == IJ_IO;
}

/* A failure here is told by the commit. */
static void put_and_hope(int64_t stream, uint64_t step)
{
    enum ij_status status =
        metric_store_put(store, stream, step, 1, (float[]){(float)step, 1}, 2, &err);
    cr_assert(status == IJ_OK || is_disk_trouble(status), "%s", err.text);
}

/* Frames in groups of three and a run after each; a failed group is sent again at the end. */
static void scenario(int64_t stream, struct promised *promised)
{
    for (int step = 0; step < STEPS; step++) {
        put_and_hope(stream, (uint64_t)step);
        if (step % 3 != 2)
            continue;
        enum ij_status status = metric_store_commit(store, &err);
        cr_assert(status == IJ_OK || is_disk_trouble(status), "%s", err.text);
        for (int i = step - 2; i <= step; i++)
            promised->frame[i] = status == IJ_OK;
        struct run_row row = {.kind = "knn", .slots = 1, .queue_pos = 1, .created_ms = step};
        status = run_row_insert(store, &row, &err);
        cr_assert(status == IJ_OK || is_disk_trouble(status), "%s", err.text);
        promised->run[step] = status == IJ_OK;
    }
}

static int64_t count_at(struct db *db, const char *sql, int64_t value)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool row;
    OK(db_start(db, sql, &q, &err));
    db_put_int(&q, value);
    OK(db_next(&q, &row, &err));
    return db_int(&q);
}

static void check_promises(const struct promised *promised)
{
    OK(store_check(store, &err));
    for (int step = 0; step < STEPS; step++) {
        int64_t frame = count_at(&store->metrics, "SELECT count(*) FROM frame WHERE step=?", step);
        int64_t run = count_at(&store->state, "SELECT count(*) FROM run WHERE created_ms=?", step);
        cr_assert(frame == 1 || !promised->frame[step], "frame %d was acknowledged and lost", step);
        cr_assert(run == 1 || !promised->run[step], "run %d was acknowledged and lost", step);
    }
}

static void check_summaries(void)
{
    int64_t frames, summed;
    OK(db_value(&store->metrics, "SELECT count(*) FROM frame", &frames, &err));
    OK(db_value(&store->metrics, "SELECT coalesce(sum(n),0) FROM frame_lod WHERE lvl=6", &summed,
                &err));
    cr_assert_eq(frames, summed);
}

/* true: the fault struck. */
static bool fail_at(long n, bool lasting, int code)
{
    struct promised promised = {.frame = {false}};
    int64_t stream;
    fixture_new_dir();
    OK(store_open(fixture_dir, &store, &err));
    OK(metric_store_stream(store, 1, 1, "train", keys, 2, &stream, &err));
    fault_after(n, lasting, code);
    scenario(stream, &promised);
    bool struck = fault.hits > 0;
    fault_after(-1, false, 0);
    fixture_reopen();
    check_promises(&promised);
    check_summaries();
    /* All is sent again: nothing is there twice, nothing is missing. */
    struct promised again;
    scenario(stream, &again);
    OK(store_check(store, &err));
    check_summaries();
    cr_assert_eq(count_at(&store->metrics, "SELECT count(*) FROM frame WHERE step<?", STEPS),
                 STEPS);
    fixture_close();
    return struck;
}

static void fail_each(bool lasting, int code)
{
    long n = 0;
    fixture_close();
    while (fail_at(n, lasting, code))
        n++;
    cr_assert_gt(n, 20, "the scenario has only %ld operations", n);
    fixture_open();
}

Test(store_fault, each_io_fails_once_as_a_full_disk)
{
    fail_each(false, SQLITE_FULL);
}

Test(store_fault, each_io_fails_once_as_a_bad_disk)
{
    fail_each(false, SQLITE_IOERR_WRITE);
}

Test(store_fault, from_each_io_on_the_disk_is_full)
{
    fail_each(true, SQLITE_FULL);
}

Test(store_fault, from_each_io_on_the_disk_is_bad)
{
    fail_each(true, SQLITE_IOERR_WRITE);
}

Test(store_fault, codes_are_told_apart)
{
    int64_t stream;
    struct run_row row = {.kind = "knn", .slots = 1, .queue_pos = 1};
    OK(metric_store_stream(store, 1, 1, "train", keys, 2, &stream, &err));
    fault_after(0, true, SQLITE_FULL);
    GIVES(IJ_NO_SPACE, run_row_insert(store, &row, &err));
    cr_assert(strstr(err.text, "state.db"), "%s", err.text);
    OK(metric_store_put(store, stream, 1, 1, (float[]){0, 0}, 2, &err));
    GIVES(IJ_NO_SPACE, metric_store_commit(store, &err));
    cr_assert(strstr(err.text, "metrics.db"), "%s", err.text);
    fault_after(0, true, SQLITE_IOERR_WRITE);
    GIVES(IJ_IO, run_row_insert(store, &row, &err));
    fault_after(-1, false, 0);
    OK(run_row_insert(store, &row, &err));
    OK(metric_store_commit(store, &err));
}

Test(store_fault, a_backup_that_fails_leaves_nothing_behind)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", fixture_path("copy.db"));
    fixture_run("r", 1);
    for (long n = 0;; n++) {
        fault_after(n, false, SQLITE_FULL);
        enum ij_status status = store_backup(store, false, copy, &err);
        bool struck = fault.hits > 0;
        fault_after(-1, false, 0);
        if (!struck) {
            cr_assert_gt(n, 5);
            OK(status);
            return;
        }
        cr_assert(is_disk_trouble(status) || status == IJ_OK, "%s", err.text);
        cr_assert_eq(access(copy, F_OK) == 0, status == IJ_OK);
        (void)unlink(copy);
    }
}

/* A tmpfs of 1 MiB over the directory, seen by this process only. */
static bool mount_small_disk(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", fixture_dir, "tmpfs", 0, "size=1m,mode=0700") == 0;
}

/* Groups of 20 frames until one is refused; the steps acknowledged. */
static uint64_t fill_disk(int64_t stream, uint64_t from)
{
    for (uint64_t step = from; step < 1000000; step += 20) {
        for (uint64_t i = 0; i < 20; i++)
            put_and_hope(stream, step + i);
        enum ij_status status = metric_store_commit(store, &err);
        if (status != IJ_OK) {
            cr_assert_eq(status, IJ_NO_SPACE, "%s", err.text);
            return step;
        }
    }
    cr_assert_fail("the disk never filled");
    return 0;
}

Test(store_fault, a_full_disk_keeps_what_was_acknowledged_and_recovers_with_space)
{
    int64_t stream;
    store_close(store);
    store = NULL;
    if (!mount_small_disk())
        cr_skip("mounting a small tmpfs is not permitted here: %s", strerror(errno));
    int fd = open(fixture_path("ballast"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(posix_fallocate(fd, 0, 300 * 1024), 0);
    close(fd);
    OK(store_open(fixture_dir, &store, &err));
    OK(metric_store_stream(store, 1, 1, "train", keys, 2, &stream, &err));
    uint64_t acknowledged = fill_disk(stream, 0);
    cr_assert_gt(acknowledged, 0);
    cr_assert_eq(count_at(&store->metrics, "SELECT count(*) FROM frame WHERE stream=?", stream),
                 (int64_t)acknowledged);
    cr_assert_eq(unlink(fixture_path("ballast")), 0);
    for (uint64_t step = acknowledged; step < acknowledged + 20; step++)
        OK(metric_store_put(store, stream, step, 1, (float[]){1, 2}, 2, &err));
    OK(metric_store_commit(store, &err));
    fixture_reopen();
    OK(store_check(store, &err));
    check_summaries();
    cr_assert_eq(count_at(&store->metrics, "SELECT count(*) FROM frame WHERE stream=?", stream),
                 (int64_t)acknowledged + 20);
    store_close(store);
    store = NULL;
    cr_assert_eq(umount(fixture_dir), 0);
}
