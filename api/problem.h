/*
 * Errors as RFC 9457 problem documents (application/problem+json).
 *
 * A problem is plain data owned by its request. Two sources fill it: a `struct ij_err` from a lower
 * layer, and the kinds that only exist in HTTP (the table below). `code` is what programs switch
 * on; `type` is the path /problems/<code>, which the server explains.
 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* X(kind, HTTP status, code, title): refusals that no lower layer knows. */
#define PROBLEM_MAP(X)                                                                             \
    X(METHOD, 405, "method_not_allowed", "This address does not take that method")                 \
    X(REQUEST_TIMEOUT, 408, "request_timeout", "The request took too long to arrive")              \
    X(IF_MATCH, 412, "precondition_failed", "The resource has changed meanwhile")                  \
    X(MEDIA_TYPE, 415, "unsupported_media_type", "The body must be JSON")                          \
    X(RANGE, 416, "range_not_satisfiable", "The range lies outside the file")                      \
    X(MISDIRECTED, 421, "misdirected", "This server does not answer for that host")                \
    X(IDEMPOTENCY, 422, "idempotency_key_reused", "The key was used with another body")            \
    X(NEED_IF_MATCH, 428, "precondition_required", "An If-Match header is needed")                 \
    X(TOO_MANY, 429, "too_many", "A limit on simultaneous use is reached")

enum problem_kind {
    PROBLEM_NONE,
#define X(kind, http, code, title) PROBLEM_##kind,
    PROBLEM_MAP(X)
#undef X
        PROBLEM_KIND_COUNT
};

struct problem {
    unsigned http;            /* 0: no problem */
    const char *code, *title; /* static */
    char detail[IJ_ERR_TEXT_MAX + IJ_ERR_FIELD_MAX + 4];
    char state[32];           /* of the run a command could not act on, "" otherwise */
    unsigned retry_after_s;   /* 0: no Retry-After */
    uint64_t file_bytes;      /* of a range that lies outside it: for Content-Range */
    json_t *errors, *allowed; /* owned arrays, NULL: absent */
};

void problem_init(struct problem *problem);
void problem_done(struct problem *problem);
void problem_from_err(struct problem *problem, const struct ij_err *err);
__attribute__((format(printf, 3, 4))) void
problem_set(struct problem *problem, enum problem_kind kind, const char *format, ...);
/* Appends {"pointer","detail"}; lack of memory loses the entry, never the problem. */
__attribute__((format(printf, 3, 4))) void
problem_add_error(struct problem *problem, const char *pointer, const char *format, ...);

/* The document. `instance` is the path asked for. New reference; NULL: no memory. */
json_t *problem_to_json(const struct problem *problem, const char *instance,
                        const char *request_id);

/* What /problems/<code> says: title and HTTP status of a code. NULL if there is no such code. */
const char *problem_explain(const char *code, unsigned *ret_http);

#endif
