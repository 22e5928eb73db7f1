/*
 * GET /v1/runs/{id}/logs: what a worker printed, by byte offset, the last lines, or the lines that
 * hold a text.
 *
 * The file is state_dir/logs/r<run>-a<attempt>.log, made by daemon/attempt_log. Both numbers are
 * numbers: nothing from the request becomes part of a path.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "api/handlers.h"
#include "api/log_search.h"
#include "api/log_text.h"
#include "base/mem.h"
#include "store/attempt_row.h"
#include "store/run_row.h"

#define READ_MAX   ((size_t)1024 * 1024)
#define SEARCH_MAX ((size_t)4 * 1024 * 1024) /* looked through for one answer */
#define ANSWER_MAX (READ_MAX * 4 + 64)       /* every byte escaped */

struct log_part {
    uint64_t size, from; /* of the file; where the part begins */
    char *data;          /* owned */
    size_t bytes;        /* of data */
    size_t done;         /* of the file from `from` on: the next part begins behind it */
};

static enum ij_status open_log(const struct api *api, int64_t run, int32_t attempt, int *ret_fd,
                               struct ij_err *reterr_err)
{
    mem_auto char *path =
        mem_printf("%s/logs/r%" PRId64 "-a%" PRId32 ".log", api->state_dir, run, attempt);
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a path");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot read the log of r%" PRId64, run);
    *ret_fd = fd; /* -1: the attempt has printed nothing yet */
    return IJ_OK;
}

static enum ij_status read_part(int fd, uint64_t from, size_t max, struct log_part *part,
                                struct ij_err *reterr_err)
{
    part->from = from < part->size ? from : part->size;
    uint64_t rest = part->size - part->from;
    size_t want = rest < max ? (size_t)rest : max;
    part->data = mem_alloc_zero(want + 1, 1);
    if (!part->data)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the log");
    ssize_t got = pread(fd, part->data, want, (off_t)part->from);
    if (got < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot read the log");
    part->bytes = part->done = (size_t)got;
    return IJ_OK;
}

/* The last `lines` lines, or what of them fits into READ_MAX. */
static enum ij_status read_tail(int fd, size_t lines, struct log_part *part,
                                struct ij_err *reterr_err)
{
    uint64_t from = part->size > READ_MAX ? part->size - READ_MAX : 0;
    IJ_TRY(read_part(fd, from, READ_MAX, part, reterr_err));
    size_t start = log_text_tail(part->data, part->bytes, lines);
    part->from += start;
    part->bytes -= start;
    part->done = part->bytes;
    for (size_t i = 0; start && i < part->bytes; i++)
        part->data[i] = part->data[i + start];
    return IJ_OK;
}

/* Lines that hold `wanted`; the data is then those lines. */
static enum ij_status search_part(int fd, uint64_t from, const char *wanted, struct log_part *part,
                                  struct ij_err *reterr_err)
{
    struct buf lines;
    IJ_TRY(read_part(fd, from, SEARCH_MAX, part, reterr_err));
    bool at_end = part->from + part->bytes >= part->size;
    bool one_line = part->bytes == SEARCH_MAX && !memchr(part->data, '\n', part->bytes);
    buf_init(&lines, READ_MAX + 1);
    part->done = log_search(part->data, part->bytes, at_end || one_line, wanted, READ_MAX, &lines);
    mem_free(part->data);
    part->bytes = lines.size;
    part->data = buf_take(&lines);
    return IJ_OK;
}

static enum ij_status read_log(struct request *request, int fd, struct log_part *part,
                               struct ij_err *reterr_err)
{
    struct stat info;
    if (fd < 0)
        return IJ_OK;
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
        return IJ_ERR(reterr_err, IJ_IO, "the log is no regular file");
    part->size = (uint64_t)info.st_size;
    uint64_t from = query_integer(&request->query, "from", 0);
    const char *wanted = request_query(request, "search");
    if (wanted)
        return search_part(fd, from, wanted, part, reterr_err);
    if (request_query(request, "from"))
        return read_part(fd, from, READ_MAX, part, reterr_err);
    return read_tail(fd, (size_t)query_integer(&request->query, "tail", 500), part, reterr_err);
}

static enum ij_status find_attempt(struct request *request, int64_t run, int32_t *ret_attempt,
                                   struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    int32_t newest = row.attempts;
    run_row_done(&row);
    uint64_t asked = query_integer(&request->query, "attempt", (uint64_t)newest);
    if (asked > (uint64_t)newest)
        return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, "attempt",
                            "r%" PRId64 " has had %" PRId32 " attempts", run, newest);
    *ret_attempt = (int32_t)asked;
    return IJ_OK;
}

enum ij_status serve_logs_text(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    int64_t run;
    int32_t attempt;
    fd_auto int fd = -1;
    if (request_query(request, "from") && request_query(request, "tail"))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "tail", "cannot be given together with from");
    if (request_query(request, "search") && request_query(request, "tail"))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "tail", "cannot be given together with search");
    if (request_query(request, "search") && !request_query(request, "search")[0])
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "search", "what to look for is empty");
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(find_attempt(request, run, &attempt, reterr_err));
    IJ_TRY(open_log(request->api, run, attempt, &fd, reterr_err));
    struct log_part part = {.data = NULL};
    enum ij_status status = read_log(request, fd, &part, reterr_err);
    struct buf text;
    buf_init(&text, ANSWER_MAX);
    if (status == IJ_OK && part.bytes)
        log_text_escape(part.data, part.bytes, &text);
    mem_free(part.data);
    if (status != IJ_OK)
        return status;
    reply_header(reply, "Log-Attempt", "%" PRId32, attempt);
    reply_header(reply, "Log-Size", "%" PRIu64, part.size);
    reply_header(reply, "Log-From", "%" PRIu64, part.from);
    reply_header(reply, "Log-Next", "%" PRIu64, part.from + part.done);
    return reply_take_buf(reply, "text/plain; charset=utf-8", &text, reterr_err);
}
