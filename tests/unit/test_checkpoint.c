/* Checkpoints: round trip, equal bytes, every kind of damage refused by name, interrupted and
 * failed writes leave the old ones intact. */
#include "tests/unit/checkpoint_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

TestSuite(checkpoint, .init = fixture_open, .fini = fixture_close);

static const char *const file_names[] = {"model.safetensors", "optimizer.safetensors",
                                         "state.json"};

Test(checkpoint, round_trip_keeps_everything)
{
    struct checkpoint *checkpoint = NULL;
    struct ij_err err = IJ_ERR_INIT;
    float got[24];
    struct checkpoint_info info = fixture_write(42);
    char expected[CHECKPOINT_PATH_MAX];
    snprintf(expected, sizeof expected, "%s/checkpoints/step-000000000042", run);
    cr_assert_str_eq(info.path, expected);
    cr_assert_eq(info.bytes, file_tree_bytes(expected));
    cr_assert_eq(checkpoint_open(info.path, CHECKPOINT_CHECK_ALL, &checkpoint, &err), IJ_OK, "%s",
                 err.text);
    const struct checkpoint_state *s = checkpoint_get_state(checkpoint);
    cr_assert(s->step == 42 && s->epoch == 3 && s->batch == 17 && s->steps_total == 1000);
    cr_assert(s->steps_per_epoch == 50 && s->images == 42 * 32 && s->seed == UINT64_MAX - 1);
    cr_assert_eq(s->epochs_done, 3.34);
    cr_assert_str_eq(s->parameters, "{\"width\":192,\"lr\":0.001}");
    cr_assert_str_eq(s->trainer, "{\"note\":\"\xc3\xbc\"}");
    cr_assert_str_eq(s->build, "abc-dirty");
    cr_assert_str_eq(s->data, "f00d");
    cr_assert_eq(checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL,
                                     "target_encoder.blocks.0.mlp.fc1.weight", got, 20, &err),
                 IJ_OK);
    cr_assert_arr_eq(got, weights + 4, 20 * sizeof(float));
    cr_assert_eq(checkpoint_read_f32(checkpoint, CHECKPOINT_OPTIMIZER,
                                     "exp_avg.encoder.norm.weight", got, 24, &err),
                 IJ_OK);
    cr_assert_arr_eq(got, moments, sizeof moments);
    cr_assert_eq(
        checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL, "encoder.norm.weight", got, 5, &err),
        IJ_CORRUPT);
    cr_assert_eq(checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL, "absent", got, 5, &err),
                 IJ_CORRUPT);
    cr_assert_str_eq(err.field, "absent");
    const struct checkpoint_info *opened = checkpoint_get_info(checkpoint);
    cr_assert_str_eq(opened->hash, info.hash);
    cr_assert(opened->bytes == info.bytes && opened->step == 42);
    checkpoint_free(checkpoint);
    cr_assert_eq(checkpoint_open(info.path, CHECKPOINT_CHECK_SIZES, &checkpoint, &err), IJ_OK);
    cr_assert_str_eq(checkpoint_get_info(checkpoint)->hash, info.hash);
    checkpoint_free(checkpoint);
}

