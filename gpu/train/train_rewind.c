/* See train_rewind.h. The file: {"rewinds": 1, "left_out": [{"first": 40, "count": 25}]} */
#include "gpu/train/train_rewind.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/engine.h"

#define FILE_BYTES_MAX 4096
#define PLACE_MAX      (INT64_MAX / 4)

uint64_t train_rewind_place(const struct train_rewind *rewind, uint64_t step)
{
    uint64_t place = step;
    for (uint32_t i = 0; i < rewind->window_count; i++)
        if (place >= rewind->windows[i].first)
            place += rewind->windows[i].count;
    return place;
}

static uint64_t end_of(const struct train_rewind_window *window)
{
    return window->first + window->count;
}

/* Takes the windows that `fresh` overlaps or touches into it, and puts it where it belongs. */
static void merge(struct train_rewind *rewind, struct train_rewind_window fresh)
{
    struct train_rewind_window kept[TRAIN_REWIND_MAX];
    uint32_t count = 0, at = 0;
    for (uint32_t i = 0; i < rewind->window_count; i++) {
        const struct train_rewind_window *old = &rewind->windows[i];
        if (end_of(old) < fresh.first || end_of(&fresh) < old->first) {
            kept[count++] = *old;
            continue;
        }
        uint64_t end = end_of(old) > end_of(&fresh) ? end_of(old) : end_of(&fresh);
        fresh.first = old->first < fresh.first ? old->first : fresh.first;
        fresh.count = end - fresh.first;
    }
    while (at < count && kept[at].first < fresh.first)
        at++;
    memcpy(rewind->windows, kept, at * sizeof *kept);
    rewind->windows[at] = fresh;
    memcpy(rewind->windows + at + 1, kept + at, (count - at) * sizeof *kept);
    rewind->window_count = count + 1;
}

enum ij_status train_rewind_add(struct train_rewind *rewind, uint64_t back_to, uint64_t failed,
                                uint64_t more, struct train_rewind_window *ret_window,
                                struct ij_err *reterr_err)
{
    IJ_ASSERT(failed >= back_to);
    if (rewind->count == TRAIN_REWIND_MAX)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "the run has gone back %d times already",
                      TRAIN_REWIND_MAX);
    struct train_rewind_window fresh = {.first = train_rewind_place(rewind, back_to)};
    fresh.count = train_rewind_place(rewind, failed) - fresh.first + 1 + more;
    merge(rewind, fresh);
    rewind->count++;
    if (ret_window)
        *ret_window = fresh;
    return IJ_OK;
}

/* ---- The file -------------------------------------------------------------------------------- */

static bool read_count(const json_t *object, const char *key, uint64_t min, uint64_t max,
                       uint64_t *ret_value)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return false;
    *ret_value = (uint64_t)number;
    return true;
}

static bool read_all(const json_t *object, struct train_rewind *rewind)
{
    const json_t *list = json_object_get(object, "left_out");
    uint64_t count, end = 0;
    if (!read_count(object, "rewinds", 1, TRAIN_REWIND_MAX, &count) || !json_is_array(list) ||
        json_array_size(list) < 1 || json_array_size(list) > count)
        return false;
    rewind->count = (uint32_t)count;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct train_rewind_window *window = &rewind->windows[i];
        const json_t *item = json_array_get(list, i);
        if (!read_count(item, "first", i ? end + 1 : 0, PLACE_MAX, &window->first) ||
            !read_count(item, "count", 1, PLACE_MAX, &window->count))
            return false;
        end = end_of(window);
        rewind->window_count++;
    }
    return true;
}

static void file_path(const char *run_directory, char ret_path[ENGINE_PATH_MAX + 16])
{
    snprintf(ret_path, ENGINE_PATH_MAX + 16, "%s/rewind.json", run_directory);
}

enum ij_status train_rewind_load(const char *run_directory, struct train_rewind *ret_rewind,
                                 struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 16];
    mem_auto char *data = NULL;
    size_t size;
    struct ij_err err = IJ_ERR_INIT;
    file_path(run_directory, path);
    *ret_rewind = (struct train_rewind){0};
    enum ij_status status = file_read(path, FILE_BYTES_MAX, &data, &size, &err);
    if (status == IJ_NOT_FOUND)
        return IJ_OK;
    if (status != IJ_OK)
        return IJ_ERR_FIELD(reterr_err, status, "directory", "%s", err.text);
    json_t *object = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
    bool whole = json_is_object(object) && read_all(object, ret_rewind);
    json_decref(object);
    if (!whole)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, "directory",
                            "%s does not say which data is left out", path);
    return IJ_OK;
}

enum ij_status train_rewind_save(const char *run_directory, const struct train_rewind *rewind,
                                 struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 16];
    json_t *list = json_array();
    file_path(run_directory, path);
    for (uint32_t i = 0; i < rewind->window_count; i++)
        (void)json_array_append_new(list, json_pack("{s:I, s:I}", "first",
                                                    (json_int_t)rewind->windows[i].first, "count",
                                                    (json_int_t)rewind->windows[i].count));
    json_t *object = json_pack("{s:i, s:o}", "rewinds", (int)rewind->count, "left_out", list);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to note what data is left out");
    enum ij_status status = file_write_durable(path, text, strlen(text), 0600, reterr_err);
    free(text);
    return status;
}
