/* Files that cannot be read to their end: every call, allocation and parse in turn fails while what
 * others made is opened and listed. It is refused with a reason, nothing is half read, and the next
 * try works. */
#include "tests/unit/checkpoint_fixture.h"
#include "tests/unit/failing.h"
#include "tests/unit/tar_fixture.h"

#include "daemon/manifest_scan.h"
#include "gpu/data/source.h"
#include "gpu/interop/import.h"
#include "gpu/interop/torch_file.h"
#include "store/backup_set.h"
#include "store/store.h"
#include "store/store_recover.h"

static void open_failing(void)
{
    failing_install();
    fixture_open();
}

TestSuite(failing_reads, .init = open_failing, .fini = fixture_close);

static char directory[128];

static const char *below(const char *name)
{
    snprintf(directory, sizeof directory, "%s/%s", run, name);
    return directory;
}

/* ---- Files of PyTorch ------------------------------------------------------------------------ */

static enum ij_status open_torch(const char *path, struct ij_err *err)
{
    struct torch_file *file = NULL;
    enum ij_status status = torch_file_open(path, &file, err);
    cr_assert_eq(status == IJ_OK, file != NULL);
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
    char *json = NULL;
    const struct engine_import options = {
        .path = "tests/unit/data/official.pth.tar", .directory = below("imported"), .heads = 2};
    enum ij_status status = import_run(&options, &json, err);
    mem_free(json);
    return status;
}

static void not_imported(void)
{
    (void)!file_remove_tree(below("imported"), NULL);
}

static void whole_or_none(enum ij_status status, enum failing_kind kind)
{
    struct checkpoint *checkpoint = NULL;
    (void)kind;
    if (status != IJ_OK)
        return;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(checkpoint_open_newest(below("imported"), &checkpoint, &err), IJ_OK, "%s: %s",
                 failing_names[kind], err.text);
    checkpoint_free(checkpoint);
}