Test(checkpoint, equal_content_gives_equal_bytes)
{
    struct checkpoint_info first = fixture_write(7);
    char *old[3], path[CHECKPOINT_PATH_MAX + 32];
    size_t sizes[3];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", first.path, file_names[i]);
        cr_assert_eq(file_read(path, 1 << 20, &old[i], &sizes[i], NULL), IJ_OK);
    }
    pid_t child = fork(); /* another process id must not show either */
    if (child == 0) {
        struct checkpoint_info info = fixture_write(7);
        _exit(strcmp(info.hash, first.hash) == 0 ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    for (int i = 0; i < 3; i++) {
        char *text;
        size_t size;
        snprintf(path, sizeof path, "%s/%s", first.path, file_names[i]);
        cr_assert_eq(file_read(path, 1 << 20, &text, &size, NULL), IJ_OK);
        cr_assert_eq(size, sizes[i]);
        cr_assert_arr_eq(text, old[i], size);
        mem_free(text);
        mem_free(old[i]);
    }
}

static void expect_refused(const char *directory, const char *name, const char *what, size_t where)
{
    struct checkpoint *checkpoint = NULL;
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = checkpoint_open(directory, CHECKPOINT_CHECK_ALL, &checkpoint, &err);
    cr_assert_eq(status, IJ_CORRUPT, "%s of %s at %zu: status %d", what, name, where, status);
    cr_assert_str_eq(err.field, name, "%s of %s at %zu blamed \"%s\"", what, name, where,
                     err.field);
    cr_assert_not_null(strstr(err.text, name));
}

/* Flips one bit in place: rewriting the whole file would make the file system flush it each
 * time. */
static void flip_bit(const char *path, size_t bit)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte = (uint8_t)(byte ^ 1 << bit % 8);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

Test(checkpoint, every_bit_flip_is_refused_by_name, .timeout = 120)
{
    struct checkpoint_info info = fixture_write(1);
    for (int i = 0; i < 3; i++) {
        char path[CHECKPOINT_PATH_MAX + 32];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", info.path, file_names[i]);
        cr_assert_eq(stat(path, &st), 0);
        for (size_t bit = 0; bit < (size_t)st.st_size * 8; bit++) {
            flip_bit(path, bit);
            expect_refused(info.path, file_names[i], "bit flip", bit);
            flip_bit(path, bit);
        }
    }
    struct checkpoint *checkpoint = NULL;
    cr_assert_eq(checkpoint_open(info.path, CHECKPOINT_CHECK_ALL, &checkpoint, NULL), IJ_OK,
                 "the repaired checkpoint opens again");
    checkpoint_free(checkpoint);
}

Test(checkpoint, every_truncation_and_a_missing_file_are_refused_by_name)
{
    struct checkpoint_info info = fixture_write(1);
    for (int i = 0; i < 3; i++) {
        char path[CHECKPOINT_PATH_MAX + 32], *text;
        size_t size;
        snprintf(path, sizeof path, "%s/%s", info.path, file_names[i]);
        cr_assert_eq(file_read(path, 1 << 20, &text, &size, NULL), IJ_OK);
        for (size_t n = size; n-- > 0;) {
            cr_assert_eq(truncate(path, (off_t)n), 0);
            expect_refused(info.path, file_names[i], "truncation", n);
        }
        unlink(path);
        expect_refused(info.path, file_names[i], "absence", 0);
        fixture_put(path, text, size);
        mem_free(text);
    }
}

Test(checkpoint, sizes_only_still_finds_truncation)
{
    struct checkpoint_info info = fixture_write(1);
    struct checkpoint *checkpoint = NULL;
    struct ij_err err = IJ_ERR_INIT;
    char path[CHECKPOINT_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/optimizer.safetensors", info.path);
    cr_assert_eq(truncate(path, 100), 0);
    cr_assert_eq(checkpoint_open(info.path, CHECKPOINT_CHECK_SIZES, &checkpoint, &err), IJ_CORRUPT);
    cr_assert_str_eq(err.field, "optimizer.safetensors");
}

static char skipped_path[CHECKPOINT_PATH_MAX], skipped_field[IJ_ERR_FIELD_MAX];
static int skipped_count;
static void note_skipped(void *user, const char *path, const struct ij_err *reason)
{
    (void)user;
    snprintf(skipped_path, sizeof skipped_path, "%s", path);
    snprintf(skipped_field, sizeof skipped_field, "%s", reason->field);
    skipped_count++;
}

static uint64_t newest_step(void)
{
    struct checkpoint *checkpoint = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(checkpoint_find_newest(run, note_skipped, NULL, &checkpoint, &err), IJ_OK, "%s",
                 err.text);
    uint64_t step = checkpoint ? checkpoint_get_state(checkpoint)->step : 0;
    checkpoint_free(checkpoint);
    return step;
}

static void damage(const struct checkpoint_info *info, const char *name)
{
    char path[CHECKPOINT_PATH_MAX + 32], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", info->path, name);
    cr_assert_eq(file_read(path, 1 << 20, &text, &size, NULL), IJ_OK);
    text[size - 4] = (char)(text[size - 4] ^ 1);
    fixture_put(path, text, size);
    mem_free(text);
}

Test(checkpoint, newest_walks_back_over_damage_and_says_so)
{
    cr_assert_eq(newest_step(), 0, "no directory yet");
    fixture_write(5);
    struct checkpoint_info ten = fixture_write(10), twenty = fixture_write(20);
    cr_assert_eq(newest_step(), 20);
    damage(&twenty, "model.safetensors");
    cr_assert_eq(newest_step(), 10);
    cr_assert_eq(skipped_count, 1);
    cr_assert_str_eq(skipped_path, twenty.path);
    cr_assert_str_eq(skipped_field, "model.safetensors");
    damage(&ten, "state.json");
    cr_assert_eq(newest_step(), 5);
    cr_assert_eq(skipped_count, 3);
    fixture_write(20); /* training comes past the damaged one again */
    cr_assert_eq(newest_step(), 20);
    cr_assert_eq(skipped_count, 3);
}

Test(checkpoint, a_renamed_checkpoint_is_not_taken_for_another)
{
    struct checkpoint_info info = fixture_write(5);
    char path[CHECKPOINT_PATH_MAX];
    cr_assert_eq(checkpoint_path(run, 900, path, NULL), IJ_OK);
    cr_assert_eq(rename(info.path, path), 0);
    cr_assert_eq(newest_step(), 0);
    cr_assert_str_eq(skipped_field, "state.json");
}

Test(checkpoint, list_takes_only_exact_names)
{
    uint64_t *steps;
    size_t count;
    char path[CHECKPOINT_PATH_MAX + 64];
    fixture_write(300), fixture_write(2), fixture_write(10);
    const char *const strange[] = {"step-1", "step-00000000000x", "step-000000000004.tmp-1",
                                   "step-0000000000005", "latest"};
    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        snprintf(path, sizeof path, "%s/checkpoints/%s", run, strange[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert_eq(count, 3);
    cr_assert(steps[0] == 2 && steps[1] == 10 && steps[2] == 300);
    mem_free(steps);
    cr_assert_eq(checkpoint_remove(run, 10, NULL), IJ_OK);
    cr_assert_eq(checkpoint_remove(run, 10, NULL), IJ_OK, "gone already, by the daemon say");
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert_eq(count, 2);
    mem_free(steps);
    cr_assert_eq(checkpoint_path(run, 999999999999, path, NULL), IJ_OK);
    cr_assert_eq(checkpoint_path(run, 1000000000000, path, NULL), IJ_INVALID);
}

static enum ij_status die_in_barrier(void *user, uint64_t step, struct ij_err *reterr_err)
{
    (void)user, (void)step, (void)reterr_err;
    raise(SIGKILL);
    return IJ_OK;
}

Test(checkpoint, a_killed_writer_leaves_the_old_one_and_a_stale_directory)
{
    int status;
    struct checkpoint_info old = fixture_write(5);
    pid_t child = fork();
    if (child == 0) {
        const struct checkpoint_barrier barrier = {die_in_barrier, NULL};
        struct checkpoint_content content = fixture_content(6);
        struct checkpoint_info info;
        (void)!checkpoint_write(run, &content, &barrier, &info, NULL);
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    char stale[CHECKPOINT_PATH_MAX];
    snprintf(stale, sizeof stale, "%s/checkpoints/step-000000000006.tmp-%d", run, (int)child);
    cr_assert(fixture_exists(stale));
    cr_assert_eq(newest_step(), 5);
    cr_assert_eq(skipped_count, 0, "an unfinished one is not even looked at");
    cr_assert_eq(checkpoint_remove_stale(run, NULL), IJ_OK);
    cr_assert(!fixture_exists(stale));
    cr_assert(fixture_exists(old.path));
}

/* A failed write leaves no trace and the older checkpoint as it was. */
static void expect_nothing_new(void)
{
    char parent[CHECKPOINT_PATH_MAX];
    uint64_t *steps;
    size_t count;
    snprintf(parent, sizeof parent, "%s/checkpoints", run);
    struct stat st;
    cr_assert_eq(stat(parent, &st), 0);
    cr_assert_eq(st.st_nlink, 3, "one checkpoint directory, no temporary one");
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert(count == 1 && steps[0] == 5);
    mem_free(steps);
    cr_assert_eq(newest_step(), 5);
}

static enum ij_status give_up(void *user, uint64_t step, struct ij_err *reterr_err)
{
    (void)user;
    return IJ_ERR(reterr_err, IJ_STOPPED, "not at step %d", (int)step);
}

Test(checkpoint, failures_leave_no_trace)
{
    struct ij_err err = IJ_ERR_INIT;
    struct checkpoint_info info;
    const struct checkpoint_barrier barrier = {give_up, NULL};
    fixture_write(5);
    struct checkpoint_content content = fixture_content(6);
    cr_assert_eq(checkpoint_write(run, &content, &barrier, &info, &err), IJ_STOPPED);
    cr_assert_str_eq(err.text, "not at step 6");
    expect_nothing_new();
    content = fixture_content(6);
    content.state.parameters = "[]";
    cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "parameters");
    expect_nothing_new();
    content = fixture_content(6);
    for (int i = 0; i < 2; i++) {
        weights[13] = i ? (float)-INFINITY : NAN;
        cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_NONFINITE);
        cr_assert_str_eq(err.field, "target_encoder.blocks.0.mlp.fc1.weight");
        expect_nothing_new();
    }
}

Test(checkpoint, a_file_that_cannot_grow_is_an_error)
{
    struct ij_err err = IJ_ERR_INIT;
    struct checkpoint_info info;
    fixture_write(5);
    struct checkpoint_content content = fixture_content(6);
    struct rlimit limit = {300, 300}; /* less than a section */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_TOO_LARGE);
    expect_nothing_new();
}

Test(checkpoint, a_full_disk_leaves_the_old_one)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", run, "tmpfs", 0, "size=256k") < 0)
        cr_skip_test("cannot mount a small tmpfs: %s", strerror(errno));
    fixture_write(5);
    struct ij_err err = IJ_ERR_INIT;
    struct checkpoint_info info;
    static float large[70000];
    struct checkpoint_content content = fixture_content(6);
    optimizer_tensors[0].shape[0] = COUNT_OF(large);
    optimizer_tensors[0].data = large;
    cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_NO_SPACE, "%s", err.text);
    expect_nothing_new();
    optimizer_tensors[0].shape[0] = COUNT_OF(large) / 2; /* with space again it succeeds */
    cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_OK, "%s", err.text);
    umount2(run, MNT_DETACH);
}

Test(checkpoint, running_out_of_memory_is_an_error)
{
    fixture_write(5);
    enum ij_status status = IJ_NO_MEMORY;
    int failures = 0;
    for (long n = 0; status != IJ_OK && n < 1000; n++) {
        struct checkpoint_content content = fixture_content(6);
        struct checkpoint_info info;
        mem_fail_after(n);
        status = checkpoint_write(run, &content, NULL, &info, NULL);
        mem_fail_after(-1);
        failures += status != IJ_OK;
        if (status != IJ_OK)
            expect_nothing_new();
    }
    cr_assert_eq(status, IJ_OK);
    cr_assert_geq(failures, 5);
    cr_assert_eq(newest_step(), 6);
}
