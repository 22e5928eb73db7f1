/*
 * The glue to libmicrohttpd: one MHD daemon with one epoll thread per listener, its callbacks, and
 * the order in which a request is checked:
 *
 *   head complete   shape (400, close), Host (421), size (413), route (404, 405), query (422),
 *                   caller (401), origin and media type (403, 415), role (403)
 *   body complete   JSON (400), then the handler
 *
 * A refusal found in the head is answered after the body has been read and dropped, as a client
 * that is still sending would otherwise lose the answer; a body that is far too large is not waited
 * for. Nothing is looked up for a caller who is not known yet.
 */
#ifndef API_SERVER_H
#define API_SERVER_H

#include "api/context.h"

IJ_MUST_USE enum ij_status server_start(struct listener *listener, struct ij_err *reterr_err);
/* Stops accepting; call before the streams are ended. */
void server_quiesce(struct listener *listener);
/* Joins the thread. No connection may be suspended. */
void server_stop(struct listener *listener);

#endif
