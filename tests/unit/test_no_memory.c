/* Each of our own allocations fails in turn while files from outside are read and checkpoints are
 * kept: IJ_NO_MEMORY, nothing half done, and the next try works. */
#include "tests/unit/checkpoint_fixture.h"

#include "daemon/manifest_scan.h"
#include "gpu/checkpoint/checkpoint_writer.h"
#include "gpu/interop/import.h"
#include "gpu/interop/torch_file.h"
#include "store/backup_set.h"

TestSuite(no_memory, .init = fixture_open, .fini = fixture_close);

#define ALLOCATIONS_MAX 20000

typedef enum ij_status (*action)(struct ij_err *err);

/* Returns how many allocations the call makes. */
static long fail_each(const char *what, action call)
{
    for (long n = 0; n < ALLOCATIONS_MAX; n++) {
        struct ij_err err = IJ_ERR_INIT;
        mem_fail_after(n);
        enum ij_status status = call(&err);
        mem_fail_after(-1);
        if (status == IJ_OK)
            return n;
        cr_assert_eq(status, IJ_NO_MEMORY, "%s, allocation %ld: %s", what, n, err.text);
        cr_assert_neq(err.text[0], '\0');
    }
    cr_assert_fail("%s never succeeds", what);
    return 0;
}

static enum ij_status open_torch(const char *path, struct ij_err *err)
{
    struct torch_file *file = NULL;
    enum ij_status status = torch_file_open(path, &file, err);
    if (status == IJ_OK)
        cr_assert_gt(torch_file_count(file), 0, "%s", path);
    else
        cr_assert_null(file);
    torch_file_free(file);
    return status;
}

static enum ij_status open_official(struct ij_err *err)
{
    return open_torch("tests/unit/data/official.pth.tar", err);
}

static enum ij_status open_zip64(struct ij_err *err)
{
    return open_torch("tests/fuzz/corpus/torch/zip64.pth", err);
}

static enum ij_status import_official(struct ij_err *err)
{
    char directory[128];
    char *json = NULL;
    snprintf(directory, sizeof directory, "%s/imported", run);
    const struct engine_import options = {
        .path = "tests/unit/data/official.pth.tar", .directory = directory, .heads = 2};
    enum ij_status status = import_run(&options, &json, err);
    mem_free(json);
    (void)!file_remove_tree(directory, NULL);
    return status;
}

static enum ij_status write_one(struct ij_err *err)
{
    struct checkpoint_content content = fixture_content(5);
    struct checkpoint_info info;
    return checkpoint_write(run, &content, NULL, &info, err);
}

static enum ij_status open_newest(struct ij_err *err)
{
    struct checkpoint *checkpoint = NULL;
    enum ij_status status = checkpoint_open_newest(run, &checkpoint, err);
    checkpoint_free(checkpoint);
    return status;
}

static enum ij_status list(struct ij_err *err)
{
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    return checkpoint_list(run, &steps, &count, err);
}

static enum ij_status remove_stale(struct ij_err *err)
{
    char path[CHECKPOINT_PATH_MAX];
    snprintf(path, sizeof path, "%s/checkpoints/step-000000000009.tmp-1", run);
    cr_assert_eq(file_make_dirs(path, 0700, NULL), IJ_OK);
    return checkpoint_remove_stale(run, err);
}

static enum ij_status remove_one(struct ij_err *err)
{
    return checkpoint_remove(run, 6, err);
}

static enum ij_status verify(struct ij_err *err)
{
    char path[CHECKPOINT_PATH_MAX];
    cr_assert_eq(checkpoint_path(run, 5, path, NULL), IJ_OK);
    return manifest_scan_verify(path, err);
}

Test(no_memory, files_of_others)
{
    cr_expect_gt(fail_each("official", open_official), 20);
    cr_expect_gt(fail_each("zip64", open_zip64), 5);
    cr_expect_gt(fail_each("import", import_official), 20);
}

Test(no_memory, checkpoints)
{
    cr_expect_gt(fail_each("write", write_one), 0);
    fixture_write(6);
    cr_expect_gt(fail_each("list", list), 0);
    cr_expect_gt(fail_each("open", open_newest), 3);
    cr_expect_gt(fail_each("verify", verify), 1);
    cr_expect_gt(fail_each("stale", remove_stale), 0);
    cr_expect_gt(fail_each("remove", remove_one), 0);
    cr_expect_eq(open_newest(NULL), IJ_OK, "what was not to go is there");
}

/* ---- The writer's thread --------------------------------------------------------------------- */

static struct checkpoint_writer *writer;
static uint64_t next_step = 10;

static enum ij_status submit_and_wait(struct ij_err *err)
{
    struct checkpoint_content content = fixture_content(next_step++);
    IJ_TRY(checkpoint_writer_submit(writer, &content, NULL, err));
    return checkpoint_writer_wait(writer, err);
}

