/* See recovery.h. */
#include "daemon/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/condition.h"
#include "daemon/manifest_scan.h"
#include "daemon/server_event.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"
#include "store/store_recover.h"

#define LOG_MODULE  "recovery"
#define MARKER_MAX  (1024 * 1024)
#define UNKNOWN_MAX 100
#define ROWS_MAX    10000
#define PENDING     "pending" /* member of the marker: the restoration is not finished */

/* ---- The marker ------------------------------------------------------------------------------ */

static void marker_path(const struct daemon *daemon, char ret_path[CONFIG_PATH_MAX + 32])
{
    snprintf(ret_path, CONFIG_PATH_MAX + 32, "%s/" RECOVERY_FILE, daemon->config.state_dir);
}

/* NULL: there is none. One that cannot be read still means that something was restored. */
static enum ij_status read_marker(const struct daemon *daemon, json_t **ret_marker,
                                  struct ij_err *reterr_err)
{
    char path[CONFIG_PATH_MAX + 32];
    mem_auto char *text = NULL;
    size_t size;
    *ret_marker = NULL;
    marker_path(daemon, path);
    enum ij_status status = file_read(path, MARKER_MAX, &text, &size, NULL);
    if (status == IJ_NOT_FOUND)
        return IJ_OK;
    json_t *marker = status == IJ_OK ? json_loadb(text, size, 0, NULL) : NULL;
    if (!json_is_object(marker)) {
        json_decref(marker);
        marker = json_pack("{s:s}", "reason", "its account cannot be read");
    }
    *ret_marker = marker;
    return marker ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for " RECOVERY_FILE);
}

static enum ij_status write_marker(const struct daemon *daemon, const json_t *marker,
                                   struct ij_err *reterr_err)
{
    char path[CONFIG_PATH_MAX + 32];
    char *text = json_dumps(marker, JSON_INDENT(2));
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for " RECOVERY_FILE);
    marker_path(daemon, path);
    enum ij_status status = file_write_durable(path, text, strlen(text), 0600, reterr_err);
    free(text);
    return status;
}

static json_t *time_json(int64_t wall_ms)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(wall_ms, text);
    return wall_ms ? json_string(text) : json_null();
}

/* ---- Restoring ------------------------------------------------------------------------------- */

/* Restores one file if it is damaged, or was being restored; an account of it goes to `files`. */
static enum ij_status restore_file(const struct daemon *daemon, bool metrics, bool again,
                                   json_t *files, struct ij_err *reterr_err)
{
    const char *directory = daemon->config.state_dir;
    struct ij_err finding = IJ_ERR_INIT;
    struct store_recover done;
    enum ij_status status =
        again ? IJ_CORRUPT : store_recover_look(directory, metrics, !metrics, &finding);
    if (status != IJ_CORRUPT) {
        if (status != IJ_OK && reterr_err)
            *reterr_err = finding;
        return status;
    }
    IJ_TRY(store_recover(directory, metrics, clock_wall_ms(), &done, reterr_err));
    log_err("%s was damaged%s%s; it is kept as %s, and %s%s takes its place",
            metrics ? STORE_METRICS_FILE : STORE_STATE_FILE, finding.text[0] ? ": " : "",
            finding.text, done.damaged, done.restored[0] ? "the backup " : "an empty one",
            done.restored);
    json_array_append_new(
        files, json_pack("{s:s, s:s, s:o, s:o}", "file",
                         metrics ? STORE_METRICS_FILE : STORE_STATE_FILE, "damaged", done.damaged,
                         "restored", done.restored[0] ? json_string(done.restored) : json_null(),
                         "made", time_json(done.restored_ms)));
    return IJ_OK;
}

static bool is_pending(const json_t *marker, const char *file)
{
    json_t *name;
    size_t i;
    json_array_foreach(json_object_get(marker, PENDING), i, name)
    {
        if (json_is_string(name) && strcmp(json_string_value(name), file) == 0)
            return true;
    }
    return false;
}

/* What is damaged now or was not finished last time, before anything is touched. */
static json_t *list_pending(const struct daemon *daemon, const json_t *marker)
{
    const char *directory = daemon->config.state_dir;
    json_t *pending = json_array();
    if (is_pending(marker, STORE_STATE_FILE) ||
        store_recover_look(directory, false, true, NULL) == IJ_CORRUPT)
        json_array_append_new(pending, json_string(STORE_STATE_FILE));
    if (is_pending(marker, STORE_METRICS_FILE) ||
        store_recover_look(directory, true, false, NULL) == IJ_CORRUPT)
        json_array_append_new(pending, json_string(STORE_METRICS_FILE));
    return pending;
}

