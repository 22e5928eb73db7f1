/*
 * One request from its first line to its answer. Lives in its listener's thread only.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <jansson.h>
#include <stdint.h>

#include "api/auth.h"
#include "api/context.h"
#include "api/http_check.h"
#include "api/problem.h"
#include "api/query.h"
#include "api/router.h"
#include "base/buf.h"

enum request_phase { REQUEST_NEW, REQUEST_BODY, REQUEST_ANSWERED };

struct request {
    struct api *api;           /* borrowed */
    struct listener *listener; /* borrowed */
    struct MHD_Connection *connection;
    char *target;   /* owned: the raw request target */
    char path[256]; /* the target without query, cut; for problems and logs */
    char id[24];
    enum request_phase phase;
    int64_t started_ns;

    struct http_check_header headers[HTTP_CHECK_HEADERS_MAX]; /* borrowed from the connection */
    struct http_check_request view;
    struct router_match match; /* route NULL until it is found */
    struct query query;
    struct auth_identity who;
    char address[64]; /* of the peer, or "unix" */

    struct problem problem; /* http != 0: the answer is this */
    bool must_close;        /* the framing cannot be trusted, or the body is not read to its end */
    struct buf body;
    json_t *json;        /* owned; the parsed body, NULL if there was none */
    struct store *store; /* taken when first needed */
};

struct request *request_new(struct listener *listener, struct MHD_Connection *connection,
                            const char *target); /* NULL: no memory */
void request_free(struct request *request);      /* NULL is fine */

/* The request's read-only database handle. */
IJ_MUST_USE enum ij_status request_store(struct request *request, struct store **ret_store,
                                         struct ij_err *reterr_err);
/* Gives the handle back; the next request_store takes one again. */
void request_release_store(struct request *request);
/* Sets the problem and returns IJ_INVALID, for `return request_refuse(...)`. */
__attribute__((format(printf, 3, 4))) enum ij_status
request_refuse(struct request *request, enum problem_kind kind, const char *format, ...);

/* Argument `index` of the path as "r42" -> 42; IJ_NOT_FOUND where it has another form. */
IJ_MUST_USE enum ij_status request_id(const struct request *request, size_t index, char prefix,
                                      int64_t *ret_id, struct ij_err *reterr_err);
const char *request_header(const struct request *request, const char *name); /* NULL: absent */
const char *request_query(const struct request *request, const char *name);  /* NULL: absent */

#endif
