/*
 * See checkpoint.h: the writing half of the protocol, one function per step.
 *
 * Both data files are opened and preallocated before a byte of either is written, so that a full
 * disk is found first. Verification reads through a second descriptor after the pages have been
 * dropped, so that it sees what the device has.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/seed_bug.h"
#include "gpu/checkpoint/checkpoint.h"
#include "gpu/checkpoint/checkpoint_file.h"
#include "gpu/checkpoint/checkpoint_state.h"

struct write_job {
    const struct checkpoint_content *content;
    char parent[CHECKPOINT_PATH_MAX], temporary[CHECKPOINT_PATH_MAX];
    struct safetensors_pair metadata[3];
    char step[24];
    struct {
        char path[CHECKPOINT_PATH_MAX + 32];
        int fd;
        struct safetensors_content tensors;
        struct checkpoint_state_file record;
        uint8_t digest[HASH_SIZE];
    } files[CHECKPOINT_SECTION_COUNT];
    struct checkpoint_info info;
};

static enum ij_status check_finite(const struct safetensors_tensor *tensor,
                                   struct ij_err *reterr_err)
{
    if (tensor->type != SAFETENSORS_F32)
        return IJ_OK;
    uint64_t count = 1;
    for (int i = 0; i < tensor->dims; i++)
        count *= tensor->shape[i];
    const float *values = tensor->data;
    float poison = 0; /* x * 0 is NaN for NaN and infinity, else 0 */
    for (uint64_t i = 0; i < count; i++)
        poison += values[i] * 0.0f;
    if (!isnan(poison))
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_NONFINITE, tensor->name,
                        "tensor \"%.100s\" holds a value that is not finite; it is not saved",
                        tensor->name);
}

static enum ij_status job_init(struct write_job *job, const char *run_directory,
                               const struct checkpoint_content *content, struct ij_err *reterr_err)
{
    uint64_t step = content->state.step;
    *job = (struct write_job){.content = content};
    IJ_TRY(checkpoint_path(run_directory, step, job->info.path, reterr_err));
    snprintf(job->parent, sizeof job->parent, "%s", job->info.path);
    *strrchr(job->parent, '/') = '\0';
    int n =
        snprintf(job->temporary, sizeof job->temporary, "%s.tmp-%d", job->info.path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof job->temporary)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "path is too long: %s",
                            run_directory);
    snprintf(job->step, sizeof job->step, "%" PRIu64, step);
    job->metadata[0] = (struct safetensors_pair){"format", "pt"};
    job->metadata[1] = (struct safetensors_pair){"producer", "ijepad"};
    job->metadata[2] = (struct safetensors_pair){"step", job->step};
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        snprintf(job->files[i].path, sizeof job->files[i].path, "%s/%s", job->temporary,
                 checkpoint_state_section_name((enum checkpoint_section)i));
        job->files[i].fd = -1;
        job->files[i].tensors =
            (struct safetensors_content){content->sections[i].tensors, content->sections[i].count,
                                         job->metadata, COUNT_OF(job->metadata)};
        for (size_t t = 0; t < content->sections[i].count; t++)
            IJ_TRY(check_finite(&content->sections[i].tensors[t], reterr_err));
    }
    return IJ_OK;
}

static enum ij_status make_directories(struct write_job *job, const char *run_directory,
                                       struct ij_err *reterr_err)
{
    IJ_TRY(file_make_dirs(job->parent, 0755, reterr_err));
    IJ_TRY(file_fsync_dir(run_directory, reterr_err)); /* the entry of "checkpoints" */
    IJ_TRY(file_remove_tree(job->temporary, reterr_err));
    if (mkdir(job->temporary, 0755) < 0)
        return IJ_ERR_SYS(reterr_err, errno, job->temporary, "cannot create directory %s",
                          job->temporary);
    return IJ_OK;
}

/* Creates a file of `bytes` bytes whose space is reserved where the file system can do that. */
static enum ij_status create_file(const char *path, uint64_t bytes, int *ret_fd,
                                  struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    if (bytes > 0 && fallocate(fd, 0, 0, (off_t)bytes) < 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot reserve %" PRIu64 " bytes for %s", bytes,
                          path);
    *ret_fd = FD_TAKE(fd);
    return IJ_OK;
}

