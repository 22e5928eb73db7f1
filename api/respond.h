/*
 * From a reply or a problem to a libmicrohttpd response: status, headers, body. The headers that
 * protect a browser are on every answer. Listener threads.
 */
#ifndef API_RESPOND_H
#define API_RESPOND_H

#include <microhttpd.h>

#include "api/reply.h"
#include "api/request.h"

/* Sends and releases the reply's content. MHD_NO: the connection is to be closed. */
enum MHD_Result respond_reply(struct request *request, struct reply *reply);
/* Sends request->problem. */
enum MHD_Result respond_problem(struct request *request);

#endif
