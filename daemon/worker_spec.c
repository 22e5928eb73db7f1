/* See worker_spec.h. */
#include "daemon/worker_spec.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/params.h"

#define FILE_MAX (1024 * 1024)

static const char *const known_keys[] = {"kind",   "params",        "directory",
                                         "resume", "run",           "attempt",
                                         "gpus",   "device_checks", "rank_timeout_s"};

static enum ij_status check_keys(const json_t *object, struct ij_err *reterr_err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(known_keys); i++)
            known |= strcmp(key, known_keys[i]) == 0;
        const char *nearest = known ? NULL : text_nearest(key, known_keys, COUNT_OF(known_keys));
        if (!known)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key, "unknown key \"%.60s\"%s%s%s", key,
                                nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                                nearest ? "\"?" : "");
    }
    return IJ_OK;
}

static enum ij_status read_ranks(const json_t *object, struct engine_ranks *ret_ranks,
                                 struct ij_err *reterr_err)
{
    const json_t *gpus = json_object_get(object, "gpus");
    const json_t *timeout = json_object_get(object, "rank_timeout_s");
    long long count = json_is_array(gpus) ? (long long)json_array_size(gpus) : 1;
    if (json_is_integer(gpus))
        count = json_integer_value(gpus);
    else if (gpus && !json_is_array(gpus))
        count = -1;
    if (count < 0 || count > ENGINE_RANKS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "gpus",
                            "gpus must be 1 to %d, or a list of as many devices", ENGINE_RANKS_MAX);
    if (timeout && !(json_number_value(timeout) > 0))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "rank_timeout_s",
                            "rank_timeout_s must be a number of seconds above 0");
    *ret_ranks = (struct engine_ranks){.count = count > 1 ? (uint32_t)count : 1, .fd = -1};
    ret_ranks->timeout_s = json_number_value(timeout);
    return IJ_OK;
}

static enum ij_status copy_path(const json_t *object, const char *key, char *ret_path,
                                struct ij_err *reterr_err)
{
    const json_t *value = json_object_get(object, key);
    const char *text = value ? json_string_value(value) : "";
    if (!text || strlen(text) >= ENGINE_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, key, "%s must be a path of at most %d bytes",
                            key, ENGINE_PATH_MAX - 1);
    snprintf(ret_path, ENGINE_PATH_MAX, "%s", text);
    return IJ_OK;
}

enum ij_status worker_spec_parse(const json_t *object, struct engine_spec *ret_spec,
                                 struct ij_err *reterr_err)
{
    enum engine_kind kind;
    char kinds[256];
    const char *name = json_string_value(json_object_get(object, "kind"));
    if (!json_is_object(object))
        return IJ_ERR(reterr_err, IJ_INVALID, "a run's description is a JSON object");
    IJ_TRY(check_keys(object, reterr_err));
    params_kind_list(kinds, sizeof kinds);
    if (!name || !params_kind_from_name(name, &kind))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "kind", "kind must be one of %s", kinds);
    json_t *params = json_object_get(object, "params");
    json_t *empty = json_object();
    enum ij_status status =
        params_from_json(kind, params ? params : empty, "/params", ret_spec, NULL, reterr_err);
    json_decref(empty);
    IJ_TRY(status);
    IJ_TRY(read_ranks(object, &ret_spec->ranks, reterr_err));
    if (ret_spec->ranks.count > 1 && kind != ENGINE_PRETRAIN)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "gpus", "only pretrain runs on several GPUs");
    IJ_TRY(copy_path(object, "directory", ret_spec->directory, reterr_err));
    IJ_TRY(copy_path(object, "device_checks", ret_spec->device_checks, reterr_err));
    return copy_path(object, "resume", ret_spec->resume, reterr_err);
}

enum ij_status worker_spec_load(const char *path, struct engine_spec *ret_spec, json_t **ret_object,
                                struct ij_err *reterr_err)
{
    mem_auto char *text = NULL;
    size_t size;
    json_error_t error;
    IJ_TRY(file_read(path, FILE_MAX, &text, &size, reterr_err));
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, path, "%s:%d: %s", path, error.line,
                            error.text);
    enum ij_status status = worker_spec_parse(object, ret_spec, reterr_err);
    if (status == IJ_OK && ret_object)
        *ret_object = json_incref(object);
    json_decref(object);
    return status;
}
