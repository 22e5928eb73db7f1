/* See checkpoint.h: reading, and the set of checkpoints of a run. */
#include "gpu/checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "gpu/checkpoint/checkpoint_file.h"
#include "gpu/checkpoint/checkpoint_state.h"

#define STEP_DIGITS 12
#define STEP_MAX    999999999999ull
#define NAME_PREFIX "step-"

struct checkpoint {
    struct checkpoint_info info;
    struct checkpoint_state state; /* strings owned */
    struct safetensors *sections[CHECKPOINT_SECTION_COUNT];
};

/* ---- Open ------------------------------------------------------------------------------------ */

static enum ij_status read_state(struct checkpoint *checkpoint, const char *path,
                                 struct checkpoint_state_file *ret_files,
                                 uint8_t ret_digest[HASH_SIZE], struct ij_err *reterr_err)
{
    char state_path[CHECKPOINT_PATH_MAX + 32];
    mem_auto char *text = NULL;
    size_t size = 0;
    snprintf(state_path, sizeof state_path, "%s/" CHECKPOINT_STATE_NAME, path);
    enum ij_status status =
        file_read(state_path, CHECKPOINT_STATE_BYTES_MAX, &text, &size, reterr_err);
    if (status == IJ_NOT_FOUND || status == IJ_TOO_LARGE)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, CHECKPOINT_STATE_NAME,
                            "%s is missing or larger than 4 MiB", state_path);
    IJ_TRY(status);
    hash_bytes(text, size, ret_digest);
    IJ_TRY(
        checkpoint_state_decode(text, size, state_path, &checkpoint->state, ret_files, reterr_err));
    checkpoint->info.bytes += size;
    return IJ_OK;
}

/* The digest of a section: from its bytes, or (sizes only) as state.json gives it. */
static enum ij_status check_section(const char *path, const struct checkpoint_state_file *file,
                                    enum checkpoint_check check, uint8_t ret_digest[HASH_SIZE],
                                    struct ij_err *reterr_err)
{
    char found[HASH_HEX_SIZE];
    const char *name = strrchr(path, '/') + 1;
    if (check == CHECKPOINT_CHECK_SIZES) {
        struct stat st;
        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != file->bytes)
            return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name,
                                "%s is missing or has not %" PRIu64 " bytes", path, file->bytes);
        for (int i = 0; i < HASH_SIZE; i++)
            if (sscanf(file->sha256 + 2 * i, "%2hhx", &ret_digest[i]) != 1)
                return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, CHECKPOINT_STATE_NAME,
                                    "the hash of %s is not hexadecimal", path);
        return IJ_OK;
    }
    IJ_TRY(checkpoint_file_hash(path, file->bytes, ret_digest, reterr_err));
    hash_hex(ret_digest, found);
    if (strcmp(found, file->sha256) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "%s does not match its hash", path);
    return IJ_OK;
}

static enum ij_status open_sections(struct checkpoint *checkpoint, const char *path,
                                    enum checkpoint_check check, struct ij_err *reterr_err)
{
    struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT];
    uint8_t digests[CHECKPOINT_SECTION_COUNT + 1][HASH_SIZE];
    IJ_TRY(read_state(checkpoint, path, files, digests[CHECKPOINT_SECTION_COUNT], reterr_err));
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        char section_path[CHECKPOINT_PATH_MAX + 32];
        snprintf(section_path, sizeof section_path, "%s/%s", path,
                 checkpoint_state_section_name((enum checkpoint_section)i));
        IJ_TRY(check_section(section_path, &files[i], check, digests[i], reterr_err));
        IJ_TRY(safetensors_open(section_path, &checkpoint->sections[i], reterr_err));
        checkpoint->info.bytes += files[i].bytes;
    }
    checkpoint_file_combine(digests, checkpoint->info.hash);
    checkpoint->info.step = checkpoint->state.step;
    checkpoint->info.epochs_done = checkpoint->state.epochs_done;
    return IJ_OK;
}

