/* See file_reply.h. */
#include "api/file_reply.h"

#include <inttypes.h>
#include <string.h>

#include "api/byte_range.h"

bool file_reply_is_known(const struct request *request, const char *etag, struct reply *reply)
{
    const char *known = request_header(request, "if-none-match");
    reply_header(reply, "ETag", "%s", etag);
    if (!known || (strcmp(known, "*") != 0 && !strstr(known, etag)))
        return false;
    reply->status = 304;
    return true;
}

enum ij_status file_reply_part(struct request *request, const char *etag, uint64_t size,
                               struct reply *reply)
{
    const char *range = request_header(request, "range");
    const char *if_range = request_header(request, "if-range");
    if (if_range && strcmp(if_range, etag) != 0)
        range = NULL; /* the client's part is of another file: send all */
    uint64_t first = 0, count = size;
    switch (byte_range_parse(range, size, &first, &count)) {
    case BYTE_RANGE_OUTSIDE:
        request->problem.file_bytes = size;
        return request_refuse(request, PROBLEM_RANGE, "the file has %" PRIu64 " bytes", size);
    case BYTE_RANGE_PART:
        reply->status = 206;
        reply_header(reply, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
                     first + count - 1, size);
        break;
    case BYTE_RANGE_WHOLE:
        break;
    }
    reply->fd_offset = first;
    reply->fd_size = count;
    reply_header(reply, "Accept-Ranges", "bytes");
    return IJ_OK;
}
