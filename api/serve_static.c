/* The dashboard's files. Open to all: they hold no data. */
#include <string.h>

#include "api/compress.h"
#include "api/handlers.h"
#include "api/static.h"

static const struct static_file *find_file(const char *path)
{
    if (strcmp(path, "/") == 0)
        path = "/index.html";
    for (size_t i = 0; i < static_file_count; i++)
        if (strcmp(static_files[i].path, path) == 0)
            return &static_files[i];
    return NULL;
}

enum ij_status serve_static_file(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    const struct static_file *file = find_file(request->path);
    if (!file)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is nothing at %s", request->path);
    reply->cacheable = true;
    reply->type = file->type;
    reply_header(reply, "Cache-Control", "no-cache"); /* keep, but ask whether it changed */
    reply_header(reply, "ETag", "%s", file->etag);
    reply_header(reply, "Vary", "Accept-Encoding");
    const char *known = request_header(request, "if-none-match");
    if (known && strstr(known, file->etag)) {
        reply->status = 304;
        return IJ_OK;
    }
    bool packed = compress_accepts(request_header(request, "accept-encoding"));
    if (packed)
        reply_header(reply, "Content-Encoding", "gzip");
    reply->fixed = packed ? file->packed : file->plain;
    reply->size = packed ? file->packed_size : file->plain_size;
    return IJ_OK;
}
