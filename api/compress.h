/* Answers made smaller where the client takes it. Pure; any thread. */
#ifndef API_COMPRESS_H
#define API_COMPRESS_H

#include <stdbool.h>

#include "api/reply.h"

#define COMPRESS_MIN_BYTES 1024 /* smaller answers go as they are */

/* Does an Accept-Encoding header (NULL: none) take gzip? "gzip;q=0" does not. */
bool compress_accepts(const char *header);
/* Exchanges reply->data for its gzip where it is text of COMPRESS_MIN_BYTES or more, the header
 * `accept_encoding` takes it and it gets smaller, and adds Content-Encoding. Vary is added wherever
 * the answer could have been another. */
void compress_reply(struct reply *reply, const char *accept_encoding);

#endif