Test(failing_reads, files_of_pytorch)
{
    const struct failing_scene official = {"official", NULL, open_official, NULL};
    const struct failing_scene zip64 = {"zip64", NULL, open_zip64, NULL};
    const struct failing_scene import = {"import", not_imported, import_official, whole_or_none};
    cr_expect_gt(failing_sweep(&official), 20);
    cr_expect_gt(failing_sweep(&zip64), 10);
    cr_expect_gt(failing_sweep(&import), 40);
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static enum ij_status open_newest(struct ij_err *err)
{
    struct checkpoint *checkpoint = NULL;
    enum ij_status status = checkpoint_open_newest(run, &checkpoint, err);
    cr_assert_eq(status == IJ_OK, checkpoint != NULL);
    checkpoint_free(checkpoint);
    return status;
}

static enum ij_status open_all(struct ij_err *err)
{
    struct checkpoint *checkpoint = NULL;
    enum ij_status status = checkpoint_open(below("checkpoints/step-000000000006"),
                                            CHECKPOINT_CHECK_ALL, &checkpoint, err);
    checkpoint_free(checkpoint);
    return status;
}

static enum ij_status verify(struct ij_err *err)
{
    return manifest_scan_verify(below("checkpoints/step-000000000006"), err);
}

static enum ij_status read_manifest(struct ij_err *err)
{
    struct checkpoint_row row;
    return manifest_scan_read(1, below("checkpoints/step-000000000006"), &row, err);
}

static enum ij_status list(struct ij_err *err)
{
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    enum ij_status status = checkpoint_list(run, &steps, &count, err);
    cr_assert(status != IJ_OK || count == 2);
    return status;
}

static void one_more(void)
{
    fixture_write(7);
    cr_assert_eq(file_make_dirs(below("checkpoints/step-000000000009.tmp-1"), 0700, NULL), IJ_OK);
}

static enum ij_status remove_one(struct ij_err *err)
{
    return checkpoint_remove(run, 7, err);
}

static enum ij_status remove_stale(struct ij_err *err)
{
    return checkpoint_remove_stale(run, err);
}

static void others_whole(enum ij_status status, enum failing_kind kind)
{
    (void)status;
    cr_assert_eq(manifest_scan_verify(below("checkpoints/step-000000000005"), NULL), IJ_OK, "%s",
                 failing_names[kind]);
}

Test(failing_reads, checkpoints)
{
    fixture_write(5);
    fixture_write(6);
    const struct failing_scene scenes[] = {{"newest", NULL, open_newest, NULL},
                                           {"all", NULL, open_all, NULL},
                                           {"verify", NULL, verify, NULL},
                                           {"manifest", NULL, read_manifest, NULL},
                                           {"list", NULL, list, NULL},
                                           {"stale", one_more, remove_stale, others_whole},
                                           {"remove", one_more, remove_one, others_whole}};
    for (size_t i = 0; i < COUNT_OF(scenes); i++)
        cr_expect_gt(failing_sweep(&scenes[i]), 0, "%s", scenes[i].what);
}

/* ---- Archives -------------------------------------------------------------------------------- */

static enum ij_status load_shards(struct ij_err *err)
{
    struct source source = {.field = "data"};
    snprintf(source.root, sizeof source.root, "%s", run);
    enum ij_status status = source_tar_load_folder(&source, err);
    cr_assert(status != IJ_OK || source.count == 3);
    source_done(&source);
    return status;
}

Test(failing_reads, archives)
{
    const struct failing_scene scene = {"shards", NULL, load_shards, NULL};
    static struct tar_image tar;
    tar_member(&tar, "a/1.jpg", '0', "not read here");
    tar_member(&tar, "././@LongLink", 'L',
               "a/a-name-of-a-member-that-comes-in-a-header-of-its-own.jpg");
    tar_member(&tar, "short", '0', "x");
    tar_member(&tar, "pax", 'x', "20 path=b/third.jpg\n");
    tar_member(&tar, "third", '0', "y");
    tar_end(&tar);
    fixture_put(below("one.tar"), tar.bytes, tar.size);
    cr_expect_gt(failing_sweep(&scene), 5);
}

/* ---- Backups --------------------------------------------------------------------------------- */

static enum ij_status make(struct ij_err *err)
{
    static int64_t ms = 1700000000000;
    return backup_set_make(run, false, ms += 1000, 0, err);
}

static enum ij_status prune(struct ij_err *err)
{
    return backup_set_prune(run, false, 2, err);
}

static void pruned(void)
{
    cr_assert_eq(backup_set_prune(run, false, 1, NULL), IJ_OK);
}

static void three(void)
{
    pruned();
    struct ij_err err = IJ_ERR_INIT;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(make(&err), IJ_OK, "%s", err.text);
    fixture_put(below("backups/state-20231114T221320000Z.db.partial"), "x", 1);
}

static enum ij_status restore(struct ij_err *err)
{
    struct store_recover done;
    return store_recover(run, false, 1700000000000, &done, err);
}

static void damage(void)
{
    fixture_put(below("state.db"), "rubbish", 7);
}

/* What is there after a failure: the damaged file or the backup, never nothing. */
static void one_is_there(enum ij_status status, enum failing_kind kind)
{
    (void)kind;
    cr_assert(fixture_exists(below("state.db")));
    if (status == IJ_OK)
        cr_assert_eq(store_recover_look(run, false, true, NULL), IJ_OK);
}

static enum ij_status look(struct ij_err *err)
{
    return store_recover_look(run, false, true, err);
}

Test(failing_reads, backups)
{
    struct store *store = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(store_open(run, &store, &err), IJ_OK, "%s", err.text);
    const struct failing_scene scenes[] = {{"make", pruned, make, NULL},
                                           {"prune", three, prune, NULL},
                                           {"look", NULL, look, NULL},
                                           {"restore", damage, restore, one_is_there}};
    for (size_t i = 0; i < COUNT_OF(scenes); i++) {
        if (i == 2) {
            store_close(store);
            three();
        }
        cr_expect_gt(failing_sweep(&scenes[i]), 0, "%s", scenes[i].what);
    }
}
