/* See status.h. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct status_row {
    const char *name;
    int http;
    bool retryable;
    int exit_code;
};

static const struct status_row status_rows[IJ_STATUS_COUNT] = {
#define X(code, name, http, retry, exit_code) [IJ_##code] = {name, http, retry, exit_code},
    IJ_STATUS_MAP(X)
#undef X
};

static const struct status_row *status_row(enum ij_status code)
{
    IJ_ASSERT((unsigned)code < IJ_STATUS_COUNT);
    return &status_rows[code];
}

const char *ij_status_name(enum ij_status code)
{
    return status_row(code)->name;
}

int ij_status_http(enum ij_status code)
{
    return status_row(code)->http;
}

bool ij_status_retryable(enum ij_status code)
{
    return status_row(code)->retryable;
}

int ij_status_exit_code(enum ij_status code)
{
    return status_row(code)->exit_code;
}

enum ij_status ij_status_from_exit_code(int exit_code)
{
    for (int i = 0; i < IJ_STATUS_COUNT; i++)
        if (status_rows[i].exit_code == exit_code)
            return (enum ij_status)i;
    return IJ_INTERNAL;
}

enum ij_status ij_status_from_errno(int sys)
{
    switch (sys) {
    case 0:
        return IJ_OK;
    case ENOENT:
    case ENOTDIR:
        return IJ_NOT_FOUND;
    case EACCES:
    case EPERM:
        return IJ_FORBIDDEN;
    case ENOSPC:
    case EDQUOT:
        return IJ_NO_SPACE;
    case ENOMEM:
        return IJ_NO_MEMORY;
    case EEXIST:
        return IJ_CONFLICT;
    case EFBIG:
        return IJ_TOO_LARGE;
    case ETIMEDOUT:
        return IJ_TIMEOUT;
    case EBUSY:
    case EAGAIN:
        return IJ_BUSY;
    default:
        return IJ_IO;
    }
}

enum ij_status ij_err_set(struct ij_err *reterr_err, enum ij_status code, int sys, const char *file,
                          int line, const char *field, const char *format, ...)
{
    if (code == IJ_OK) /* errno 0: still a failure for whoever calls this */
        code = IJ_INTERNAL;
    if (!reterr_err)
        return code;
    /* The caller may pass parts of the very error it overwrites: build it apart. */
    struct ij_err next = {.code = code, .sys = sys, .file = file, .line = line};
    va_list args;
    va_start(args, format);
    int used = vsnprintf(next.text, sizeof next.text, format, args);
    va_end(args);
    if (sys && used >= 0 && (size_t)used < sizeof next.text)
        snprintf(next.text + used, sizeof next.text - (size_t)used, ": %s", strerror(sys));
    snprintf(next.field, sizeof next.field, "%s", field ? field : "");
    *reterr_err = next;
    return code;
}

void ij_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