enum ij_status checkpoint_open(const char *path, enum checkpoint_check check,
                               struct checkpoint **ret_checkpoint, struct ij_err *reterr_err)
{
    struct stat st;
    if (strlen(path) >= CHECKPOINT_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "path", "path is too long: %s", path);
    if (stat(path, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open checkpoint %s", path);
    if (!S_ISDIR(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, path, "%s is not a checkpoint directory", path);
    struct checkpoint *checkpoint = mem_new(struct checkpoint);
    if (!checkpoint)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open checkpoint %s", path);
    snprintf(checkpoint->info.path, sizeof checkpoint->info.path, "%s", path);
    enum ij_status status = open_sections(checkpoint, path, check, reterr_err);
    if (status != IJ_OK) {
        checkpoint_free(checkpoint);
        return status;
    }
    *ret_checkpoint = checkpoint;
    return IJ_OK;
}

void checkpoint_free(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++)
        safetensors_free(checkpoint->sections[i]);
    checkpoint_state_done(&checkpoint->state);
    mem_free(checkpoint);
}

const struct checkpoint_state *checkpoint_get_state(const struct checkpoint *checkpoint)
{
    return &checkpoint->state;
}

const struct checkpoint_info *checkpoint_get_info(const struct checkpoint *checkpoint)
{
    return &checkpoint->info;
}

const struct safetensors *checkpoint_get_section(const struct checkpoint *checkpoint,
                                                 enum checkpoint_section section)
{
    IJ_ASSERT(section < CHECKPOINT_SECTION_COUNT);
    return checkpoint->sections[section];
}

enum ij_status checkpoint_read_f32(const struct checkpoint *checkpoint,
                                   enum checkpoint_section section, const char *name,
                                   float *ret_values, uint64_t count, struct ij_err *reterr_err)
{
    const struct safetensors_tensor *tensor =
        safetensors_find(checkpoint_get_section(checkpoint, section), name);
    const char *file = checkpoint_state_section_name(section);
    if (!tensor)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "%s/%s has no tensor \"%.100s\"",
                            checkpoint->info.path, file, name);
    if (tensor->count != count)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name,
                            "%s/%s: tensor \"%.100s\" has %" PRIu64 " values, expected %" PRIu64,
                            checkpoint->info.path, file, name, tensor->count, count);
    return safetensors_copy_f32(tensor, ret_values, count, reterr_err);
}

/* ---- The checkpoints of a run ---------------------------------------------------------------- */

static enum ij_status parent_path(const char *run_directory, char ret_path[CHECKPOINT_PATH_MAX],
                                  struct ij_err *reterr_err)
{
    int n = snprintf(ret_path, CHECKPOINT_PATH_MAX, "%s/checkpoints", run_directory);
    if (n < 0 || n >= CHECKPOINT_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "path is too long: %s",
                            run_directory);
    return IJ_OK;
}

enum ij_status checkpoint_path(const char *run_directory, uint64_t step,
                               char ret_path[CHECKPOINT_PATH_MAX], struct ij_err *reterr_err)
{
    if (step > STEP_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "%" PRIu64 " is more than %llu", step,
                            STEP_MAX);
    int n = snprintf(ret_path, CHECKPOINT_PATH_MAX, "%s/checkpoints/" NAME_PREFIX "%012" PRIu64,
                     run_directory, step);
    if (n < 0 || n >= CHECKPOINT_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "path is too long: %s",
                            run_directory);
    return IJ_OK;
}

/* "step-000000000042" -> 42; false for every other spelling. */
static bool parse_name(const char *name, uint64_t *ret_step)
{
    size_t prefix = strlen(NAME_PREFIX);
    return strncmp(name, NAME_PREFIX, prefix) == 0 && strlen(name) == prefix + STEP_DIGITS &&
           strspn(name + prefix, "0123456789") == STEP_DIGITS &&
           text_to_u64(name + prefix, ret_step);
}

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* NULL without an error: there is no such directory. */
static enum ij_status open_parent(const char *run_directory, DIR **ret_dir,
                                  struct ij_err *reterr_err)
{
    char path[CHECKPOINT_PATH_MAX];
    IJ_TRY(parent_path(run_directory, path, reterr_err));
    *ret_dir = opendir(path); /* close-on-exec */
    if (!*ret_dir && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot list %s", path);
    return IJ_OK;
}

enum ij_status checkpoint_list(const char *run_directory, uint64_t **ret_steps, size_t *ret_count,
                               struct ij_err *reterr_err)
{
    DIR *dir;
    size_t count = 0, capacity = 16;
    IJ_TRY(open_parent(run_directory, &dir, reterr_err));
    uint64_t *steps = mem_array(uint64_t, capacity), step;
    for (struct dirent *entry; steps && dir && (entry = readdir(dir));) {
        if (!parse_name(entry->d_name, &step))
            continue;
        if (count == capacity) {
            uint64_t *grown = mem_grow(steps, capacity *= 2, sizeof *steps);
            if (!grown)
                mem_free(steps);
            if (!(steps = grown))
                break;
        }
        steps[count++] = step;
    }
    if (dir)
        closedir(dir);
    if (!steps)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to list the checkpoints");
    qsort(steps, count, sizeof *steps, compare_steps);
    *ret_steps = steps;
    *ret_count = count;
    return IJ_OK;
}

/* Opens the checkpoint of `step` and makes sure that it is the one its name says. */
static enum ij_status open_step(const char *path, uint64_t step, struct checkpoint **ret_checkpoint,
                                struct ij_err *reterr_err)
{
    struct checkpoint *checkpoint = NULL;
    IJ_TRY(checkpoint_open(path, CHECKPOINT_CHECK_ALL, &checkpoint, reterr_err));
    if (checkpoint->state.step != step) {
        uint64_t found = checkpoint->state.step;
        checkpoint_free(checkpoint);
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, CHECKPOINT_STATE_NAME,
                            "%s holds the checkpoint of step %" PRIu64, path, found);
    }
    *ret_checkpoint = checkpoint;
    return IJ_OK;
}

