/*
 * Checkpoints: list, show, download.
 *
 * A download opens one of the fixed file names inside the directory that the database row names,
 * without following links, and streams it from the descriptor: a checkpoint that is deleted
 * meanwhile is still sent whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/file_reply.h"
#include "api/handlers.h"
#include "api/show.h"
#include "base/mem.h"
#include "daemon/retention.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"

static const struct content_file {
    const char *name, *type;
} content_files[] = {
    {"model.safetensors", "application/octet-stream"},
    {"optimizer.safetensors", "application/octet-stream"},
    {"state.json", "application/json"},
};

/* Of the run's valid checkpoints, why each stays. */
struct kept {
    struct checkpoint_row *rows;
    unsigned *reasons;
    size_t count;
};

static enum ij_status read_kept(struct store *store, int64_t run, struct kept *ret_kept,
                                struct ij_err *reterr_err)
{
    struct run_row row;
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    struct retention_policy policy = retention_policy_of(&row);
    run_row_done(&row);
    return retention_reasons(store, run, &policy, &ret_kept->rows, &ret_kept->reasons,
                             &ret_kept->count, reterr_err);
}

static json_t *show_listed(const struct checkpoint_row *row, const struct kept *kept)
{
    unsigned reasons = 0;
    for (size_t i = 0; i < kept->count; i++)
        if (kept->rows[i].id == row->id)
            reasons = kept->reasons[i];
    json_t *object = show_checkpoint(row);
    (void)json_object_set_new(object, "kept_for", show_kept_for(reasons));
    return object;
}

enum ij_status serve_checkpoints_list(struct request *request, struct reply *reply,
                                      struct ij_err *reterr_err)
{
    mem_auto struct checkpoint_row *rows = NULL;
    struct kept kept = {.rows = NULL};
    struct store *store;
    size_t count;
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    uint32_t limit = (uint32_t)query_integer(&request->query, "limit", 200);
    IJ_TRY(read_kept(store, run, &kept, reterr_err));
    json_t *items = json_array();
    enum ij_status status = checkpoint_row_list(store, run, 0, 0, limit, &rows, &count, reterr_err);
    for (size_t i = 0; i < count && status == IJ_OK; i++)
        (void)json_array_append_new(items, show_listed(&rows[i], &kept));
    mem_free(kept.rows);
    mem_free(kept.reasons);
    if (status == IJ_OK)
        return serve_runs_items(reply, items, reterr_err);
    json_decref(items);
    return status;
}

static enum ij_status get_row(struct request *request, struct checkpoint_row *ret_row,
                              struct ij_err *reterr_err)
{
    struct store *store;
    int64_t id;
    IJ_TRY(request_id(request, 0, 'c', &id, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    return checkpoint_row_get(store, id, ret_row, reterr_err);
}

enum ij_status serve_checkpoints_show(struct request *request, struct reply *reply,
                                      struct ij_err *reterr_err)
{
    struct checkpoint_row row;
    IJ_TRY(get_row(request, &row, reterr_err));
    return reply_take_json(reply, show_checkpoint(&row), reterr_err);
}

static enum ij_status pick_file(struct request *request, const struct content_file **ret_file,
                                struct ij_err *reterr_err)
{
    const char *name = request_query(request, "file");
    for (size_t i = 0; i < COUNT_OF(content_files); i++) {
        if (!name || strcmp(name, content_files[i].name) == 0) {
            *ret_file = &content_files[i];
            return IJ_OK;
        }
    }
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "file",
                        "must be model.safetensors, optimizer.safetensors or state.json");
}

static enum ij_status open_content(const struct checkpoint_row *row, const char *name, int *ret_fd,
                                   uint64_t *ret_size, struct ij_err *reterr_err)
{
    if (row->state != CHECKPOINT_ROW_VALID)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "the checkpoint is %s",
                      checkpoint_row_state_name(row->state));
    fd_auto int dir = open(row->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fd_auto int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        return IJ_ERR(reterr_err, errno == ENOENT ? IJ_NOT_FOUND : IJ_IO,
                      "c%" PRId64 " has no readable %s", row->id, name);
    if (!S_ISREG(info.st_mode))
        return IJ_ERR(reterr_err, IJ_IO, "%s is no regular file", name);
    *ret_size = (uint64_t)info.st_size;
    *ret_fd = FD_TAKE(fd);
    return IJ_OK;
}

enum ij_status serve_checkpoints_content(struct request *request, struct reply *reply,
                                         struct ij_err *reterr_err)
{
    const struct content_file *file = NULL;
    struct checkpoint_row row;
    char etag[128];
    uint64_t size = 0;
    IJ_TRY(pick_file(request, &file, reterr_err));
    IJ_TRY(get_row(request, &row, reterr_err));
    (void)snprintf(etag, sizeof etag, "\"%s/%s\"", row.hash, file->name);
    if (file_reply_is_known(request, etag, reply))
        return IJ_OK;
    IJ_TRY(open_content(&row, file->name, &reply->fd, &size, reterr_err));
    IJ_TRY(file_reply_part(request, etag, size, reply));
    reply->type = file->type;
    reply_header(reply, "Content-Disposition",
                 "attachment; filename=\"r%" PRId64 "-step%" PRIu64 "-%s\"", row.run, row.step,
                 file->name);
    return IJ_OK;
}
