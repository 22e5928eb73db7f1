/*
 * The query part of a request target: decoded once, checked against the route's own list.
 *
 * A parameter given twice, an unknown one (the nearest is named), a bad escape, a NUL or bytes that
 * are not UTF-8 are errors. Pure; any thread.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define QUERY_PAIRS_MAX 32

enum query_type { QUERY_TEXT, QUERY_INTEGER, QUERY_FLAG };

/* One parameter of a route; a list of them ends with a NULL name. */
struct query_spec {
    const char *name;
    enum query_type type;
    uint64_t min, max; /* QUERY_INTEGER; QUERY_TEXT: max bytes, 0 = 256 */
    const char *help;
};

struct query {
    char *text; /* owned: the decoded bytes that the pairs point into */
    size_t count;
    const char *names[QUERY_PAIRS_MAX], *values[QUERY_PAIRS_MAX];
};

/* `raw` is what follows '?', NULL if nothing does. On success the caller calls query_done. */
IJ_MUST_USE enum ij_status query_parse(const char *raw, struct query *ret_query,
                                       struct ij_err *reterr_err);
void query_done(struct query *query);
/* Names and values against the list; NULL means that the route takes no parameter. */
IJ_MUST_USE enum ij_status query_check(const struct query *query, const struct query_spec *specs,
                                       struct ij_err *reterr_err);

const char *query_get(const struct query *query, const char *name); /* NULL if absent */
/* After query_check: the values are known to be right. */
uint64_t query_integer(const struct query *query, const char *name, uint64_t fallback);
bool query_flag(const struct query *query, const char *name);

#endif
