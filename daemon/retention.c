/* See retention.h. */
#include "daemon/retention.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/audit.h"
#include "daemon/queue.h"
#include "daemon/run.h"
#include "store/checkpoint_row.h"
#include "store/event_row.h"
#include "store/metric_store.h"

#define LOG_MODULE   "retention"
#define DELETED      ".deleted"
#define DELETING_MAX 1000 /* unfinished deletions looked at per start */

/* ---- Events ---------------------------------------------------------------------------------- */

/* Row, event and audit of one change, then the commit. */
static enum ij_status commit_event(struct daemon *daemon, const struct control_request *request,
                                   int64_t run, const char *type, json_t *body,
                                   struct ij_err *reterr_err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    struct event_row row = {.ts_ms = 0, .run = run, .body = text};
    snprintf(row.type, sizeof(row.type), "%s", type);
    row.ts_ms = clock_wall_ms();
    enum ij_status status = event_row_append(daemon->store, &row, reterr_err);
    free(text);
    if (status == IJ_OK)
        status = audit_request(daemon->store, request, run, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status == IJ_OK)
        event_bus_publish(daemon->bus, row.id, run, type, body);
    return status;
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static void marker_path(const struct checkpoint_row *row, char ret_path[1100])
{
    snprintf(ret_path, 1100, "%s.pinned", row->path);
}

static json_t *checkpoint_json(const struct checkpoint_row *row)
{
    return json_pack("{s:o, s:o, s:I, s:b}", "run", json_sprintf("r%lld", (long long)row->run),
                     "checkpoint", json_sprintf("c%lld", (long long)row->id), "step",
                     (json_int_t)row->step, "pinned", row->pinned);
}

/* A file that cannot be written is no failure of the state's storage. */
static enum ij_status write_marker(const struct checkpoint_row *row, const char *marker,
                                   struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    if (file_write_durable(marker, "", 0, 0600, &err) == IJ_OK)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_CONFLICT, "c%lld cannot be pinned: %s", (long long)row->id,
                  err.text);
}

/* The file that the worker heeds is there before the row says so, and goes after it. */
static enum ij_status pin(struct daemon *daemon, const struct control_request *request,
                          struct checkpoint_row *row, struct control_reply *reply)
{
    const json_t *value = json_object_get(request->body, "pinned");
    char marker[1100];
    if (!json_is_boolean(value) || json_object_size(request->body) != 1)
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/pinned", "must be true or false");
    if (row->state != CHECKPOINT_ROW_VALID)
        return IJ_ERR(&reply->err, IJ_CONFLICT, "c%lld is %s", (long long)row->id,
                      checkpoint_row_state_name(row->state));
    marker_path(row, marker);
    row->pinned = json_is_true(value);
    if (row->pinned)
        IJ_TRY(write_marker(row, marker, &reply->err));
    IJ_TRY(store_begin(daemon->store, &reply->err));
    json_t *body = checkpoint_json(row);
    enum ij_status status =
        checkpoint_row_set_pinned(daemon->store, row->id, row->pinned, &reply->err);
    if (status == IJ_OK)
        status =
            commit_event(daemon, request, row->run, "run.checkpoint_pinned", body, &reply->err);
    json_decref(body);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    else if (!row->pinned && unlink(marker) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s; the worker will keep that checkpoint", marker,
                 strerror(errno));
    return status;
}

/* The directory of a row that says "deleting"; then "gone". What fails is tried again at the next
 * start. */
static enum ij_status remove_files(struct daemon *daemon, const struct checkpoint_row *row,
                                   struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    if (file_remove_tree(row->path, &err) != IJ_OK) {
        log_err("c%lld: %s, trying again at the next start", (long long)row->id, err.text);
        return IJ_OK;
    }
    return checkpoint_row_set_state(daemon->store, row->id, CHECKPOINT_ROW_GONE, reterr_err);
}

enum ij_status retention_check_checkpoint(struct store *store, const struct checkpoint_row *row,
                                          struct ij_err *reterr_err)
{
    struct checkpoint_row newest;
    int64_t reader = 0;
    const char *why = row->state != CHECKPOINT_ROW_VALID ? checkpoint_row_state_name(row->state)
                      : row->pinned                      ? "pinned"
                                                         : NULL;
    if (!why && checkpoint_row_newest(store, row->run, &newest, NULL) == IJ_OK &&
        newest.id == row->id)
        why = "the newest valid one of its run";
    if (why)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "checkpoint c%lld cannot be deleted: it is %s",
                      (long long)row->id, why);
    IJ_TRY(checkpoint_row_reader(store, row, &reader, reterr_err));
    if (reader)
        return IJ_ERR(reterr_err, IJ_CONFLICT,
                      "checkpoint c%lld cannot be deleted: r%lld, which has not ended, reads it",
                      (long long)row->id, (long long)reader);
    return IJ_OK;
}

