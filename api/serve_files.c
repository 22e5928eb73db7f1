/*
 * What a run wrote besides its results: sheets, grids, features, the names of bad images. List and
 * download.
 *
 * Only regular files with plain names in a few folders of the run's directory are shown; links are
 * not followed. The ETag is made of inode, size and time of change: evaluations replace files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/file_reply.h"
#include "api/handlers.h"
#include "base/mem.h"
#include "store/run_row.h"

#define FILES_MAX 2000

static const char *const folders[] = {"visualize", "features", "reports"};

static const struct {
    const char *ending, *type;
} types[] = {{".png", "image/png"},
             {".json", "application/json"},
             {".csv", "text/csv; charset=utf-8"},
             {"", "application/octet-stream"}};

static const char *type_of(const char *name)
{
    size_t length = strlen(name), i = 0;
    for (; i + 1 < COUNT_OF(types); i++) {
        size_t ending = strlen(types[i].ending);
        if (length > ending && strcmp(name + length - ending, types[i].ending) == 0)
            break;
    }
    return types[i].type;
}

/* What a path of the API can name. */
static bool is_plain(const char *name)
{
    return name[0] != '.' && strlen(name) <= ROUTER_ARG_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(name);
}

/* *ret_fd is -1 where the run has no such folder. */
static enum ij_status open_folder(const struct api *api, int64_t run, const char *folder,
                                  int *ret_fd, struct ij_err *reterr_err)
{
    mem_auto char *path = mem_printf("%s/runs/r%" PRId64 "/%s", api->state_dir, run, folder);
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a path");
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot read the files of r%" PRId64, run);
    return IJ_OK;
}

static enum ij_status get_run(struct request *request, int64_t *ret_run, struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    IJ_TRY(request_id(request, 0, 'r', ret_run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, *ret_run, &row, reterr_err));
    run_row_done(&row);
    return IJ_OK;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void list_folder(int folder_fd, const char *folder, json_t *items)
{
    struct dirent **entries = NULL;
    int count = scandirat(folder_fd, ".", &entries, NULL, compare_names);
    for (int i = 0; i < count; i++) {
        struct stat info;
        const char *name = entries[i]->d_name;
        if (is_plain(name) && json_array_size(items) < FILES_MAX &&
            fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
            (void)json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:I}", "name", name,
                                                         "folder", folder, "type", type_of(name),
                                                         "size_bytes", (json_int_t)info.st_size));
    }
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

enum ij_status serve_files_list(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    int64_t run;
    IJ_TRY(get_run(request, &run, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        fd_auto int fd = -1;
        enum ij_status status = open_folder(request->api, run, folders[i], &fd, reterr_err);
        if (status != IJ_OK) {
            json_decref(items);
            return status;
        }
        if (fd >= 0)
            list_folder(fd, folders[i], items);
    }
    return serve_runs_items(reply, items, reterr_err);
}

/* The file of that name in the first folder that has one. */
static enum ij_status open_file(const struct api *api, int64_t run, const char *name, int *ret_fd,
                                struct stat *ret_info, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < COUNT_OF(folders) && is_plain(name); i++) {
        fd_auto int folder = -1;
        IJ_TRY(open_folder(api, run, folders[i], &folder, reterr_err));
        fd_auto int fd =
            folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, ret_info) == 0 && S_ISREG(ret_info->st_mode)) {
            *ret_fd = FD_TAKE(fd);
            return IJ_OK;
        }
    }
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "r%" PRId64 " has no file %s", run, name);
}

enum ij_status serve_files_reply(struct request *request, int64_t run, const char *name,
                                 struct reply *reply, struct ij_err *reterr_err)
{
    struct stat info;
    char etag[128];
    IJ_TRY(open_file(request->api, run, name, &reply->fd, &info, reterr_err));
    (void)snprintf(etag, sizeof etag, "\"%jx-%jx-%jx.%lx\"", (uintmax_t)info.st_ino,
                   (uintmax_t)info.st_size, (uintmax_t)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    reply->type = type_of(name);
    if (file_reply_is_known(request, etag, reply)) {
        (void)close(reply->fd);
        reply->fd = -1;
        return IJ_OK;
    }
    return file_reply_part(request, etag, (uint64_t)info.st_size, reply);
}

enum ij_status serve_files_content(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    int64_t run;
    IJ_TRY(get_run(request, &run, reterr_err));
    return serve_files_reply(request, run, request->match.args[1], reply, reterr_err);
}
