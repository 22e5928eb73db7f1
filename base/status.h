/*
 * One status and one error type for the whole project.
 *
 * Every function that can fail returns `enum ij_status` and, as its last parameter, fills a
 * caller-owned `struct ij_err` (NULL is allowed: the text is then lost, the code is not). A lower
 * layer's message is passed up unchanged; whoever can add the missing context (which file, which
 * field) sets it where the failure happens. Library code never prints and never exits: the two
 * roots (daemon/main.c, daemon/worker.c) log each failure once and map it to an exit code.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(code, name, HTTP status, worker may be started again, worker exit code).
 * Exit codes follow sysexits(3): 78 configuration, 65 data, 74 I/O, 75 stopped on request. */
#define IJ_STATUS_MAP(X)                                                                           \
    X(OK, "ok", 200, false, 0)                                                                     \
    X(INVALID, "invalid", 422, false, 78)                                                          \
    X(MALFORMED, "malformed", 400, false, 65)                                                      \
    X(UNAUTHORIZED, "unauthorized", 401, false, 78)                                                \
    X(FORBIDDEN, "forbidden", 403, false, 78)                                                      \
    X(NOT_FOUND, "not_found", 404, false, 78)                                                      \
    X(CONFLICT, "conflict", 409, false, 78)                                                        \
    X(TOO_LARGE, "too_large", 413, false, 65)                                                      \
    X(CORRUPT, "corrupt", 500, false, 65)                                                          \
    X(DATA, "bad_data", 422, false, 65)                                                            \
    X(UNSUPPORTED, "unsupported", 422, false, 78)                                                  \
    X(STOPPED, "stopped", 503, true, 75)                                                           \
    X(DEGRADED, "degraded", 503, true, 75)                                                         \
    X(BUSY, "busy", 503, true, 75)                                                                 \
    X(TIMEOUT, "timeout", 503, true, 74)                                                           \
    X(IO, "io", 500, true, 74)                                                                     \
    X(NO_SPACE, "no_space", 507, true, 74)                                                         \
    X(NO_MEMORY, "no_memory", 503, false, 71)                                                      \
    X(DEVICE, "device", 500, true, 69)                                                             \
    X(NONFINITE, "nonfinite", 500, false, 76)                                                      \
    X(INTERNAL, "internal", 500, true, 70)

enum ij_status {
#define X(code, name, http, retry, exit_code) IJ_##code,
    IJ_STATUS_MAP(X)
#undef X
        IJ_STATUS_COUNT
};

#define IJ_ERR_TEXT_MAX  512
#define IJ_ERR_FIELD_MAX 128

/* Caller-owned; no cleanup needed. `field` names the parameter, JSON pointer or file at fault. */
struct ij_err {
    enum ij_status code;
    int sys;          /* errno, or 0 */
    const char *file; /* static: where it was set */
    int line;
    char field[IJ_ERR_FIELD_MAX]; /* "" when no single field is at fault */
    char text[IJ_ERR_TEXT_MAX];   /* one sentence without a final stop */
};

#define IJ_ERR_INIT                                                                                \
    {                                                                                              \
        .code = IJ_OK                                                                              \
    }
#define IJ_MUST_USE __attribute__((warn_unused_result))

const char *ij_status_name(enum ij_status code); /* "invalid"; static */
int ij_status_http(enum ij_status code);         /* 422 */
bool ij_status_retryable(enum ij_status code);
int ij_status_exit_code(enum ij_status code);
enum ij_status ij_status_from_exit_code(int exit_code); /* first match; IJ_INTERNAL if unknown */
enum ij_status ij_status_from_errno(int sys);

/* Fill *reterr_err and return `code`. Use the macros below, which add file and line. */
__attribute__((format(printf, 7, 8))) enum ij_status
ij_err_set(struct ij_err *reterr_err, enum ij_status code, int sys, const char *file, int line,
           const char *field, const char *format, ...);

/* What set an error is never taken for a success, and compilers see it. */
static inline enum ij_status ij_failed(enum ij_status code)
{
    return code != IJ_OK ? code : IJ_INTERNAL;
}
#define IJ_ERR_AT(err, code, sys, field, ...)                                                      \
    ij_failed(ij_err_set((err), (code), (sys), __FILE__, __LINE__, (field), __VA_ARGS__))

/* IJ_ERR(err, IJ_INVALID, "batch must be at least %d", 1) */
#define IJ_ERR(err, code, ...) IJ_ERR_AT(err, code, 0, "", __VA_ARGS__)
/* IJ_ERR_FIELD(err, IJ_INVALID, "batch", "must be at least %d, got %d", 1, n) */
#define IJ_ERR_FIELD(err, code, field, ...) IJ_ERR_AT(err, code, 0, field, __VA_ARGS__)
/* Status from errno; ": strerror" is appended. IJ_ERR_SYS(err, errno, path, "cannot open %s", p) */
#define IJ_ERR_SYS(err, sys, field, ...)                                                           \
    IJ_ERR_AT(err, ij_status_from_errno(sys), sys, field, __VA_ARGS__)

/* Return the status to the caller unless it is IJ_OK. */
#define IJ_TRY(call)                                                                               \
    do {                                                                                           \
        enum ij_status try_status_ = (call);                                                       \
        if (try_status_ != IJ_OK)                                                                  \
            return try_status_;                                                                    \
    } while (0)

/* Set `status` and jump to `label` unless the call gave IJ_OK. */
#define IJ_TRY_GOTO(status, call, label)                                                           \
    do {                                                                                           \
        (status) = (call);                                                                         \
        if ((status) != IJ_OK)                                                                     \
            goto label;                                                                            \
    } while (0)

/* Programmer error: prints the condition and aborts. Never for input from users, disk or network.
 * Stays on in release builds. */
#define IJ_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : ij_assert_failed(#condition, __FILE__, __LINE__))
__attribute__((noreturn)) void ij_assert_failed(const char *condition, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
