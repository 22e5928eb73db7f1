/* See manifest_scan.h. The form of state.json is docs/formats.md's; its seal is its last member. */
#include "daemon/manifest_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

#define MANIFEST_MAX (4 * 1024 * 1024)
#define PATH_BYTES   1100
#define SECTIONS     2
#define READ_BYTES   (256 * 1024)
#define SEAL_HEAD    ",\n  \"sha256\": \""
#define SEAL_TAIL    "\"\n}\n"

static const char *const sections[SECTIONS] = {"model.safetensors", "optimizer.safetensors"};

/* ---- One manifest ---------------------------------------------------------------------------- */

static bool from_hex(const char *hex, uint8_t ret_digest[HASH_SIZE])
{
    if (!hex || strlen(hex) != 2 * HASH_SIZE)
        return false;
    for (int i = 0; i < HASH_SIZE; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &ret_digest[i]) != 1)
            return false;
    return true;
}

/* The text before the seal hashes to what the seal says. */
static bool is_sealed(const char *text, size_t size)
{
    size_t tail = strlen(SEAL_HEAD) + 2 * HASH_SIZE + strlen(SEAL_TAIL);
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    if (size <= tail || memcmp(text + size - tail, SEAL_HEAD, strlen(SEAL_HEAD)) != 0)
        return false;
    hash_bytes(text, size - tail, digest);
    hash_hex(digest, hex);
    return memcmp(text + size - tail + strlen(SEAL_HEAD), hex, 2 * HASH_SIZE) == 0;
}

static bool section_fits(const char *path, const json_t *files, int section,
                         uint8_t ret_digest[HASH_SIZE], uint64_t *bytes)
{
    const json_t *file = json_object_get(files, sections[section]);
    json_int_t size = json_integer_value(json_object_get(file, "bytes"));
    char name[PATH_BYTES + 32];
    struct stat st;
    snprintf(name, sizeof(name), "%s/%s", path, sections[section]);
    if (!from_hex(json_string_value(json_object_get(file, "sha256")), ret_digest) ||
        lstat(name, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != size)
        return false;
    *bytes += (uint64_t)size;
    return true;
}

/* The manifest of the checkpoint at `path`, with its text; the caller frees both. */
static enum ij_status read_manifest(const char *path, json_t **ret_state, char **ret_text,
                                    size_t *ret_size, struct ij_err *reterr_err)
{
    char name[PATH_BYTES + 32];
    mem_auto char *text = NULL;
    snprintf(name, sizeof(name), "%s/state.json", path);
    IJ_TRY(file_read(name, MANIFEST_MAX, &text, ret_size, reterr_err));
    *ret_state = is_sealed(text, *ret_size) ? json_loadb(text, *ret_size, 0, NULL) : NULL;
    if (!*ret_state)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "%s is damaged", name);
    *ret_text = MEM_TAKE(text);
    return IJ_OK;
}

static enum ij_status fill(const json_t *state, const char *text, size_t size,
                           struct checkpoint_row *row, struct ij_err *reterr_err)
{
    uint8_t digests[SECTIONS + 1][HASH_SIZE], digest[HASH_SIZE];
    const json_t *files = json_object_get(state, "files"), *step = json_object_get(state, "step");
    bool fits = json_is_integer(step) && json_integer_value(step) >= 0;
    row->step = (uint64_t)json_integer_value(step);
    row->epoch = json_number_value(json_object_get(state, "epochs_done"));
    row->bytes = size;
    for (int i = 0; i < SECTIONS && fits; i++)
        fits = section_fits(row->path, files, i, digests[i], &row->bytes);
    if (!fits)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, row->path,
                            "%s: a file is missing or has not the size that state.json says",
                            row->path);
    hash_bytes(text, size, digests[SECTIONS]);
    hash_bytes(digests, sizeof(digests), digest);
    hash_hex(digest, row->hash);
    return IJ_OK;
}