static enum ij_status delete_checkpoint(struct daemon *daemon,
                                        const struct control_request *request,
                                        const struct checkpoint_row *row,
                                        struct control_reply *reply)
{
    IJ_TRY(retention_check_checkpoint(daemon->store, row, &reply->err));
    uint64_t bytes = file_tree_bytes(row->path);
    IJ_TRY(store_begin(daemon->store, &reply->err));
    json_t *body = checkpoint_json(row);
    if (body)
        json_object_set_new(body, "bytes", json_integer((json_int_t)bytes));
    enum ij_status status = checkpoint_row_retire(daemon->store, row->id, &reply->err);
    if (status == IJ_OK)
        status =
            commit_event(daemon, request, row->run, "run.checkpoint_deleted", body, &reply->err);
    json_decref(body);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    status = remove_files(daemon, row, &reply->err);
    bytes -= file_tree_bytes(row->path);
    reply->details = json_pack("{s:I}", "freed_bytes", (json_int_t)bytes);
    return status;
}

static enum ij_status on_checkpoint(struct daemon *daemon, const struct control_request *request,
                                    struct control_reply *reply)
{
    struct checkpoint_row row;
    IJ_TRY(checkpoint_row_get(daemon->store, request->checkpoint, &row, &reply->err));
    reply->run = row.run;
    if (request->verb == CONTROL_CHECKPOINT_PIN)
        return pin(daemon, request, &row, reply);
    return delete_checkpoint(daemon, request, &row, reply);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static enum ij_status refuse_pinned(struct store *store, int64_t run, struct ij_err *reterr_err)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count = 0;
    IJ_TRY(checkpoint_row_list(store, run, 1u << CHECKPOINT_ROW_VALID, 0, 100000, &rows, &count,
                               reterr_err));
    for (size_t i = 0; i < count; i++)
        if (rows[i].pinned)
            return IJ_ERR(reterr_err, IJ_CONFLICT,
                          "r%lld cannot be deleted: its checkpoint c%lld is pinned", (long long)run,
                          (long long)rows[i].id);
    return IJ_OK;
}

enum ij_status retention_check_run(struct store *store, int64_t run, struct control_reply *reply)
{
    struct run_row row;
    int64_t user = 0;
    IJ_TRY(run_row_get(store, run, &row, &reply->err));
    enum run_state state = row.state;
    run_row_done(&row);
    if (run_state_is_live(state)) {
        reply->details = json_pack("{s:s, s:[s, s]}", "state", run_state_name(state), "allowed",
                                   "cancel", "kill");
        return IJ_ERR(&reply->err, IJ_CONFLICT, "cannot delete r%lld while it is %s",
                      (long long)run, run_state_name(state));
    }
    IJ_TRY(run_row_user(store, run, &user, &reply->err));
    if (user)
        return IJ_ERR(&reply->err, IJ_CONFLICT,
                      "r%lld cannot be deleted: r%lld, which has not ended, needs it",
                      (long long)run, (long long)user);
    return refuse_pinned(store, run, &reply->err);
}

/* Logs are named r42-a1.log; returns their sizes. */
static uint64_t sum_logs(const char *state_dir, int64_t run, bool remove)
{
    char directory[CONFIG_PATH_MAX + 8], prefix[32];
    uint64_t bytes = 0;
    snprintf(directory, sizeof(directory), "%s/logs", state_dir);
    snprintf(prefix, sizeof(prefix), "r%lld-", (long long)run);
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat info;
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bytes += (uint64_t)info.st_size;
        if (remove)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
    return bytes;
}

uint64_t retention_run_bytes(const char *state_dir, int64_t run)
{
    char directory[CONFIG_PATH_MAX + 32];
    snprintf(directory, sizeof(directory), "%s/runs/r%lld", state_dir, (long long)run);
    return file_tree_bytes(directory) + sum_logs(state_dir, run, false);
}

/* Files and metrics of a run whose rows are gone. */
static enum ij_status remove_run_files(struct daemon *daemon, int64_t run, const char *doomed,
                                       struct ij_err *reterr_err)
{
    bool done = false;
    (void)sum_logs(daemon->config.state_dir, run, true);
    while (!done)
        IJ_TRY(metric_store_delete_run(daemon->store, run, &done, reterr_err));
    return file_remove_tree(doomed, reterr_err);
}

static enum ij_status commit_delete(struct daemon *daemon, const struct control_request *request,
                                    struct ij_err *reterr_err)
{
    IJ_TRY(store_begin(daemon->store, reterr_err));
    json_t *body = json_pack("{s:o}", "run", json_sprintf("r%lld", (long long)request->run));
    enum ij_status status = run_row_delete(daemon->store, request->run, reterr_err);
    if (status == IJ_OK)
        status = commit_event(daemon, request, request->run, "run.deleted", body, reterr_err);
    json_decref(body);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    return status;
}

