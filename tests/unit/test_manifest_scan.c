/* Checkpoints by their manifests: a whole one is read, every kind of damage is refused, and other
 * folders are passed over. That the hash is the engine's: tests/e2e/test_backup.py. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "daemon/manifest_scan.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static char root[64], path[256];
static struct ij_err err;

static void put(const char *name, const char *text, size_t size)
{
    char file[512];
    snprintf(file, sizeof file, "%s/%s", path, name);
    cr_assert_eq(file_write_durable(file, text, size, 0600, &err), IJ_OK, "%s", err.text);
}

/* A manifest of `step` with its seal, and the hashes of the two files. */
static void put_manifest_with(const char *step, const char *model, const char *optimizer)
{
    char body[1024], text[1200], hex[HASH_HEX_SIZE];
    uint8_t digest[HASH_SIZE];
    snprintf(body, sizeof body,
             "{\n  \"step\": %s,\n  \"epochs_done\": 1.5,\n  \"files\": {"
             "\"model.safetensors\": {\"bytes\": 5, \"sha256\": \"%s\"}, "
             "\"optimizer.safetensors\": {\"bytes\": 3, \"sha256\": \"%s\"}}",
             step, model, optimizer);
    hash_bytes(body, strlen(body), digest);
    hash_hex(digest, hex);
    snprintf(text, sizeof text, "%s,\n  \"sha256\": \"%s\"\n}\n", body, hex);
    put("state.json", text, strlen(text));
}

static void put_manifest(const char *step)
{
    put_manifest_with(step, ZEROS, ZEROS);
}

static void make(void)
{
    snprintf(root, sizeof root, "/tmp/ijepad-manifest-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/runs/r7/checkpoints/step-000000000042", root);
    cr_assert_eq(file_make_dirs(path, 0700, &err), IJ_OK);
    put("model.safetensors", "abcde", 5);
    put("optimizer.safetensors", "xyz", 3);
    put_manifest("42");
}

static void clean(void)
{
    cr_assert_eq(file_remove_tree(root, &err), IJ_OK);
}

TestSuite(manifest_scan, .init = make, .fini = clean);

Test(manifest_scan, a_whole_one)
{
    struct checkpoint_row row;
    char marker[300];
    cr_assert_eq(manifest_scan_read(7, path, &row, &err), IJ_OK, "%s", err.text);
    cr_assert(row.run == 7 && row.step == 42 && row.epoch == 1.5);
    cr_assert(row.state == CHECKPOINT_ROW_VALID && !row.pinned && row.bytes > 8);
    cr_assert_eq(strlen(row.hash), 64);
    cr_assert_gt(row.created_ms, 0);
    snprintf(marker, sizeof marker, "%s.pinned", path);
    cr_assert_eq(file_write_durable(marker, "", 0, 0600, &err), IJ_OK);
    cr_assert_eq(manifest_scan_read(7, path, &row, &err), IJ_OK);
    cr_assert(row.pinned);
}

static void refuse(const char *what)
{
    struct checkpoint_row row;
    cr_assert_neq(manifest_scan_read(7, path, &row, &err), IJ_OK, "%s", what);
}

Test(manifest_scan, damage_is_refused)
{
    char *text, file[512];
    size_t size;
    snprintf(file, sizeof file, "%s/state.json", path);
    cr_assert_eq(file_read(file, 4096, &text, &size, &err), IJ_OK);
    for (size_t i = 0; i < size; i += 7) {
        text[i] ^= 1;
        put("state.json", text, size);
        refuse("one bit of the manifest");
        text[i] ^= 1;
    }
    put("state.json", text, size - 1);
    refuse("a manifest cut short");
    put("state.json", "", 0);
    refuse("an empty manifest");
    put("state.json", text, size);
    free(text);
    put("model.safetensors", "abcdef", 6);
    refuse("a file of another size");
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    cr_assert_eq(unlink(file), 0);
    refuse("a file that is missing");
    cr_assert_eq(symlink("optimizer.safetensors", file), 0);
    refuse("a link");
    put_manifest("-1");
    refuse("a negative step");
}

/* SHA-256 of "abcde" and "xyz" by sha256sum. */
#define ABCDE "36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8ad2c0c44ca42c"
#define XYZ   "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"

Test(manifest_scan, every_byte_is_verified)
{
    put_manifest_with("42", ABCDE, XYZ);
    cr_assert_eq(manifest_scan_verify(path, &err), IJ_OK, "%s", err.text);
    put("model.safetensors", "abcdE", 5);
    cr_assert_eq(manifest_scan_verify(path, &err), IJ_CORRUPT);
    cr_assert(strstr(err.text, "model.safetensors is damaged"), "%s", err.text);
    put("model.safetensors", "abcde", 5);
    put("optimizer.safetensors", "xy", 2);
    cr_assert_eq(manifest_scan_verify(path, &err), IJ_CORRUPT);
    cr_assert(strstr(err.text, "optimizer.safetensors is damaged"), "%s", err.text);
    char file[512];
    snprintf(file, sizeof file, "%s/optimizer.safetensors", path);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(manifest_scan_verify(path, &err), IJ_CORRUPT);
    cr_assert_eq(file_remove_tree(path, &err), IJ_OK);
    cr_assert_eq(manifest_scan_verify(path, &err), IJ_NOT_FOUND);
}

static int runs, checkpoints;

static enum ij_status on_run(void *user, int64_t run, struct ij_err *reterr_err)
{
    (void)user, (void)reterr_err;
    runs++;
    cr_assert(run == 7 || run == 8);
    return IJ_OK;
}

static enum ij_status on_checkpoint(void *user, int64_t run, const char *found,
                                    struct ij_err *reterr_err)
{
    (void)user, (void)reterr_err;
    checkpoints++;
    cr_assert_eq(run, 7);
    cr_assert_str_eq(found, path);
    return IJ_OK;
}

Test(manifest_scan, only_runs_and_finished_checkpoints)
{
    static const char *const others[] = {"r8",
                                         "r9.deleted",
                                         "x1",
                                         "r0",
                                         "r7/checkpoints/step-1",
                                         "r7/checkpoints/step-000000000042.tmp",
                                         "r7/checkpoints/notes"};
    const struct manifest_scan_visitor visitor = {.run = on_run, .checkpoint = on_checkpoint};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char folder[300];
        snprintf(folder, sizeof folder, "%s/runs/%s", root, others[i]);
        cr_assert_eq(file_make_dirs(folder, 0700, &err), IJ_OK);
    }
    cr_assert_eq(manifest_scan(root, &visitor, &err), IJ_OK, "%s", err.text);
    cr_assert(runs == 2 && checkpoints == 1, "%d runs, %d checkpoints", runs, checkpoints);
    cr_assert_eq(manifest_scan("/nowhere/at/all", &visitor, &err), IJ_OK, "no runs yet");
}
