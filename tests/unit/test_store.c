/* The two files: creation, refusal, locking, transactions, readers, corruption. */
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/hash.h"
#include "store/event_row.h"
#include "store/handle.h"
#include "store/schema.h"

TestSuite(store, .init = fixture_open, .fini = fixture_close);

static void hash_file(const char *name, char ret_hex[HASH_HEX_SIZE])
{
    char *data;
    size_t size;
    uint8_t digest[HASH_SIZE];
    OK(file_read(fixture_path(name), 1 << 26, &data, &size, &err));
    hash_bytes(data, size, digest);
    hash_hex(digest, ret_hex);
    mem_free(data);
}

Test(store, creates_private_files_of_the_current_schema)
{
    struct stat st;
    cr_assert_eq(stat(fixture_path("state.db"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(stat(fixture_path("metrics.db"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(stat(fixture_path("metrics.db-wal"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(fixture_value("state.db", "PRAGMA application_id"), 0x494A4550);
    cr_assert_eq(fixture_value("state.db", "PRAGMA user_version"), schema_state.version);
    cr_assert_eq(fixture_value("metrics.db", "PRAGMA application_id"), 0x494A454D);
    cr_assert_eq(fixture_value("metrics.db", "PRAGMA auto_vacuum"), 2);
}

Test(store, makes_the_directory_and_its_parents)
{
    char deep[200];
    struct store *other;
    struct stat st;
    snprintf(deep, sizeof deep, "%s/a/b/state", fixture_dir);
    OK(store_open(deep, &other, &err));
    cr_assert_eq(stat(deep, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    store_close(other);
}

Test(store, both_files_commit_with_full_sync)
{
    int64_t value;
    OK(db_value(&store->state, "PRAGMA synchronous", &value, &err));
    cr_assert_eq(value, 2);
    OK(db_value(&store->metrics, "PRAGMA synchronous", &value, &err));
    cr_assert_eq(value, 2);
    OK(db_value(&store->state, "PRAGMA foreign_keys", &value, &err));
    cr_assert_eq(value, 1);
}

Test(store, a_second_writer_is_refused_and_the_lock_ends_with_the_first)
{
    struct store *second = NULL;
    GIVES(IJ_BUSY, store_open(fixture_dir, &second, &err));
    cr_assert_null(second);
    cr_assert(strstr(err.text, fixture_dir), "%s", err.text);
    store_close(store);
    OK(store_open(fixture_dir, &store, &err));
}

Test(store, rows_survive_reopening)
{
    int64_t id = fixture_run("kept", 1000);
    fixture_reopen();
    struct run_row row;
    OK(run_row_get(store, id, &row, &err));
    cr_assert_str_eq(row.name, "kept");
    run_row_done(&row);
}

Test(store, a_newer_schema_is_refused_and_left_as_it_is)
{
    const char *const files[] = {"state.db", "metrics.db"};
    for (int i = 0; i < 2; i++) {
        char before[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
        store_close(store);
        store = NULL;
        fixture_sql(files[i], "PRAGMA user_version=99");
        hash_file(files[i], before);
        GIVES(IJ_UNSUPPORTED, store_open(fixture_dir, &store, &err));
        cr_assert(strstr(err.text, "99") && strstr(err.text, files[i]), "%s", err.text);
        hash_file(files[i], after);
        cr_assert_str_eq(before, after);
        char back[64];
        snprintf(back, sizeof back, "PRAGMA user_version=%d",
                 i ? schema_metrics.version : schema_state.version);
        fixture_sql(files[i], back);
        OK(store_open(fixture_dir, &store, &err));
    }
}

Test(store, a_foreign_database_is_refused)
{
    store_close(store);
    store = NULL;
    cr_assert_eq(unlink(fixture_path("state.db")), 0);
    fixture_sql("state.db", "CREATE TABLE theirs(a)");
    GIVES(IJ_UNSUPPORTED, store_open(fixture_dir, &store, &err));
    cr_assert(strstr(err.text, "not a state database"), "%s", err.text);
    cr_assert_eq(fixture_value("state.db", "SELECT count(*) FROM theirs"), 0);
}

static void damage(const char *name, off_t from, size_t size)
{
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    int fd = open(fixture_path(name), O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, junk, size, from), (ssize_t)size);
    close(fd);
}

Test(store, a_damaged_header_is_told)
{
    store_close(store);
    store = NULL;
    damage("state.db", 0, 100);
    GIVES(IJ_CORRUPT, store_open(fixture_dir, &store, &err));
    cr_assert(strstr(err.text, "state.db"), "%s", err.text);
}

Test(store, damaged_pages_are_told)
{
    OK(store_begin(store, &err));
    for (int i = 0; i < 300; i++)
        fixture_run("one of many", 1000 + i);
    OK(store_commit(store, &err));
    store_close(store);
    store = NULL;
    int64_t pages = fixture_value("state.db", "PRAGMA page_count");
    for (int64_t page = 1; page < pages; page += 2)
        damage("state.db", page * 4096, 4096);
    GIVES(IJ_CORRUPT, store_open(fixture_dir, &store, &err));
    cr_assert(strstr(err.text, "state.db") && strstr(err.text, "damaged"), "%s", err.text);
}

Test(store, transactions_are_whole)
{
    OK(store_begin(store, &err));
    int64_t id = fixture_run("gone", 1000);
    cr_assert(store_in_transaction(store));
    store_rollback(store);
    cr_assert(!store_in_transaction(store));
    struct run_row row;
    GIVES(IJ_NOT_FOUND, run_row_get(store, id, &row, &err));
    OK(store_begin(store, &err));
    id = fixture_run("kept", 1000);
    OK(store_commit(store, &err));
    OK(run_row_get(store, id, &row, &err));
    run_row_done(&row);
}

/* SQLite rolls back by itself on some failures; later statements must not commit on their own. */
Test(store, after_an_inner_rollback_nothing_more_is_written)
{
    OK(store_begin(store, &err));
    fixture_run("first half", 1000);
    cr_assert_eq(sqlite3_exec(store->state.handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    struct run_row row = {.kind = "pretrain", .slots = 1};
    GIVES(IJ_INTERNAL, run_row_insert(store, &row, &err));
    GIVES(IJ_INTERNAL, store_commit(store, &err));
    cr_assert(!store_in_transaction(store));
    int64_t counts[RUN_STATE_COUNT];
    OK(run_row_count_by_state(store, counts, &err));
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        cr_assert_eq(counts[i], 0);
}

Test(store, a_reader_sees_what_is_committed_and_only_that)
{
    struct store *reader;
    struct run_row row;
    OK(store_reader_open(fixture_dir, &reader, &err));
    OK(store_begin(store, &err));
    int64_t id = fixture_run("pending", 1000);
    GIVES(IJ_NOT_FOUND, run_row_get(reader, id, &row, &err));
    OK(store_commit(store, &err));
    OK(run_row_get(reader, id, &row, &err));
    cr_assert_str_eq(row.name, "pending");
    run_row_done(&row);
    store_close(reader);
}

Test(store, a_reader_cannot_write)
{
    struct store *reader;
    struct run_row row = {.kind = "pretrain", .slots = 1, .queue_pos = 1};
    struct event_row event = {.type = "x"};
    OK(store_reader_open(fixture_dir, &reader, &err));
    GIVES(IJ_FORBIDDEN, run_row_insert(reader, &row, &err));
    GIVES(IJ_FORBIDDEN, event_row_append(reader, &event, &err));
    GIVES(IJ_FORBIDDEN, store_begin(reader, &err));
    cr_assert_neq(sqlite3_exec(reader->metrics.handle, "DELETE FROM frame", NULL, NULL, NULL),
                  SQLITE_OK);
    store_close(reader);
}

Test(store, a_reader_needs_files)
{
    struct store *reader = NULL;
    char nowhere[200];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", fixture_dir);
    GIVES(IJ_NOT_FOUND, store_reader_open(nowhere, &reader, &err));
    cr_assert_null(reader);
}

Test(store, a_long_read_is_cut_off_and_the_reader_goes_on)
{
    struct store *reader;
    OK(store_reader_open(fixture_dir, &reader, &err));
    int64_t value, start = clock_monotonic_ms();
    GIVES(IJ_TIMEOUT, db_value(&reader->state,
                               "WITH RECURSIVE n(i) AS(SELECT 1 UNION ALL SELECT i+1 FROM n"
                               " LIMIT 4000000000) SELECT sum(i) FROM n",
                               &value, &err));
    int64_t took_ms = clock_monotonic_ms() - start;
    cr_assert_geq(took_ms, STORE_READ_LIMIT_MS - 1);
    cr_assert_lt(took_ms, 20 * STORE_READ_LIMIT_MS, "%lld ms", (long long)took_ms);
    OK(db_value(&reader->state, "SELECT 7", &value, &err));
    cr_assert_eq(value, 7);
    store_close(reader);
}

/* What a crash leaves: files with a write-ahead log that nobody closed. */
Test(store, opens_after_a_crash)
{
    store_close(store);
    pid_t child = fork();
    if (child == 0) {
        struct store *theirs;
        struct event_row event = {.type = "written by the child"};
        _exit(store_open(fixture_dir, &theirs, NULL) != IJ_OK ||
              event_row_append(theirs, &event, NULL) != IJ_OK);
    }
    int wait_status;
    cr_assert_eq(waitpid(child, &wait_status, 0), child);
    cr_assert_eq(wait_status, 0);
    cr_assert_eq(access(fixture_path("state.db-wal"), F_OK), 0);
    OK(store_open(fixture_dir, &store, &err));
    struct event_row_list list;
    OK(event_row_list(store, 0, 0, 10, &list, &err));
    cr_assert_eq(list.count, 1);
    event_row_list_done(&list);
}

Test(store, maintenance_moves_the_log_into_the_file)
{
    struct store_facts facts;
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 400; i++) {
        struct run_row row = {.kind = "knn", .slots = 1, .notes = text, .queue_pos = 1};
        OK(run_row_insert(store, &row, &err));
    }
    store_facts(store, &facts);
    uint64_t before = facts.state_bytes;
    cr_assert_gt(facts.wal_bytes, 4u << 20);
    cr_assert_geq(facts.commits, 400);
    OK(store_maintain(store, &err));
    store_facts(store, &facts);
    cr_assert_gt(facts.state_bytes, before + (1u << 20));
    OK(store_check(store, &err));
}

Test(store, the_library_with_the_race_is_known)
{
    struct store_facts facts;
    store_facts(store, &facts);
    cr_assert_str_eq(facts.sqlite_version, sqlite3_libversion());
    int version = sqlite3_libversion_number();
    if (version < 3044006)
        cr_assert(facts.wal_reset_race);
    if (version >= 3051003)
        cr_assert(!facts.wal_reset_race);
}

Test(store, names_that_are_too_long_are_refused)
{
    char name[1200];
    struct store *other = NULL;
    memset(name, 'd', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    GIVES(IJ_INVALID, store_open(name, &other, &err));
    GIVES(IJ_INVALID, store_open("", &other, &err));
}
