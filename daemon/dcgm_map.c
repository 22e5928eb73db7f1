/* See dcgm_map.h. */
#include "daemon/dcgm_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define LOG_MODULE "dcgm_map"

/* A reader sees the old file or the new one. Nothing is synced: after a crash of the machine no run
 * holds anything. */
static enum ij_status put_run(const char *path, const char *fresh, int64_t run,
                              struct ij_err *reterr_err)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "r%lld\n", (long long)run);
    fd_auto int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, fresh, "cannot write %s", fresh);
    IJ_TRY(file_write_all(fd, text, (size_t)size, fresh, reterr_err));
    if (fchmod(fd, 0644) < 0 || rename(fresh, path) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot write %s", path);
    return IJ_OK;
}

static enum ij_status write_one(const char *directory, const struct device *device,
                                struct ij_err *reterr_err)
{
    char path[1088], fresh[1088];
    snprintf(path, sizeof(path), "%s/%u", directory, device->index);
    snprintf(fresh, sizeof(fresh), "%s/.%u.tmp", directory, device->index);
    if (device->run)
        return put_run(path, fresh, device->run, reterr_err);
    if (unlink(path) < 0 && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot remove %s", path);
    return IJ_OK;
}

void dcgm_map_write(const char *directory, const struct device_table *table)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!directory[0])
        return;
    enum ij_status status = file_make_dirs(directory, 0755, &err);
    if (status == IJ_OK)
        (void)chmod(directory, 0755); /* against the umask; somebody else's stays as it is */
    for (size_t i = 0; i < device_table_count(table) && status == IJ_OK; i++) {
        const struct device *device = device_table_at(table, i);
        if (device->kind == DEVICE_GPU && device->present)
            status = write_one(directory, device, &err);
    }
    if (status != IJ_OK)
        log_warn("the map of GPUs for dcgm-exporter is not up to date: %s", err.text);
}
