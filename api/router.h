/*
 * Which handler answers a method and a path. Pure; the table itself is routes.c.
 *
 * A pattern is a path in which "{name}" stands for one segment of [A-Za-z0-9._-]{1,128}. Nothing is
 * decoded: no name in a path needs an escape. HEAD goes where GET goes.
 */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "store/token_row.h"

#define ROUTER_ARGS_MAX 3
#define ROUTER_ARG_MAX  128

struct request;
struct reply;
struct query_spec;

/* ROUTER_OPEN, or the least role that may call it: one more than its token_row_role. */
enum router_role {
    ROUTER_OPEN, /* no token needed */
    ROUTER_VIEWER = TOKEN_ROW_VIEWER + 1,
    ROUTER_SUBMITTER = TOKEN_ROW_SUBMITTER + 1,
    ROUTER_OPERATOR = TOKEN_ROW_OPERATOR + 1,
    ROUTER_ADMIN = TOKEN_ROW_ADMIN + 1,
};

/* Fills *reply, or returns an error: then the reply is a problem made of *reterr_err, unless the
 * handler has set request->problem itself. */
typedef enum ij_status (*router_handler)(struct request *request, struct reply *reply,
                                         struct ij_err *reterr_err);

struct route {
    const char *method, *pattern;
    router_handler handler;
    enum router_role role;
    unsigned success;               /* the HTTP status of the normal answer */
    const char *tag, *summary;      /* for the OpenAPI document */
    const char *request_schema;     /* NULL: takes no body */
    const char *response_schema;    /* NULL: not JSON, see media */
    const char *media;              /* of the normal answer; NULL: application/json */
    const struct query_spec *query; /* ends with a NULL name; NULL: none */
};

enum router_result { ROUTER_FOUND, ROUTER_NO_PATH, ROUTER_NO_METHOD };

struct router_match {
    const struct route *route;
    char args[ROUTER_ARGS_MAX][ROUTER_ARG_MAX + 1]; /* in order of the pattern */
};

/* `path` ends at '?' or NUL. */
enum router_result router_find(const struct route *routes, size_t count, const char *method,
                               const char *path, struct router_match *ret_match);
/* "GET, HEAD, POST" for a path; "" if there is no such path. */
void router_allow(const struct route *routes, size_t count, const char *path, char *ret_text,
                  size_t size);
const char *router_role_name(enum router_role role); /* "none", "viewer", ...; static */

#endif