static enum ij_status restore(struct daemon *daemon, json_t *marker, const char *reason,
                              struct ij_err *reterr_err)
{
    json_t *files = json_array();
    int r = json_object_set_new(marker, PENDING, list_pending(daemon, marker));
    r |= json_object_set_new(marker, "at", time_json(clock_wall_ms()));
    r |= json_object_set_new(marker, "reason", json_string(reason));
    r |= json_object_set_new(marker, "files", files); /* now the marker's */
    if (r < 0)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for " RECOVERY_FILE);
    IJ_TRY(write_marker(daemon, marker, reterr_err));
    IJ_TRY(restore_file(daemon, false, is_pending(marker, STORE_STATE_FILE), files, reterr_err));
    IJ_TRY(restore_file(daemon, true, is_pending(marker, STORE_METRICS_FILE), files, reterr_err));
    return write_marker(daemon, marker, reterr_err); /* still pending: recovery_finish ends it */
}

/* Nothing was exchanged: what there is stays for a person to look at, and so does no marker. */
static void withdraw_marker(const struct daemon *daemon)
{
    char path[CONFIG_PATH_MAX + 32];
    marker_path(daemon, path);
    (void)unlink(path);
}

/* The store as it is; IJ_CORRUPT where one of its files is damaged. */
static enum ij_status open_store(struct daemon *daemon, struct ij_err *reterr_err)
{
    const char *directory = daemon->config.state_dir;
    IJ_TRY(file_make_dirs(directory, 0700, reterr_err));
    for (int metrics = 0; metrics < 2; metrics++)
        IJ_TRY(store_recover_look(directory, metrics, false, reterr_err));
    return store_open(directory, &daemon->store, reterr_err);
}

enum ij_status recovery_open(struct daemon *daemon, struct ij_err *reterr_err)
{
    struct ij_err finding = IJ_ERR_INIT;
    json_t *marker;
    IJ_TRY(read_marker(daemon, &marker, reterr_err));
    const char *again = json_object_get(marker, PENDING)
                            ? json_string_value(json_object_get(marker, "reason"))
                            : NULL;
    bool fresh = marker == NULL;
    enum ij_status status = again ? IJ_CORRUPT : open_store(daemon, &finding);
    if (status == IJ_CORRUPT) {
        mem_auto char *reason = mem_strdup(again ? again : finding.text);
        marker = marker ? marker : json_object();
        status = restore(daemon, marker, reason ? reason : "", &finding);
        if (status == IJ_OK)
            status = open_store(daemon, &finding);
        else if (fresh && status == IJ_CORRUPT) /* there is no backup to put in its place */
            withdraw_marker(daemon);
    }
    if (status == IJ_OK && marker)
        condition_set_degraded(daemon->condition, marker);
    if (status != IJ_OK && reterr_err)
        *reterr_err = finding;
    json_decref(marker);
    return status;
}

/* ---- What the backup cannot know ------------------------------------------------------------- */

struct rebuild {
    struct store *store;
    json_t *unknown;
    int64_t last_run, found;
    bool known; /* the run whose directory is being read */
    struct checkpoint_row *rows;
    size_t row_count;
};

static enum ij_status on_run(void *user, int64_t run, struct ij_err *reterr_err)
{
    struct rebuild *rebuild = user;
    struct run_row row = {0};
    if (run > rebuild->last_run)
        rebuild->last_run = run;
    mem_free(rebuild->rows);
    rebuild->rows = NULL;
    rebuild->row_count = 0;
    enum ij_status status = run_row_get(rebuild->store, run, &row, reterr_err);
    run_row_done(&row);
    rebuild->known = status == IJ_OK;
    if (status == IJ_NOT_FOUND) {
        if (json_array_size(rebuild->unknown) < UNKNOWN_MAX)
            json_array_append_new(rebuild->unknown, json_sprintf("r%lld", (long long)run));
        return IJ_OK;
    }
    IJ_TRY(status);
    return checkpoint_row_list(rebuild->store, run, 1u << CHECKPOINT_ROW_VALID, 0, ROWS_MAX,
                               &rebuild->rows, &rebuild->row_count, reterr_err);
}

static enum ij_status on_checkpoint(void *user, int64_t run, const char *path,
                                    struct ij_err *reterr_err)
{
    struct rebuild *rebuild = user;
    struct checkpoint_row row;
    struct ij_err err = IJ_ERR_INIT;
    if (!rebuild->known)
        return IJ_OK;
    for (size_t i = 0; i < rebuild->row_count; i++)
        if (strcmp(rebuild->rows[i].path, path) == 0)
            return IJ_OK;
    enum ij_status status = manifest_scan_read(run, path, &row, &err);
    if (status == IJ_NO_MEMORY) /* it may be whole */
        return IJ_ERR(reterr_err, status, "%s", err.text);
    if (status != IJ_OK) {
        log_warn("%s, ignoring", err.text);
        return IJ_OK;
    }
    rebuild->found++;
    return checkpoint_row_put(rebuild->store, &row, reterr_err);
}

