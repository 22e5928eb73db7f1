/* A damaged database: what is found, what takes its place, and that nothing is thrown away. */
#include "tests/unit/store_fixture.h"

#include <criterion/logging.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/event_row.h"
#include "store/store_recover.h"

#define RUNS 60

/* A store with RUNS runs, backed up, then one run more; all of it in state.db itself, and
 * closed. */
static void open_and_back_up(void)
{
    char name[80];
    fixture_open();
    for (int i = 0; i < RUNS; i++) {
        snprintf(name, sizeof name, "run-%d-%060d", i, i);
        fixture_run(name, 1);
    }
    OK(backup_set_make(fixture_dir, false, 1795401670000, 0, &err));
    fixture_run("after", 1);
    store_close(store);
    store = NULL;
    fixture_sql("state.db", "PRAGMA wal_checkpoint(TRUNCATE)");
}

TestSuite(store_recover, .init = open_and_back_up, .fini = fixture_close);

static void write_at(const char *name, off_t offset, const void *bytes, size_t size)
{
    int fd = open(fixture_path(name), O_WRONLY);
    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, bytes, size, offset), (ssize_t)size);
    close(fd);
}

static char *read_file(const char *name, size_t *ret_size)
{
    char *data;
    OK(file_read(fixture_path(name), 1 << 26, &data, ret_size, &err));
    return data;
}

static void check_restored(const struct store_recover *done)
{
    cr_assert_str_eq(done->restored, "state-20261123T024110000Z.db");
    cr_assert_eq(done->restored_ms, 1795401670000);
    OK(store_open(fixture_dir, &store, &err));
    cr_assert_eq(fixture_value("state.db", "SELECT count(*) FROM run"), RUNS);
    store_close(store);
    store = NULL;
}

Test(store_recover, the_bad_file_is_kept_and_the_backup_takes_its_place)
{
    struct store_recover done;
    size_t before_size, after_size;
    OK(store_recover_look(fixture_dir, false, true, &err));
    write_at("state.db", 0, "no database now", 15);
    GIVES(IJ_CORRUPT, store_recover_look(fixture_dir, false, true, &err));
    GIVES(IJ_CORRUPT, store_open(fixture_dir, &store, &err));
    char *before = read_file("state.db", &before_size);
    OK(store_recover(fixture_dir, false, 42, &done, &err));
    cr_assert_str_eq(done.damaged, "state.db.damaged-42");
    char *after = read_file(done.damaged, &after_size);
    cr_assert(before_size == after_size && memcmp(before, after, after_size) == 0);
    mem_free(before);
    mem_free(after);
    check_restored(&done);
}

/* One page's worth of rubbish, or a few flipped bytes, anywhere. Either nobody notices and every
 * row is readable, or the backup comes back; nothing crashes and nothing is lost. */
Test(store_recover, damage_at_any_offset, .timeout = 120)
{
    size_t size, restored = 0, unnoticed = 0, refused = 0;
    char *whole = read_file("state.db", &size), junk[4096];
    memset(junk, 0x5a, sizeof junk);
    for (size_t offset = 0; offset < size; offset += offset < 4096 ? 37 : 1531) {
        size_t length = offset % 2 ? 64 : offset % 3 ? 5 : 4096;
        length = offset + length > size ? size - offset : length;
        struct store_recover done;
        (void)unlink(fixture_path("state.db"));
        (void)unlink(fixture_path("state.db-wal"));
        (void)unlink(fixture_path("state.db-shm"));
        OK(file_write_durable(fixture_path("state.db"), whole, size, 0600, &err));
        write_at("state.db", (off_t)offset, junk, length);
        enum ij_status status = store_recover_look(fixture_dir, false, true, &err);
        if (status == IJ_CORRUPT) {
            OK(store_recover(fixture_dir, false, (int64_t)offset + 1, &done, &err));
            check_restored(&done);
            restored++;
        } else if (status == IJ_UNSUPPORTED) { /* the numbers in its head make it another's file */
            cr_assert_lt(offset, 100);
            refused++;
        } else {
            cr_assert_eq(status, IJ_OK, "offset %zu: %s", offset, err.text);
            unnoticed++;
        }
    }
    mem_free(whole);
    cr_log_info("%zu restored, %zu unnoticed, %zu refused", restored, unnoticed, refused);
    cr_assert_gt(restored, 20);
}

