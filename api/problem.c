/* See problem.h. */
#include "api/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

struct kind_row {
    unsigned http;
    const char *code, *title;
};

static const struct kind_row kind_rows[PROBLEM_KIND_COUNT] = {
#define X(kind, http, code, title) [PROBLEM_##kind] = {http, code, title},
    PROBLEM_MAP(X)
#undef X
};

static const char *const status_titles[IJ_STATUS_COUNT] = {
    [IJ_OK] = "No problem",
    [IJ_INVALID] = "A value is not acceptable",
    [IJ_MALFORMED] = "The request cannot be read",
    [IJ_UNAUTHORIZED] = "A valid token is needed",
    [IJ_FORBIDDEN] = "This caller may not do that",
    [IJ_NOT_FOUND] = "There is no such thing",
    [IJ_CONFLICT] = "The current state does not allow this",
    [IJ_TOO_LARGE] = "Too large",
    [IJ_CORRUPT] = "Stored data are damaged",
    [IJ_DATA] = "The data set cannot be used",
    [IJ_UNSUPPORTED] = "Not supported here",
    [IJ_STOPPED] = "The server is stopping",
    [IJ_DEGRADED] = "The server runs on a restored database",
    [IJ_BUSY] = "The server is busy",
    [IJ_TIMEOUT] = "No answer in time",
    [IJ_IO] = "A file or device failed",
    [IJ_NO_SPACE] = "The disk is full",
    [IJ_NO_MEMORY] = "Out of memory",
    [IJ_DEVICE] = "A device failed",
    [IJ_NONFINITE] = "A result is not finite",
    [IJ_INTERNAL] = "An internal error",
};

void problem_init(struct problem *problem)
{
    *problem = (struct problem){.http = 0};
}

void problem_done(struct problem *problem)
{
    json_decref(problem->errors);
    json_decref(problem->allowed);
    problem_init(problem);
}

static bool is_pointer(const char *field)
{
    return field[0] == '/';
}

/* "field: text", unless the text already begins with the field. */
static void join_detail(struct problem *problem, const struct ij_err *err)
{
    if (err->field[0] && strncmp(err->text, err->field, strlen(err->field)) != 0)
        (void)snprintf(problem->detail, sizeof problem->detail, "%s: %s", err->field, err->text);
    else
        (void)snprintf(problem->detail, sizeof problem->detail, "%s", err->text);
}

void problem_from_err(struct problem *problem, const struct ij_err *err)
{
    enum ij_status status = err->code == IJ_OK ? IJ_INTERNAL : err->code;
    problem->http = (unsigned)ij_status_http(status);
    problem->code = ij_status_name(status);
    problem->title = status_titles[status];
    join_detail(problem, err);
    text_make_utf8(problem->detail);
    if (problem->http == 503)
        problem->retry_after_s = 2;
    /* Where the server failed a field is one of its own files, not a place in the body. */
    if (problem->http < 500 && is_pointer(err->field) && !problem->errors)
        problem_add_error(problem, err->field, "%s", err->text);
}

void problem_set(struct problem *problem, enum problem_kind kind, const char *format, ...)
{
    const struct kind_row *row = &kind_rows[kind];
    problem->http = row->http;
    problem->code = row->code;
    problem->title = row->title;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(problem->detail, sizeof problem->detail, format, args);
    va_end(args);
    text_make_utf8(problem->detail);
}

void problem_add_error(struct problem *problem, const char *pointer, const char *format, ...)
{
    char detail[IJ_ERR_TEXT_MAX], place[IJ_ERR_FIELD_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    text_make_utf8(detail);
    (void)snprintf(place, sizeof place, "%s", pointer);
    text_make_utf8(place);
    if (!problem->errors)
        problem->errors = json_array();
    (void)json_array_append_new(problem->errors,
                                json_pack("{s:s, s:s}", "pointer", place, "detail", detail));
}

json_t *problem_to_json(const struct problem *problem, const char *instance, const char *request_id)
{
    char type[64];
    (void)snprintf(type, sizeof type, "/problems/%s", problem->code);
    json_t *object =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "type", type, "title", problem->title,
                  "status", (int)problem->http, "detail", problem->detail, "instance", instance,
                  "code", problem->code, "request_id", request_id);
    if (!object)
        return NULL;
    if (problem->errors && json_array_size(problem->errors))
        (void)json_object_set(object, "errors", problem->errors);
    if (problem->allowed)
        (void)json_object_set(object, "allowed", problem->allowed);
    if (problem->state[0])
        (void)json_object_set_new(object, "state", json_string(problem->state));
    return object;
}

const char *problem_explain(const char *code, unsigned *ret_http)
{
    for (size_t i = PROBLEM_NONE + 1; i < PROBLEM_KIND_COUNT; i++) {
        if (strcmp(kind_rows[i].code, code) == 0) {
            *ret_http = kind_rows[i].http;
            return kind_rows[i].title;
        }
    }
    for (int i = IJ_OK + 1; i < IJ_STATUS_COUNT; i++) {
        if (strcmp(ij_status_name((enum ij_status)i), code) == 0) {
            *ret_http = (unsigned)ij_status_http((enum ij_status)i);
            return status_titles[i];
        }
    }
    return NULL;
}