static enum ij_status delete_run(struct daemon *daemon, const struct control_request *request,
                                 struct control_reply *reply)
{
    char directory[CONFIG_PATH_MAX + 32], doomed[CONFIG_PATH_MAX + 64];
    IJ_TRY(retention_check_run(daemon->store, request->run, reply));
    if (queue_find(daemon, request->run))
        return IJ_ERR(&reply->err, IJ_CONFLICT, "the worker of r%lld has not quite ended",
                      (long long)request->run);
    snprintf(directory, sizeof(directory), "%s/runs/r%lld", daemon->config.state_dir,
             (long long)request->run);
    snprintf(doomed, sizeof(doomed), "%s" DELETED, directory);
    uint64_t bytes = retention_run_bytes(daemon->config.state_dir, request->run);
    if (rename(directory, doomed) < 0 && errno != ENOENT)
        return IJ_ERR(&reply->err, IJ_CONFLICT, "cannot rename %s: %s", directory, strerror(errno));
    enum ij_status status = commit_delete(daemon, request, &reply->err);
    if (status != IJ_OK) {
        if (rename(doomed, directory) < 0 && errno != ENOENT)
            log_err("cannot rename %s back: %s; the next start does", doomed, strerror(errno));
        return status;
    }
    log_line(LOG_LEVEL_NOTICE, LOG_MODULE, request->run, "deleted by %s: %llu bytes",
             request->actor, (unsigned long long)bytes);
    struct ij_err err = IJ_ERR_INIT;
    if (remove_run_files(daemon, request->run, doomed, &err) != IJ_OK)
        log_err("r%lld: %s, trying again at the next start", (long long)request->run, err.text);
    bytes -= file_tree_bytes(doomed);
    reply->details = json_pack("{s:I}", "freed_bytes", (json_int_t)bytes);
    return IJ_OK;
}

enum ij_status retention_handle(struct daemon *daemon, const struct control_request *request,
                                struct control_reply *reply)
{
    if (request->verb == CONTROL_DELETE)
        return delete_run(daemon, request, reply);
    return on_checkpoint(daemon, request, reply);
}

/* ---- The start ------------------------------------------------------------------------------- */

static void finish_checkpoints(struct daemon *daemon)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count = 0;
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = checkpoint_row_list(daemon->store, 0, 1u << CHECKPOINT_ROW_DELETING, 0,
                                                DELETING_MAX, &rows, &count, &err);
    for (size_t i = 0; i < count && status == IJ_OK; i++)
        status = remove_files(daemon, &rows[i], &err);
    if (status != IJ_OK)
        log_warn("deleted checkpoints: %s, trying again at the next start", err.text);
}

/* runs/r42.deleted: back to its name if the run is still there, else its end. */
static void finish_run(struct daemon *daemon, const char *name)
{
    char digits[24], from[CONFIG_PATH_MAX + 300], to[CONFIG_PATH_MAX + 64];
    const char *suffix = strstr(name, DELETED);
    struct run_row row = {0};
    struct ij_err err = IJ_ERR_INIT;
    uint64_t id;
    if (name[0] != 'r' || !suffix || strcmp(suffix, DELETED) != 0 ||
        (size_t)(suffix - name) > sizeof(digits))
        return;
    snprintf(digits, sizeof(digits), "%.*s", (int)(suffix - name - 1), name + 1);
    if (!text_to_u64(digits, &id) || id > INT64_MAX)
        return;
    snprintf(from, sizeof(from), "%s/runs/%s", daemon->config.state_dir, name);
    snprintf(to, sizeof(to), "%s/runs/r%s", daemon->config.state_dir, digits);
    enum ij_status status = run_row_get(daemon->store, (int64_t)id, &row, &err);
    run_row_done(&row);
    if (status == IJ_OK && rename(from, to) < 0)
        status = IJ_ERR_SYS(&err, errno, from, "cannot rename %s", from);
    else if (status == IJ_NOT_FOUND)
        status = remove_run_files(daemon, (int64_t)id, from, &err);
    if (status != IJ_OK)
        log_warn("deleted runs: %s, trying again at the next start", err.text);
}

void retention_finish(struct daemon *daemon)
{
    char directory[CONFIG_PATH_MAX + 8];
    snprintf(directory, sizeof(directory), "%s/runs", daemon->config.state_dir);
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        finish_run(daemon, entry->d_name);
    if (dir)
        closedir(dir);
    finish_checkpoints(daemon); /* folders have their own names again */
}
