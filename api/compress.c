/* See compress.h. Streams, files and static pages are left alone. */
#include "api/compress.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/mem.h"

#define LEVEL       4 /* a third of the time of the default for a few per cent */
#define GZIP_WINDOW (15 + 16)

/* "q=0", "q=0.000": not acceptable. `at` is behind the coding's name. */
static bool is_refused(const char *at, size_t size)
{
    const char *q = memchr(at, ';', size);
    if (!q)
        return false;
    q++;
    q += strspn(q, " \t");
    if ((*q != 'q' && *q != 'Q') || q[1] != '=')
        return false;
    for (q += 2; q < at + size && (*q == '0' || *q == '.'); q++)
        ;
    return q == at + size || isspace((unsigned char)*q);
}

bool compress_accepts(const char *header)
{
    bool named = false, any = false;
    for (const char *at = header; at && *at;) {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ","), name = strcspn(at, ",; \t");
        bool refused = is_refused(at + name, size - name);
        if (name == 4 && strncasecmp(at, "gzip", 4) == 0) {
            named = true;
            any = !refused;
        } else if (name == 1 && *at == '*' && !named) {
            any = !refused;
        }
        at += size;
    }
    return any;
}

static bool is_text(const struct reply *reply)
{
    const char *type = reply->type ? reply->type : "application/json";
    return strncmp(type, "application/json", 16) == 0 || strncmp(type, "text/", 5) == 0;
}

/* NULL: no memory, or no gain. */
static char *deflate_all(const char *data, size_t size, size_t *ret_size)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    char *out = mem_alloc_zero(1, size);
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)size;
    int code = out ? deflate(&stream, Z_FINISH) : Z_MEM_ERROR;
    *ret_size = stream.total_out;
    (void)deflateEnd(&stream);
    if (code == Z_STREAM_END)
        return out;
    mem_free(out);
    return NULL;
}

void compress_reply(struct reply *reply, const char *accept_encoding)
{
    size_t size = 0;
    if (!reply->data || reply->size < COMPRESS_MIN_BYTES || reply->size > UINT32_MAX ||
        !is_text(reply) || reply->header_count + 2 > REPLY_HEADERS_MAX)
        return;
    reply_header(reply, "Vary", "Accept-Encoding");
    if (!compress_accepts(accept_encoding))
        return;
    char *packed = deflate_all(reply->data, reply->size, &size);
    if (!packed)
        return;
    mem_free(reply->data);
    reply->data = packed;
    reply->size = size;
    reply_header(reply, "Content-Encoding", "gzip");
}
