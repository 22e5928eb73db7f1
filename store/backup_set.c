/* See backup_set.h. */
#include "store/backup_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

#define PARTIAL    ".partial"
#define PATH_BYTES 1200

static const char *kind_name(bool metrics)
{
    return metrics ? "metrics" : "state";
}

static void folder_of(const char *directory, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%s/" BACKUP_SET_FOLDER, directory);
}

void backup_set_path(const char *directory, const char *name, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/" BACKUP_SET_FOLDER "/%s", directory, name);
}

static void name_of(bool metrics, int64_t wall_ms, char ret_name[BACKUP_SET_NAME_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char stamp[20];
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &tm);
    snprintf(ret_name, BACKUP_SET_NAME_SIZE, "%s-%s%03dZ.db", kind_name(metrics), stamp,
             (int)(wall_ms % 1000));
}

bool backup_set_parse(const char *name, struct backup_set_entry *ret_entry)
{
    struct tm tm = {0};
    unsigned ms = 0;
    int end = 0;
    bool metrics = strncmp(name, "metrics-", 8) == 0;
    if (!metrics && strncmp(name, "state-", 6) != 0)
        return false;
    const char *stamp = name + (metrics ? 8 : 6);
    if (strlen(stamp) != strlen("20261123T024110123Z.db") ||
        sscanf(stamp, "%4d%2d%2dT%2d%2d%2d%3uZ.db%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &end) != 7 ||
        end == 0 || stamp[end])
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_entry =
        (struct backup_set_entry){.metrics = metrics, .made_ms = (int64_t)timegm(&tm) * 1000 + ms};
    snprintf(ret_entry->name, sizeof ret_entry->name, "%s", name);
    char again[BACKUP_SET_NAME_SIZE]; /* "20260230" would be another day */
    name_of(metrics, ret_entry->made_ms, again);
    return strcmp(again, name) == 0;
}

/* ---- Making ---------------------------------------------------------------------------------- */

static enum ij_status check_space(const char *directory, bool metrics, uint64_t floor_bytes,
                                  struct ij_err *reterr_err)
{
    char path[PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s.db", directory, kind_name(metrics));
    if (stat(path, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot look at %s", path);
    uint64_t free_bytes = file_free_bytes(directory), need = (uint64_t)st.st_size + floor_bytes;
    if (free_bytes < need)
        return IJ_ERR(reterr_err, IJ_NO_SPACE,
                      "no room for a copy of %s: %llu MiB are free, %llu MiB are needed", path,
                      (unsigned long long)(free_bytes >> 20), (unsigned long long)(need >> 20));
    return IJ_OK;
}

static enum ij_status copy_to(const char *directory, bool metrics, const char *path,
                              struct ij_err *reterr_err)
{
    struct store *store = NULL;
    IJ_TRY(store_reader_open(directory, &store, reterr_err));
    enum ij_status status = store_backup(store, metrics, path, reterr_err);
    store_close(store);
    return status;
}

enum ij_status backup_set_make(const char *directory, bool metrics, int64_t wall_ms,
                               uint64_t floor_bytes, struct ij_err *reterr_err)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 64], partial[PATH_BYTES + 96];
    char name[BACKUP_SET_NAME_SIZE];
    folder_of(directory, folder);
    name_of(metrics, wall_ms, name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(partial, sizeof partial, "%s" PARTIAL, path);
    IJ_TRY(file_make_dirs(folder, 0700, reterr_err));
    IJ_TRY(check_space(directory, metrics, floor_bytes, reterr_err));
    if (access(path, F_OK) == 0)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "%s is there already", path);
    if (unlink(partial) < 0 && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, partial, "cannot remove %s", partial);
    IJ_TRY(copy_to(directory, metrics, partial, reterr_err));
    if (rename(partial, path) < 0) {
        int error = errno;
        (void)unlink(partial);
        return IJ_ERR_SYS(reterr_err, error, path, "cannot name %s", path);
    }
    return file_fsync_dir(folder, reterr_err);
}

/* ---- Listing --------------------------------------------------------------------------------- */

struct list {
    struct backup_set_entry *entries;
    size_t count, capacity;
};

static enum ij_status add(struct list *list, const char *folder, const char *name,
                          struct ij_err *reterr_err)
{
    struct backup_set_entry entry;
    char path[PATH_BYTES + 300];
    struct stat st;
    if (!backup_set_parse(name, &entry))
        return IJ_OK;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return IJ_OK;
    entry.bytes = (uint64_t)st.st_size;
    if (list->count == list->capacity) {
        size_t next = list->capacity ? 2 * list->capacity : 32;
        struct backup_set_entry *grown = mem_grow(list->entries, next, sizeof *grown);
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the list of backups");
        list->entries = grown;
        list->capacity = next;
    }
    list->entries[list->count++] = entry;
    return IJ_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct backup_set_entry *left = a, *right = b;
    return (left->made_ms < right->made_ms) - (left->made_ms > right->made_ms);
}

enum ij_status backup_set_list(const char *directory, struct backup_set_entry **ret_entries,
                               size_t *ret_count, struct ij_err *reterr_err)
{
    char folder[PATH_BYTES];
    struct list list = {.entries = NULL};
    enum ij_status status = IJ_OK;
    folder_of(directory, folder);
    DIR *dir = opendir(folder);
    if (!dir && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, folder, "cannot read %s", folder);
    for (struct dirent *entry; dir && status == IJ_OK && (entry = readdir(dir));)
        status = add(&list, folder, entry->d_name, reterr_err);
    if (dir)
        closedir(dir);
    if (status != IJ_OK) {
        mem_free(list.entries);
        return status;
    }
    if (list.count)
        qsort(list.entries, list.count, sizeof *list.entries, newest_first);
    *ret_entries = list.entries;
    *ret_count = list.count;
    return IJ_OK;
}

/* ---- Pruning --------------------------------------------------------------------------------- */

/* A copy that was cut short, and the journal that SQLite may have left beside it. */
static bool is_left_over(const char *name, bool metrics)
{
    size_t prefix = strlen(kind_name(metrics));
    return strncmp(name, kind_name(metrics), prefix) == 0 && name[prefix] == '-' &&
           strstr(name, ".db" PARTIAL);
}

static void remove_left_overs(const char *directory, bool metrics)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 300];
    folder_of(directory, folder);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (is_left_over(entry->d_name, metrics)) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            (void)unlink(path); /* the next time, then */
        }
    if (dir)
        closedir(dir);
}

enum ij_status backup_set_prune(const char *directory, bool metrics, size_t keep,
                                struct ij_err *reterr_err)
{
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count, seen = 0;
    remove_left_overs(directory, metrics);
    IJ_TRY(backup_set_list(directory, &entries, &count, reterr_err));
    for (size_t i = 0; i < count; i++) {
        char path[PATH_BYTES + 64];
        if (entries[i].metrics != metrics || ++seen <= keep)
            continue;
        backup_set_path(directory, entries[i].name, path, sizeof path);
        if (unlink(path) < 0 && errno != ENOENT)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot remove %s", path);
    }
    return IJ_OK;
}