/* The only fsync of this file: an error is final, whatever it was. */
static enum ij_status sync_and_drop(int fd, const char *path, struct ij_err *reterr_err)
{
    if (!SEED_BUG(NO_FSYNC) && fsync(fd) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot sync %s", path);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: the check works without it */
    return IJ_OK;
}

static enum ij_status verify(const char *path, uint64_t bytes, const uint8_t *digest,
                             struct ij_err *reterr_err)
{
    uint8_t found[HASH_SIZE];
    IJ_TRY(checkpoint_file_hash(path, bytes, found, reterr_err));
    if (memcmp(found, digest, HASH_SIZE) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_IO, path, "%s does not read back as it was written",
                            path);
    return IJ_OK;
}

static enum ij_status write_sections(struct write_job *job, struct ij_err *reterr_err)
{
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        uint64_t *bytes = &job->files[i].record.bytes;
        IJ_TRY(safetensors_file_size(&job->files[i].tensors, bytes, reterr_err));
        IJ_TRY(create_file(job->files[i].path, *bytes, &job->files[i].fd, reterr_err));
    }
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        const char *path = job->files[i].path;
        uint8_t *digest = job->files[i].digest;
        IJ_TRY(
            safetensors_write(job->files[i].fd, path, &job->files[i].tensors, digest, reterr_err));
        IJ_TRY(sync_and_drop(job->files[i].fd, path, reterr_err));
        IJ_TRY(verify(path, job->files[i].record.bytes, digest, reterr_err));
        hash_hex(digest, job->files[i].record.sha256);
        job->info.bytes += job->files[i].record.bytes;
    }
    return IJ_OK;
}

static enum ij_status write_state(struct write_job *job, uint8_t ret_digest[HASH_SIZE],
                                  struct ij_err *reterr_err)
{
    struct checkpoint_state_file records[CHECKPOINT_SECTION_COUNT];
    char path[CHECKPOINT_PATH_MAX + 32];
    mem_auto char *text = NULL;
    size_t size = 0;
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++)
        records[i] = job->files[i].record;
    IJ_TRY(checkpoint_state_encode(&job->content->state, records, &text, &size, reterr_err));
    snprintf(path, sizeof path, "%s/" CHECKPOINT_STATE_NAME, job->temporary);
    fd_auto int fd = -1;
    IJ_TRY(create_file(path, size, &fd, reterr_err));
    IJ_TRY(file_write_all(fd, text, size, path, reterr_err));
    IJ_TRY(sync_and_drop(fd, path, reterr_err));
    hash_bytes(text, size, ret_digest);
    IJ_TRY(verify(path, size, ret_digest, reterr_err));
    job->info.bytes += size;
    return IJ_OK;
}

/* Gives the temporary directory its final name. An older checkpoint of that name (one that could
 * not be read, before a resume) is exchanged in one step where the file system can do that. */
static enum ij_status publish(struct write_job *job, struct ij_err *reterr_err)
{
    if (rename(job->temporary, job->info.path) == 0)
        return SEED_BUG(NO_DIRECTORY_FSYNC) ? IJ_OK : file_fsync_dir(job->parent, reterr_err);
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        return IJ_ERR_SYS(reterr_err, errno, job->info.path, "cannot rename %s", job->temporary);
    if (renameat2(AT_FDCWD, job->temporary, AT_FDCWD, job->info.path, RENAME_EXCHANGE) < 0) {
        char aside[CHECKPOINT_PATH_MAX + 8];
        snprintf(aside, sizeof aside, "%s-old", job->temporary);
        if (rename(job->info.path, aside) < 0 || rename(job->temporary, job->info.path) < 0)
            return IJ_ERR_SYS(reterr_err, errno, job->info.path, "cannot replace %s",
                              job->info.path);
        snprintf(job->temporary, sizeof job->temporary, "%.*s", (int)strlen(aside), aside);
    }
    IJ_TRY(file_fsync_dir(job->parent, reterr_err));
    return file_remove_tree(job->temporary, reterr_err); /* the old one */
}

static enum ij_status run_job(struct write_job *job, const char *run_directory,
                              const struct checkpoint_barrier *barrier, struct ij_err *reterr_err)
{
    uint8_t digests[CHECKPOINT_SECTION_COUNT + 1][HASH_SIZE];
    uint64_t step = job->content->state.step;
    IJ_TRY(make_directories(job, run_directory, reterr_err));
    IJ_TRY(write_sections(job, reterr_err));
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++)
        memcpy(digests[i], job->files[i].digest, HASH_SIZE);
    IJ_TRY(write_state(job, digests[CHECKPOINT_SECTION_COUNT], reterr_err));
    IJ_TRY(file_fsync_dir(job->temporary, reterr_err));
    checkpoint_file_combine(digests, job->info.hash);
    job->info.step = step;
    job->info.epochs_done = job->content->state.epochs_done;
    if (barrier && barrier->call)
        IJ_TRY(barrier->call(barrier->user, step, reterr_err));
    return publish(job, reterr_err);
}

enum ij_status checkpoint_write(const char *run_directory, const struct checkpoint_content *content,
                                const struct checkpoint_barrier *barrier,
                                struct checkpoint_info *ret_info, struct ij_err *reterr_err)
{
    mem_auto struct write_job *job = mem_new(struct write_job);
    if (!job)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to write a checkpoint");
    enum ij_status status = job_init(job, run_directory, content, reterr_err);
    if (status != IJ_OK)
        return status;
    status = run_job(job, run_directory, barrier, reterr_err);
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++)
        if (job->files[i].fd >= 0)
            close(job->files[i].fd);
    if (status != IJ_OK) {
        enum ij_status second = file_remove_tree(job->temporary, NULL);
        (void)second; /* the first error is the one that counts */
        return status;
    }
    *ret_info = job->info;
    return IJ_OK;
}
