/* Validators and ranges of an answer that is a file. */
#ifndef API_FILE_REPLY_H
#define API_FILE_REPLY_H

#include "api/reply.h"
#include "api/request.h"

/* Sends the ETag; true: the client has the file, and the answer is 304. */
bool file_reply_is_known(const struct request *request, const char *etag, struct reply *reply);

/* Status and range for the open file reply->fd of `size` bytes. IJ_INVALID: the request has a range
 * outside of it; its problem is set. */
IJ_MUST_USE enum ij_status file_reply_part(struct request *request, const char *etag, uint64_t size,
                                           struct reply *reply);

#endif
