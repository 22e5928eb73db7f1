/* See file.h. A failed fsync is never retried: the kernel may have dropped the pages. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

enum ij_status file_read(const char *path, size_t max, char **ret_data, size_t *ret_size,
                         struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, path, "%s is not a regular file", path);
    if ((uint64_t)st.st_size > max)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, path, "%s has %lld bytes, more than %zu",
                            path, (long long)st.st_size, max);
    size_t size = (size_t)st.st_size, used = 0;
    mem_auto char *data = mem_alloc_zero(size + 1, 1);
    if (!data)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", path);
    while (used < size) {
        ssize_t n = read(fd, data + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot read %s", path);
        if (n == 0)
            break; /* it shrank while we read */
        used += (size_t)n;
    }
    data[used] = '\0';
    *ret_size = used;
    *ret_data = MEM_TAKE(data);
    return IJ_OK;
}

enum ij_status file_write_all(int fd, const void *data, size_t size, const char *path,
                              struct ij_err *reterr_err)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot write %s", path);
        p += n;
        size -= (size_t)n;
    }
    return IJ_OK;
}

enum ij_status file_fsync_dir(const char *directory, struct ij_err *reterr_err)
{
    fd_auto int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return IJ_ERR_SYS(reterr_err, errno, directory, "cannot sync directory %s", directory);
    return IJ_OK;
}

static enum ij_status write_and_sync(const char *path, const void *data, size_t size, int mode,
                                     struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    IJ_TRY(file_write_all(fd, data, size, path, reterr_err));
    if (fsync(fd) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot sync %s", path);
    return IJ_OK;
}

enum ij_status file_write_durable(const char *path, const void *data, size_t size, int mode,
                                  struct ij_err *reterr_err)
{
    char temporary[PATH_MAX], directory[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.tmp-%d", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "path", "path is too long: %s", path);
    enum ij_status status = write_and_sync(temporary, data, size, mode, reterr_err);
    if (status == IJ_OK && rename(temporary, path) < 0)
        status = IJ_ERR_SYS(reterr_err, errno, path, "cannot rename %s to %s", temporary, path);
    if (status != IJ_OK) {
        (void)unlink(temporary);
        return status;
    }
    snprintf(directory, sizeof directory, "%s", path);
    return file_fsync_dir(dirname(directory), reterr_err);
}

enum ij_status file_make_dirs(const char *path, int mode, struct ij_err *reterr_err)
{
    char partial[PATH_MAX];
    int n = snprintf(partial, sizeof partial, "%s", path);
    if (n <= 0 || (size_t)n >= sizeof partial)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "path", "path is empty or too long: %s", path);
    for (char *slash = partial + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char kept = *slash;
        *slash = '\0';
        if (mkdir(partial, (mode_t)mode) < 0 && errno != EEXIST)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot create directory %s", partial);
        *slash = kept;
        if (kept == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, path, "%s is not a directory", path);
    return IJ_OK;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int remove_entry(int parent, const char *name, int depth);

static int remove_children(int fd, int depth)
{
    DIR *dir = fdopendir(fd); /* takes fd */
    if (!dir) {
        close(fd);
        return -1;
    }
    int result = 0;
    for (struct dirent *e; result == 0 && (e = readdir(dir));)
        if (!is_dot(e->d_name))
            result = remove_entry(dirfd(dir), e->d_name, depth + 1);
    int saved = errno;
    closedir(dir);
    errno = saved;
    return result;
}

static int remove_entry(int parent, const char *name, int depth)
{
    if (depth > 64) {
        errno = ELOOP;
        return -1;
    }
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || remove_children(fd, depth) < 0)
        return -1;
    return unlinkat(parent, name, AT_REMOVEDIR);
}

enum ij_status file_remove_tree(const char *path, struct ij_err *reterr_err)
{
    if (remove_entry(AT_FDCWD, path, 0) < 0 && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot remove %s", path);
    return IJ_OK;
}

static uint64_t tree_bytes_at(int parent, const char *name, int depth)
{
    struct stat st;
    if (depth > 64 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return (uint64_t)st.st_size;
    if (!S_ISDIR(st.st_mode))
        return 0;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    uint64_t sum = 0;
    for (struct dirent *e; (e = readdir(dir));)
        if (!is_dot(e->d_name))
            sum += tree_bytes_at(dirfd(dir), e->d_name, depth + 1);
    closedir(dir);
    return sum;
}

uint64_t file_tree_bytes(const char *path)
{
    return tree_bytes_at(AT_FDCWD, path, 0);
}

uint64_t file_free_bytes(const char *path)
{
    struct statvfs s;
    return statvfs(path, &s) < 0 ? 0 : (uint64_t)s.f_bavail * s.f_frsize;
}

uint64_t file_disk_bytes(const char *path)
{
    struct statvfs s;
    return statvfs(path, &s) < 0 ? 0 : (uint64_t)(s.f_blocks - s.f_bfree + s.f_bavail) * s.f_frsize;
}
