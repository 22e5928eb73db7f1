/* Backups: whole, checked, refused where they would overwrite. */
#include "tests/unit/store_fixture.h"

#include <sys/stat.h>

#include "store/metric_store.h"

TestSuite(store_backup, .init = fixture_open, .fini = fixture_close);

Test(store_backup, the_copy_opens_as_a_store)
{
    char copy_dir[200], copy[256];
    struct store *copied;
    struct run_row row;
    struct stat st;
    int64_t id = fixture_run("kept", 1);
    snprintf(copy_dir, sizeof copy_dir, "%s/copy", fixture_dir);
    OK(file_make_dirs(copy_dir, 0700, &err));
    snprintf(copy, sizeof copy, "%s/state.db", copy_dir);
    OK(store_backup(store, false, copy, &err));
    cr_assert_eq(stat(copy, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    snprintf(copy, sizeof copy, "%s/state.db-wal", copy_dir);
    cr_assert_neq(access(copy, F_OK), 0, "the copy is one file");
    snprintf(copy, sizeof copy, "%s/metrics.db", copy_dir);
    OK(store_backup(store, true, copy, &err));
    OK(store_open(copy_dir, &copied, &err));
    OK(run_row_get(copied, id, &row, &err));
    cr_assert_str_eq(row.name, "kept");
    run_row_done(&row);
    store_close(copied);
}

Test(store_backup, a_reader_can_make_one_while_the_writer_writes)
{
    struct store *reader;
    char copy[256];
    snprintf(copy, sizeof copy, "%s", fixture_path("copy.db"));
    fixture_run("committed", 1);
    OK(store_reader_open(fixture_dir, &reader, &err));
    OK(store_begin(store, &err));
    fixture_run("pending", 1);
    OK(store_backup(reader, false, copy, &err));
    OK(store_commit(store, &err));
    store_close(reader);
    cr_assert_eq(fixture_value("copy.db", "SELECT count(*) FROM run"), 1);
}

Test(store_backup, never_over_something_and_never_of_half_a_transaction)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", fixture_path("copy.db"));
    OK(store_begin(store, &err));
    GIVES(IJ_BUSY, store_backup(store, false, copy, &err));
    store_rollback(store);
    OK(store_backup(store, false, copy, &err));
    GIVES(IJ_CONFLICT, store_backup(store, false, copy, &err));
    cr_assert(strstr(err.text, copy), "%s", err.text);
    GIVES(IJ_NOT_FOUND, store_backup(store, false, "/nowhere/at/all.db", &err));
}
