/* The one table of routes (routes.c). The router, the OpenAPI document, the access checks and the
 * tests all read it. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/router.h"

#define ROUTES_MAX 96

extern const struct route routes_table[];
extern const size_t routes_count;

/* Position of a row of the table, ROUTES_MAX for NULL. */
size_t routes_index(const struct route *route);

#endif
