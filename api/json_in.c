/* See json_in.h. */
#include "api/json_in.h"

#include <stdio.h>
#include <string.h>

#include "base/seed_bug.h"
#include "base/text.h"

struct scan {
    const char *text;
    size_t size, at;
    unsigned depth, line;
    size_t line_start;
};

static enum ij_status scan_error(const struct scan *scan, const char *what,
                                 struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: %s at line %u, column %zu", what, scan->line,
                  scan->at - scan->line_start + 1);
}

/* From the opening quote to behind the closing one; an unclosed string is the parser's to report.
 */
static enum ij_status scan_string(struct scan *scan, struct ij_err *reterr_err)
{
    size_t start = ++scan->at;
    while (scan->at < scan->size && scan->text[scan->at] != '"') {
        scan->at += scan->text[scan->at] == '\\' ? 2 : 1;
        if (scan->at - start > JSON_IN_STRING_MAX)
            return scan_error(scan, "a string is longer than 64 KiB", reterr_err);
    }
    scan->at++;
    return IJ_OK;
}

/* Limits depth and string length in one pass without memory; it does not check the grammar. */
static enum ij_status scan_limits(const char *text, size_t size, struct ij_err *reterr_err)
{
    struct scan scan = {.text = text, .size = size, .line = 1};
    while (scan.at < size) {
        char c = text[scan.at];
        if (c == '"') {
            IJ_TRY(scan_string(&scan, reterr_err));
            continue;
        }
        if (c == '\n') {
            scan.line++;
            scan.line_start = scan.at + 1;
        }
        if ((c == '[' || c == '{') && ++scan.depth > JSON_IN_DEPTH_MAX + SEED_BUG(DEPTH_LIMIT))
            return scan_error(&scan, "nesting is deeper than 32", reterr_err);
        if ((c == ']' || c == '}') && scan.depth > 0)
            scan.depth--;
        scan.at++;
    }
    return IJ_OK;
}

enum ij_status json_in_parse(const char *text, size_t size, json_t **ret_value,
                             struct ij_err *reterr_err)
{
    if (size == 0)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: the body is empty, an object is expected");
    IJ_TRY(scan_limits(text, size, reterr_err));
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!value && json_error_code(&error) == json_error_out_of_memory)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the JSON body");
    if (!value)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: %s at line %d, column %d", error.text,
                      error.line, error.column);
    *ret_value = value;
    return IJ_OK;
}

enum ij_status json_in_object(const char *text, size_t size, json_t **ret_object,
                              struct ij_err *reterr_err)
{
    json_t *value = NULL;
    IJ_TRY(json_in_parse(text, size, &value, reterr_err));
    if (!json_is_object(value)) {
        json_decref(value);
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: the body must be an object");
    }
    *ret_object = value;
    return IJ_OK;
}

static void add_unknown(struct problem *problem, const char *key, const char *near)
{
    char pointer[96];
    (void)snprintf(pointer, sizeof pointer, "/%.64s", key);
    if (near)
        problem_add_error(problem, pointer, "unknown key; did you mean \"%s\"?", near);
    else
        problem_add_error(problem, pointer, "unknown key");
}

enum ij_status json_in_known_keys(const json_t *object, const char *const *names, size_t count,
                                  struct problem *problem, struct ij_err *reterr_err)
{
    enum ij_status status = IJ_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < count && !known; i++)
            known = strcmp(names[i], key) == 0;
        if (known)
            continue;
        const char *near = text_nearest(key, names, count);
        add_unknown(problem, key, near);
        if (status == IJ_OK)
            status = near ? IJ_ERR(reterr_err, IJ_INVALID,
                                   "unknown key \"%.64s\"; did you mean \"%s\"?", key, near)
                          : IJ_ERR(reterr_err, IJ_INVALID, "unknown key \"%.64s\"", key);
    }
    return status;
}

static enum ij_status member_error(const char *key, const char *expected, struct ij_err *reterr_err)
{
    char pointer[96];
    (void)snprintf(pointer, sizeof pointer, "/%.64s", key);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "must be %s", expected);
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

enum ij_status json_in_text(const json_t *object, const char *key, size_t bytes_max,
                            const char **value, struct ij_err *reterr_err)
{
    const json_t *found = member(object, key);
    if (!found)
        return IJ_OK;
    char expected[64];
    (void)snprintf(expected, sizeof expected, "a string of at most %zu bytes", bytes_max);
    if (!json_is_string(found) || json_string_length(found) > bytes_max)
        return member_error(key, expected, reterr_err);
    *value = json_string_value(found);
    return IJ_OK;
}

enum ij_status json_in_integer(const json_t *object, const char *key, json_int_t min,
                               json_int_t max, json_int_t *value, struct ij_err *reterr_err)
{
    const json_t *found = member(object, key);
    if (!found)
        return IJ_OK;
    char expected[96];
    (void)snprintf(expected, sizeof expected,
                   "an integer between %" JSON_INTEGER_FORMAT " and %" JSON_INTEGER_FORMAT, min,
                   max);
    if (!json_is_integer(found) || json_integer_value(found) < min ||
        json_integer_value(found) > max)
        return member_error(key, expected, reterr_err);
    *value = json_integer_value(found);
    return IJ_OK;
}

enum ij_status json_in_bool(const json_t *object, const char *key, bool *value,
                            struct ij_err *reterr_err)
{
    const json_t *found = member(object, key);
    if (!found)
        return IJ_OK;
    if (!json_is_boolean(found))
        return member_error(key, "true or false", reterr_err);
    *value = json_is_true(found);
    return IJ_OK;
}