Test(store_recover, every_truncation_is_noticed)
{
    size_t size;
    char *whole = read_file("state.db", &size);
    for (size_t length = 1; length < size; length += 4096 * 3 + 100) {
        struct store_recover done;
        OK(file_write_durable(fixture_path("state.db"), whole, length, 0600, &err));
        cr_assert_eq(store_recover_look(fixture_dir, false, true, &err), IJ_CORRUPT, "%zu of %zu",
                     length, size);
        OK(store_recover(fixture_dir, false, (int64_t)length, &done, &err));
        check_restored(&done);
    }
    mem_free(whole);
}

Test(store_recover, a_log_beside_the_damaged_file_is_not_played_into_the_backup)
{
    struct store_recover done;
    OK(store_open(fixture_dir, &store, &err));
    int64_t late = fixture_run("only in the log", 1);
    size_t size;
    char *log = read_file("state.db-wal", &size);
    cr_assert_gt(size, 0);
    store_close(store);
    store = NULL;
    OK(file_write_durable(fixture_path("state.db-wal"), log, size, 0600, &err));
    write_at("state.db", 0, "no database now", 15);
    OK(store_recover(fixture_dir, false, 7, &done, &err));
    cr_assert_eq(access(fixture_path("state.db.damaged-7-wal"), F_OK), 0, "it is kept as well");
    check_restored(&done);
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM run WHERE id=%lld", (long long)late);
    cr_assert_eq(fixture_value("state.db", sql), 0);
    mem_free(log);
}

Test(store_recover, a_damaged_backup_is_passed_over)
{
    struct store_recover done;
    OK(store_open(fixture_dir, &store, &err));
    OK(backup_set_make(fixture_dir, false, 1795401680000, 0, &err));
    store_close(store);
    store = NULL;
    write_at("backups/state-20261123T024120000Z.db", 4096, "rubbish rubbish rubbish", 23);
    write_at("state.db", 4096, "rubbish rubbish rubbish", 23);
    OK(store_recover(fixture_dir, false, 7, &done, &err));
    check_restored(&done);
}

Test(store_recover, without_a_backup_everything_stays)
{
    struct store_recover done;
    size_t before_size, after_size;
    OK(backup_set_prune(fixture_dir, false, 0, &err));
    write_at("state.db", 4096, "rubbish rubbish rubbish", 23);
    char *before = read_file("state.db", &before_size);
    GIVES(IJ_CORRUPT, store_recover(fixture_dir, false, 7, &done, &err));
    cr_assert(strstr(err.text, "no backup"), "%s", err.text);
    char *after = read_file("state.db", &after_size);
    cr_assert(before_size == after_size && memcmp(before, after, after_size) == 0);
    cr_assert_neq(access(fixture_path("state.db.damaged-7"), F_OK), 0);
    mem_free(before);
    mem_free(after);
}

Test(store_recover, metrics_without_a_backup_begin_anew)
{
    struct store_recover done;
    write_at("metrics.db", 0, "no database now", 15);
    GIVES(IJ_CORRUPT, store_recover_look(fixture_dir, true, false, &err));
    OK(store_recover(fixture_dir, true, 7, &done, &err));
    cr_assert_str_eq(done.restored, "");
    OK(store_open(fixture_dir, &store, &err));
    cr_assert_eq(fixture_value("metrics.db", "SELECT count(*) FROM stream"), 0);
    cr_assert_eq(access(fixture_path("metrics.db.damaged-7"), F_OK), 0);
}

Test(store_recover, no_number_is_given_twice)
{
    OK(store_open(fixture_dir, &store, &err));
    int64_t last = fixture_value("state.db", "SELECT max(id) FROM run");
    OK(store_recover_raise_runs(store, last + 41, &err));
    cr_assert_eq(fixture_run("next", 1), last + 42);
    OK(store_recover_raise_runs(store, 1, &err));
    OK(store_recover_raise(store, &err));
    cr_assert_eq(fixture_run("and next", 1), last + 43, "never back");
    int64_t run;
    OK(store_recover_last_run(store, &run, &err));
    cr_assert_eq(run, 0);
    struct event_row event = {.type = "run.state", .body = "{}"};
    OK(event_row_append(store, &event, &err));
    cr_assert_gt(event.id, 10000, "also where there was none before");
}
