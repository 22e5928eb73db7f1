/* See reply.h. */
#include "api/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void reply_init(struct reply *reply)
{
    *reply = (struct reply){.fd = -1};
}

void reply_done(struct reply *reply)
{
    mem_free(reply->data);
    mem_close_fd_at(&reply->fd);
    if (reply->stream_release)
        reply->stream_release(reply->stream_user);
    reply_init(reply);
}

void reply_header(struct reply *reply, const char *name, const char *format, ...)
{
    IJ_ASSERT(reply->header_count < REPLY_HEADERS_MAX);
    reply->headers[reply->header_count].name = name;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reply->headers[reply->header_count].value, sizeof reply->headers[0].value,
                    format, args);
    va_end(args);
    reply->header_count++;
}

enum ij_status reply_take_json(struct reply *reply, json_t *json, struct ij_err *reterr_err)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the answer");
    reply->data = text;
    reply->size = strlen(text);
    return IJ_OK;
}

enum ij_status reply_take_buf(struct reply *reply, const char *type, struct buf *buf,
                              struct ij_err *reterr_err)
{
    enum ij_status status = buf_status(buf);
    if (status != IJ_OK) {
        buf_done(buf);
        return IJ_ERR(reterr_err, status, "the answer does not fit");
    }
    reply->type = type;
    reply->size = buf->size;
    reply->data = buf->size ? buf_take(buf) : NULL;
    if (!reply->data)
        reply->fixed = "";
    return IJ_OK;
}