/* Rows whose directories are gone say so. */
static enum ij_status mark_gone(struct store *store, struct ij_err *reterr_err)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    IJ_TRY(checkpoint_row_list(store, 0, 1u << CHECKPOINT_ROW_VALID, 0, ROWS_MAX, &rows, &count,
                               reterr_err));
    for (size_t i = 0; i < count; i++)
        if (access(rows[i].path, F_OK) < 0 && errno == ENOENT)
            IJ_TRY(checkpoint_row_set_state(store, rows[i].id, CHECKPOINT_ROW_GONE, reterr_err));
    return IJ_OK;
}

static enum ij_status rebuild_rows(const struct daemon *daemon, struct rebuild *rebuild,
                                   struct ij_err *reterr_err)
{
    const struct manifest_scan_visitor visitor = {
        .user = rebuild, .run = on_run, .checkpoint = on_checkpoint};
    int64_t last_run;
    IJ_TRY(store_recover_raise(daemon->store, reterr_err));
    IJ_TRY(store_recover_last_run(daemon->store, &last_run, reterr_err));
    rebuild->last_run = last_run;
    enum ij_status status = manifest_scan(daemon->config.state_dir, &visitor, reterr_err);
    mem_free(rebuild->rows);
    rebuild->rows = NULL;
    IJ_TRY(status);
    IJ_TRY(mark_gone(daemon->store, reterr_err));
    return store_recover_raise_runs(daemon->store, rebuild->last_run, reterr_err);
}

static enum ij_status finish(struct daemon *daemon, json_t *marker, struct ij_err *reterr_err)
{
    struct rebuild rebuild = {.store = daemon->store, .unknown = json_array()};
    json_object_set_new(marker, "unknown_runs", rebuild.unknown); /* now the marker's */
    IJ_TRY(store_begin(daemon->store, reterr_err));
    enum ij_status status = rebuild_rows(daemon, &rebuild, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    json_object_del(marker, PENDING);
    json_object_set_new(marker, "checkpoints", json_integer(rebuild.found));
    IJ_TRY(server_event_put(daemon, "server.degraded", json_incref(marker), reterr_err));
    IJ_TRY(write_marker(daemon, marker, reterr_err));
    condition_set_degraded(daemon->condition, marker);
    log_message(
        LOG_LEVEL_ERR, DEGRADED,
        "degraded: restored from a backup, %lld checkpoints were found on disk; submissions "
        "are refused until an operator acknowledges it (POST /v1/admin/acknowledge)",
        (long long)rebuild.found);
    return IJ_OK;
}

enum ij_status recovery_finish(struct daemon *daemon, struct ij_err *reterr_err)
{
    json_t *marker;
    IJ_TRY(read_marker(daemon, &marker, reterr_err));
    enum ij_status status = IJ_OK;
    if (json_object_get(marker, PENDING))
        status = finish(daemon, marker, reterr_err);
    else if (marker)
        log_warn("still degraded: nobody has acknowledged that the database was restored");
    json_decref(marker);
    return status;
}

/* ---- Until it is acknowledged ---------------------------------------------------------------- */

enum ij_status recovery_refuse(struct daemon *daemon, struct ij_err *reterr_err)
{
    struct condition_view view;
    condition_read(daemon->condition, &view);
    if (!view.degraded)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_DEGRADED,
                  "the database was restored from a backup and takes no submissions until an "
                  "operator acknowledges it (GET /v1/status, POST /v1/admin/acknowledge)");
}

enum ij_status recovery_acknowledge(struct daemon *daemon, const struct control_request *request,
                                    struct control_reply *reply)
{
    char path[CONFIG_PATH_MAX + 32];
    struct condition_view view;
    condition_read(daemon->condition, &view);
    if (!view.degraded)
        return IJ_ERR(&reply->err, IJ_CONFLICT, "there is nothing to acknowledge");
    marker_path(daemon, path);
    IJ_TRY(audit_request(daemon->store, request, 0, &reply->err));
    IJ_TRY(server_event_put(daemon, "server.acknowledged",
                            json_pack("{s:s}", "user", request->actor), &reply->err));
    if (unlink(path) < 0 && errno != ENOENT)
        return IJ_ERR_SYS(&reply->err, errno, path, "cannot remove %s", path);
    IJ_TRY(file_fsync_dir(daemon->config.state_dir, &reply->err));
    condition_set_degraded(daemon->condition, NULL);
    log_notice("%s has acknowledged the restoration: submissions are taken again", request->actor);
    return IJ_OK;
}