static enum ij_status new_writer(struct ij_err *err)
{
    static const struct engine_sink sink;
    checkpoint_writer_free(writer);
    writer = NULL;
    return checkpoint_writer_new(run, &sink, 2, &writer, err);
}

Test(no_memory, the_writer)
{
    char long_name[ENGINE_PATH_MAX + 8];
    static const struct engine_sink sink;
    struct checkpoint_writer *none = NULL;
    cr_expect_gt(fail_each("new", new_writer), 0);
    cr_expect_gt(fail_each("submit", submit_and_wait), 3);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    cr_expect_eq(checkpoint_writer_new(long_name, &sink, 2, &none, NULL), IJ_INVALID);
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_expect(count >= 1 && count <= 2, "%zu are kept", count);
    checkpoint_writer_free(writer);
}

/* ---- Paths that are too long, names that are taken ------------------------------------------- */

Test(no_memory, paths_that_do_not_fit)
{
    char name[CHECKPOINT_PATH_MAX + 8], path[CHECKPOINT_PATH_MAX];
    struct checkpoint *checkpoint = NULL;
    struct checkpoint_info info;
    struct checkpoint_content content = fixture_content(1);
    struct ij_err err = IJ_ERR_INIT;
    memset(name, 'a', sizeof name - 1);
    name[0] = '/';
    for (size_t length = sizeof name - 1; length > CHECKPOINT_PATH_MAX - 40; length--) {
        name[length] = '\0';
        mem_auto uint64_t *steps = NULL;
        size_t count = 0;
        cr_expect_neq(checkpoint_write(name, &content, NULL, &info, &err), IJ_OK);
        cr_expect_neq(checkpoint_open(name, CHECKPOINT_CHECK_ALL, &checkpoint, &err), IJ_OK);
        cr_expect_neq(checkpoint_open_newest(name, &checkpoint, &err), IJ_OK);
        (void)!checkpoint_path(name, 1, path, &err);
        (void)!checkpoint_list(name, &steps, &count, &err);
        (void)!checkpoint_remove_stale(name, &err);
        (void)!checkpoint_remove(name, 1, &err);
        (void)checkpoint_is_pinned(name, 1);
    }
    cr_expect_neq(manifest_scan_verify(name, &err), IJ_OK);
}

Test(no_memory, what_is_no_checkpoint)
{
    char path[CHECKPOINT_PATH_MAX + 32];
    struct checkpoint *checkpoint = NULL;
    struct ij_err err = IJ_ERR_INIT;
    fixture_write(3);
    cr_expect_eq(checkpoint_open("/nonexistent", CHECKPOINT_CHECK_ALL, &checkpoint, &err),
                 IJ_NOT_FOUND);
    snprintf(path, sizeof path, "%s/checkpoints/step-000000000003/state.json", run);
    cr_expect_neq(checkpoint_open(path, CHECKPOINT_CHECK_ALL, &checkpoint, &err), IJ_OK);
    cr_expect_neq(checkpoint_open_newest(path, &checkpoint, &err), IJ_OK);
    snprintf(path, sizeof path, "%s/empty", run);
    cr_assert_eq(file_make_dirs(path, 0700, NULL), IJ_OK);
    cr_expect_eq(checkpoint_open_newest(path, &checkpoint, &err), IJ_CORRUPT);
    cr_expect_eq(checkpoint_open_newest("/nonexistent", &checkpoint, &err), IJ_NOT_FOUND);
    snprintf(path, sizeof path, "%s/file", run);
    fixture_put(path, "x", 1);
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    cr_expect_neq(checkpoint_list(path, &steps, &count, &err), IJ_OK, "below a file");
    cr_expect_neq(checkpoint_remove_stale(path, &err), IJ_OK);
    cr_expect_neq(checkpoint_remove(path, 3, &err), IJ_OK);
}

/* ---- Backups --------------------------------------------------------------------------------- */

static enum ij_status list_backups(struct ij_err *err)
{
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count = 0;
    return backup_set_list(run, &entries, &count, err);
}

Test(no_memory, lists_of_backups)
{
    char path[512];
    snprintf(path, sizeof path, "%s/backups", run);
    cr_assert_eq(file_make_dirs(path, 0700, NULL), IJ_OK);
    for (int i = 0; i < 70; i++) {
        char name[64];
        snprintf(name, sizeof name, "state-2026010%dT%02d0000000Z.db", 1 + i / 24, i % 24);
        snprintf(path, sizeof path, "%s/backups/%s", run, name);
        fixture_put(path, "x", 1);
    }
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count = 0;
    cr_assert_eq(backup_set_list(run, &entries, &count, NULL), IJ_OK);
    cr_expect_eq(count, 70);
    cr_expect_gt(fail_each("backups", list_backups), 1);
    cr_expect_eq(backup_set_prune(run, false, 3, NULL), IJ_OK);
    mem_free(MEM_TAKE(entries));
    cr_assert_eq(backup_set_list(run, &entries, &count, NULL), IJ_OK);
    cr_expect_eq(count, 3);
}
