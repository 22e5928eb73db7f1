/* See attempt_log.h. */
#include "daemon/attempt_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define LOG_MODULE "attempt_log"
#define CHUNK      65536
#define CHUNKS_MAX 16 /* per wake-up, so that a flood does not keep the loop */

static const char full_text[] = "\n[the log is full: what follows was dropped]\n";

struct attempt_log {
    sd_event_source *source;
    int pipe_fd, file_fd;
    uint64_t bytes, bytes_max;
    bool full;
    char chunk[CHUNK];
};

/* Writes what fits; a failing disk ends the log, not the run. */
static void keep(struct attempt_log *log, const char *text, size_t size)
{
    if (log->full)
        return;
    uint64_t room = log->bytes_max - log->bytes;
    size_t take = size < room ? size : (size_t)room;
    struct ij_err err;
    enum ij_status status = file_write_all(log->file_fd, text, take, "log", &err);
    log->bytes += take;
    if (status == IJ_OK && take == size)
        return;
    log->full = true;
    if (status == IJ_OK)
        status = file_write_all(log->file_fd, full_text, sizeof(full_text) - 1, "log", &err);
    if (status != IJ_OK)
        log_warn("%s; what the worker prints is dropped", err.text);
}

/* False at the end of the pipe. */
static bool move(struct attempt_log *log)
{
    for (int i = 0; i < CHUNKS_MAX; i++) {
        ssize_t n = read(log->pipe_fd, log->chunk, CHUNK);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        keep(log, log->chunk, (size_t)n);
    }
    return true;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)fd;
    (void)events;
    if (!move(user))
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
    return 0;
}

enum ij_status attempt_log_open(sd_event *event, const char *path, uint64_t bytes_max,
                                struct attempt_log **ret_log, int *ret_output_fd,
                                struct ij_err *reterr_err)
{
    int ends[2];
    fd_auto int file_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file_fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a pipe");
    fd_auto int pipe_fd = ends[0];
    fd_auto int output_fd = ends[1];
    struct attempt_log *log = mem_new(struct attempt_log);
    if (!log)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a log");
    int r = fcntl(pipe_fd, F_SETFL, O_NONBLOCK) < 0
                ? -errno
                : sd_event_add_io(event, &log->source, pipe_fd, EPOLLIN, on_readable, log);
    if (r < 0) {
        mem_free(log);
        return IJ_ERR_SYS(reterr_err, -r, path, "cannot watch a log's pipe");
    }
    log->pipe_fd = FD_TAKE(pipe_fd);
    log->file_fd = FD_TAKE(file_fd);
    log->bytes_max = bytes_max;
    *ret_log = log;
    *ret_output_fd = FD_TAKE(output_fd);
    return IJ_OK;
}

void attempt_log_add(struct attempt_log *log, const char *text, size_t size)
{
    (void)move(log);
    keep(log, text, size);
}

void attempt_log_close(struct attempt_log *log)
{
    if (!log)
        return;
    (void)move(log);
    sd_event_source_disable_unref(log->source);
    close(log->pipe_fd);
    close(log->file_fd);
    mem_free(log);
}