enum ij_status manifest_scan_read(int64_t run, const char *path, struct checkpoint_row *ret_row,
                                  struct ij_err *reterr_err)
{
    struct checkpoint_row row = {.run = run, .state = CHECKPOINT_ROW_VALID, .score = NAN};
    char name[PATH_BYTES + 32];
    mem_auto char *text = NULL;
    struct stat st;
    size_t size;
    if (strlen(path) >= sizeof(row.path))
        return IJ_ERR(reterr_err, IJ_INVALID, "the path is too long: %s", path);
    snprintf(row.path, sizeof(row.path), "%s", path);
    json_t *state = NULL;
    IJ_TRY(read_manifest(path, &state, &text, &size, reterr_err));
    enum ij_status status = fill(state, text, size, &row, reterr_err);
    json_decref(state);
    IJ_TRY(status);
    snprintf(name, sizeof(name), "%s/state.json", path);
    if (stat(name, &st) == 0)
        row.created_ms = st.st_mtim.tv_sec * 1000LL + st.st_mtim.tv_nsec / 1000000;
    snprintf(name, sizeof(name), "%s.pinned", path);
    row.pinned = access(name, F_OK) == 0;
    *ret_row = row;
    return IJ_OK;
}

/* ---- Every byte of one ----------------------------------------------------------------------- */

/* Reads what the device has, not what the page cache remembers. */
static enum ij_status check_section(const char *path, int section, const json_t *files,
                                    uint8_t *buffer, struct ij_err *reterr_err)
{
    char name[PATH_BYTES + 32];
    uint8_t expected[HASH_SIZE], found[HASH_SIZE];
    struct hash hash;
    ssize_t n;
    const json_t *file = json_object_get(files, sections[section]);
    snprintf(name, sizeof(name), "%s/%s", path, sections[section]);
    fd_auto int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, name, "cannot open %s", name);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    hash_init(&hash);
    while ((n = read(fd, buffer, READ_BYTES)) > 0)
        hash_update(&hash, buffer, (size_t)n);
    if (n < 0)
        return IJ_ERR_SYS(reterr_err, errno, name, "cannot read %s", name);
    hash_final(&hash, found);
    if (!from_hex(json_string_value(json_object_get(file, "sha256")), expected) ||
        memcmp(found, expected, HASH_SIZE) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "%s is damaged", name);
    return IJ_OK;
}

enum ij_status manifest_scan_verify(const char *path, struct ij_err *reterr_err)
{
    mem_auto char *text = NULL;
    mem_auto uint8_t *buffer = mem_array(uint8_t, READ_BYTES);
    json_t *state = NULL;
    size_t size;
    if (!buffer)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read a checkpoint");
    if (strlen(path) >= PATH_BYTES)
        return IJ_ERR(reterr_err, IJ_INVALID, "the path is too long: %s", path);
    if (access(path, F_OK) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    enum ij_status status = read_manifest(path, &state, &text, &size, reterr_err);
    for (int i = 0; i < SECTIONS && status == IJ_OK; i++)
        status = check_section(path, i, json_object_get(state, "files"), buffer, reterr_err);
    json_decref(state);
    if (status == IJ_NOT_FOUND) /* a file of a directory that is there */
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, path, "%s: a file is missing", path);
    return status;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static bool is_step(const char *name)
{
    return strncmp(name, "step-", 5) == 0 && strlen(name) == 17 &&
           strspn(name + 5, "0123456789") == 12;
}

static enum ij_status scan_run(const char *state_dir, int64_t run,
                               const struct manifest_scan_visitor *visitor,
                               struct ij_err *reterr_err)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 300];
    enum ij_status status = visitor->run(visitor->user, run, reterr_err);
    snprintf(folder, sizeof(folder), "%s/runs/r%lld/checkpoints", state_dir, (long long)run);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && status == IJ_OK && (entry = readdir(dir));) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (is_step(entry->d_name))
            status = visitor->checkpoint(visitor->user, run, path, reterr_err);
    }
    if (dir)
        closedir(dir);
    return status;
}

enum ij_status manifest_scan(const char *state_dir, const struct manifest_scan_visitor *visitor,
                             struct ij_err *reterr_err)
{
    char folder[PATH_BYTES];
    enum ij_status status = IJ_OK;
    uint64_t run;
    snprintf(folder, sizeof(folder), "%s/runs", state_dir);
    DIR *dir = opendir(folder);
    if (!dir && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, folder, "cannot read %s", folder);
    for (struct dirent *entry; dir && status == IJ_OK && (entry = readdir(dir));)
        if (entry->d_name[0] == 'r' && text_to_u64(entry->d_name + 1, &run) && run > 0 &&
            run <= INT64_MAX)
            status = scan_run(state_dir, (int64_t)run, visitor, reterr_err);
    if (dir)
        closedir(dir);
    return status;
}
