/* The Link header (RFC 8288) of a page that has a next one. */
#ifndef API_PAGE_LINK_H
#define API_PAGE_LINK_H

#include "api/reply.h"
#include "api/request.h"

/* The target asked for, with the parameter `name` set to `value`. Left out where it does not fit
 * into a header of this server; the body says the same. */
void page_link_next(const struct request *request, struct reply *reply, const char *name,
                    const char *value);
/* The same with before=<id>; 0: there is no next page. */
void page_link_before(const struct request *request, struct reply *reply, int64_t before);

#endif
