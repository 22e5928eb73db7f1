/* See run_erase.h. `daemon->erased` holds the runs whose metrics and logs have still to go. */
#include "daemon/run_erase.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/queue.h"
#include "daemon/reaper.h"
#include "daemon/retention.h"
#include "daemon/run.h"
#include "store/checkpoint_row.h"
#include "store/metric_store.h"

#define LOG_MODULE "run_erase"

struct run_paths {
    char directory[CONFIG_PATH_MAX + 32], doomed[CONFIG_PATH_MAX + 64];
};

static void fill_paths(const char *state_dir, int64_t run, struct run_paths *ret_paths)
{
    snprintf(ret_paths->directory, sizeof(ret_paths->directory), "%s/runs/r%lld", state_dir,
             (long long)run);
    snprintf(ret_paths->doomed, sizeof(ret_paths->doomed), "%s" RUN_ERASE_SUFFIX,
             ret_paths->directory);
}

/* ---- Rules and sizes ------------------------------------------------------------------------- */

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

enum ij_status run_erase_check(struct store *store, int64_t run, struct control_reply *reply)
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

uint64_t run_erase_bytes(const char *state_dir, int64_t run)
{
    struct run_paths paths;
    fill_paths(state_dir, run, &paths);
    return file_tree_bytes(paths.directory) + sum_logs(state_dir, run, false);
}

/* ---- Metrics, logs, files -------------------------------------------------------------------- */

static enum ij_status take_up(struct daemon *daemon, int64_t run, struct ij_err *reterr_err)
{
    int64_t *grown = mem_grow(daemon->erased, daemon->erased_count + 1, sizeof *daemon->erased);
    if (!grown)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a deletion");
    daemon->erased = grown;
    daemon->erased[daemon->erased_count++] = run;
    return IJ_OK;
}

/* A slice of one run's metrics; after the last its files. */
static enum ij_status erase_slice(struct daemon *daemon, int64_t run, bool *ret_done,
                                  struct ij_err *reterr_err)
{
    struct run_paths paths;
    struct reaper_job job = {.kind = REAPER_RUN, .id = run};
    IJ_TRY(metric_store_delete_run(daemon->store, run, ret_done, reterr_err));
    if (!*ret_done)
        return IJ_OK;
    (void)sum_logs(daemon->config.state_dir, run, true);
    fill_paths(daemon->config.state_dir, run, &paths);
    snprintf(job.path, sizeof(job.path), "%s", paths.doomed);
    return reaper_submit(daemon->reaper, &job, reterr_err);
}

bool run_erase_some(struct daemon *daemon)
{
    struct ij_err err = IJ_ERR_INIT;
    bool done = true;
    if (!daemon->erased_count)
        return false;
    int64_t run = daemon->erased[daemon->erased_count - 1];
    enum ij_status status = erase_slice(daemon, run, &done, &err);
    if (status != IJ_OK)
        log_err("r%lld: %s, trying again at the next start", (long long)run, err.text);
    if (status != IJ_OK || done)
        daemon->erased_count--;
    return daemon->erased_count > 0;
}

/* ---- Deletion -------------------------------------------------------------------------------- */

/* The directory takes its other name; one that was never made is made under it. */
static enum ij_status doom(const struct run_paths *paths, struct ij_err *reterr_err)
{
    if (rename(paths->directory, paths->doomed) == 0)
        return IJ_OK;
    int error = errno;
    if (error == ENOENT && (file_make_dirs(paths->doomed, 0700, NULL) == IJ_OK))
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_CONFLICT, "cannot rename %s: %s", paths->directory,
                  strerror(error));
}

static enum ij_status commit_delete(struct daemon *daemon, const struct control_request *request,
                                    struct ij_err *reterr_err)
{
    IJ_TRY(store_begin(daemon->store, reterr_err));
    json_t *body = json_pack("{s:o}", "run", json_sprintf("r%lld", (long long)request->run));
    enum ij_status status = run_row_delete(daemon->store, request->run, reterr_err);
    if (status == IJ_OK)
        status = retention_commit(daemon, request, request->run, "run.deleted", body, reterr_err);
    json_decref(body);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    return status;
}

enum ij_status run_erase_handle(struct daemon *daemon, const struct control_request *request,
                                struct control_reply *reply)
{
    struct run_paths paths;
    IJ_TRY(run_erase_check(daemon->store, request->run, reply));
    if (queue_find(daemon, request->run))
        return IJ_ERR(&reply->err, IJ_CONFLICT, "the worker of r%lld has not quite ended",
                      (long long)request->run);
    if (reaper_waiting(daemon->reaper) + daemon->erased_count >= REAPER_QUEUE_MAX)
        return IJ_ERR(&reply->err, IJ_BUSY, "%d deletions are under way already", REAPER_QUEUE_MAX);
    fill_paths(daemon->config.state_dir, request->run, &paths);
    uint64_t bytes = run_erase_bytes(daemon->config.state_dir, request->run);
    IJ_TRY(doom(&paths, &reply->err));
    enum ij_status status = commit_delete(daemon, request, &reply->err);
    if (status != IJ_OK) {
        if (rename(paths.doomed, paths.directory) < 0 && errno != ENOENT)
            log_err("cannot rename %s back: %s; the next start does", paths.doomed,
                    strerror(errno));
        return status;
    }
    log_line(LOG_LEVEL_NOTICE, LOG_MODULE, request->run, "deleted by %s: %llu bytes",
             request->actor, (unsigned long long)bytes);
    struct ij_err err = IJ_ERR_INIT;
    if (take_up(daemon, request->run, &err) != IJ_OK)
        log_err("r%lld: %s, going on at the next start", (long long)request->run, err.text);
    retention_wake(daemon);
    reply->details = json_pack("{s:I}", "freed_bytes", (json_int_t)bytes);
    return IJ_OK;
}

/* ---- The start ------------------------------------------------------------------------------- */

/* "r42.deleted" -> 42 */
static bool parse_name(const char *name, int64_t *ret_run)
{
    char digits[24];
    const char *suffix = strstr(name, RUN_ERASE_SUFFIX);
    uint64_t id;
    if (name[0] != 'r' || !suffix || strcmp(suffix, RUN_ERASE_SUFFIX) != 0 ||
        (size_t)(suffix - name) > sizeof(digits))
        return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)(suffix - name - 1), name + 1);
    if (!text_to_u64(digits, &id) || id > INT64_MAX)
        return false;
    *ret_run = (int64_t)id;
    return true;
}

/* Back to its name if the run is still there, else on with the deletion. */
static void finish_one(struct daemon *daemon, int64_t run)
{
    struct run_paths paths;
    struct run_row row = {0};
    struct ij_err err = IJ_ERR_INIT;
    fill_paths(daemon->config.state_dir, run, &paths);
    enum ij_status status = run_row_get(daemon->store, run, &row, &err);
    run_row_done(&row);
    if (status == IJ_OK && rename(paths.doomed, paths.directory) < 0)
        status = IJ_ERR_SYS(&err, errno, paths.doomed, "cannot rename %s", paths.doomed);
    else if (status == IJ_NOT_FOUND)
        status = take_up(daemon, run, &err);
    if (status != IJ_OK)
        log_warn("deleted runs: %s, trying again at the next start", err.text);
}

void run_erase_finish(struct daemon *daemon)
{
    char directory[CONFIG_PATH_MAX + 8];
    int64_t run;
    snprintf(directory, sizeof(directory), "%s/runs", daemon->config.state_dir);
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (parse_name(entry->d_name, &run))
            finish_one(daemon, run);
    if (dir)
        closedir(dir);
}