enum ij_status
checkpoint_find_newest(const char *run_directory,
                       void (*skipped)(void *user, const char *path, const struct ij_err *reason),
                       void *user, struct checkpoint **ret_checkpoint, struct ij_err *reterr_err)
{
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    IJ_TRY(checkpoint_list(run_directory, &steps, &count, reterr_err));
    for (size_t i = count; i-- > 0;) {
        char path[CHECKPOINT_PATH_MAX];
        struct ij_err reason = IJ_ERR_INIT;
        IJ_TRY(checkpoint_path(run_directory, steps[i], path, reterr_err));
        enum ij_status status = open_step(path, steps[i], ret_checkpoint, &reason);
        if (status == IJ_OK)
            return IJ_OK;
        if (status == IJ_NO_MEMORY) { /* says nothing about the checkpoint */
            if (reterr_err)
                *reterr_err = reason;
            return status;
        }
        if (skipped)
            skipped(user, path, &reason);
    }
    *ret_checkpoint = NULL;
    return IJ_OK;
}

enum ij_status checkpoint_open_newest(const char *path, struct checkpoint **ret_checkpoint,
                                      struct ij_err *reterr_err)
{
    struct stat st;
    mem_auto char *inside = mem_printf("%s/checkpoints", path);
    if (!inside)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open %s", path);
    if (stat(inside, &st) < 0)
        return checkpoint_open(path, CHECKPOINT_CHECK_ALL, ret_checkpoint, reterr_err);
    IJ_TRY(checkpoint_find_newest(path, NULL, NULL, ret_checkpoint, reterr_err));
    if (!*ret_checkpoint)
        return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, path, "%s holds no valid checkpoint", path);
    return IJ_OK;
}

static bool is_stale_name(const char *name)
{
    return strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0 && strstr(name, ".tmp-") != NULL;
}

enum ij_status checkpoint_remove_stale(const char *run_directory, struct ij_err *reterr_err)
{
    DIR *dir;
    char parent[CHECKPOINT_PATH_MAX];
    enum ij_status status = IJ_OK;
    IJ_TRY(parent_path(run_directory, parent, reterr_err));
    IJ_TRY(open_parent(run_directory, &dir, reterr_err));
    if (!dir)
        return IJ_OK;
    for (struct dirent *entry; status == IJ_OK && (entry = readdir(dir));) {
        if (!is_stale_name(entry->d_name))
            continue;
        mem_auto char *path = mem_printf("%s/%s", parent, entry->d_name);
        status = path ? file_remove_tree(path, reterr_err)
                      : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to remove %s", entry->d_name);
    }
    closedir(dir);
    return status;
}

bool checkpoint_is_pinned(const char *run_directory, uint64_t step)
{
    char path[CHECKPOINT_PATH_MAX];
    if (checkpoint_path(run_directory, step, path, NULL) != IJ_OK)
        return false;
    mem_auto char *marker = mem_printf("%s.pinned", path);
    return !marker || access(marker, F_OK) == 0;
}

enum ij_status checkpoint_remove(const char *run_directory, uint64_t step,
                                 struct ij_err *reterr_err)
{
    char path[CHECKPOINT_PATH_MAX], parent[CHECKPOINT_PATH_MAX];
    IJ_TRY(checkpoint_path(run_directory, step, path, reterr_err));
    IJ_TRY(parent_path(run_directory, parent, reterr_err));
    mem_auto char *doomed = mem_printf("%s.tmp-removed", path);
    if (!doomed)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to remove %s", path);
    /* Renamed first: a half-removed checkpoint never carries a final name. */
    IJ_TRY(file_remove_tree(doomed, reterr_err));
    if (rename(path, doomed) < 0 && errno != ENOENT) /* somebody else may have been faster */
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot remove %s", path);
    IJ_TRY(file_remove_tree(doomed, reterr_err));
    return file_fsync_dir(parent, reterr_err);
}
