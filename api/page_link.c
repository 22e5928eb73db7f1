/* See page_link.h. The target has passed http_check: visible ASCII without quotes or brackets. */
#include "api/page_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/* Every parameter but `name`, as it was sent. */
static void copy_query(struct buf *text, const char *query, const char *name)
{
    size_t n = strlen(name);
    while (*query) {
        size_t size = strcspn(query, "&");
        bool replaced = strncmp(query, name, n) == 0 && query[n] == '=';
        if (!replaced && size) {
            buf_append(text, query, size);
            buf_append_text(text, "&");
        }
        query += size + (query[size] == '&');
    }
}

void page_link_next(const struct request *request, struct reply *reply, const char *name,
                    const char *value)
{
    struct buf text;
    const char *mark = strchr(request->target, '?');
    size_t path = mark ? (size_t)(mark - request->target) : strlen(request->target);
    buf_init(&text, sizeof reply->headers[0].value);
    buf_append_text(&text, "<");
    buf_append(&text, request->target, path);
    buf_append_text(&text, "?");
    copy_query(&text, mark ? mark + 1 : "", name);
    buf_printf(&text, "%s=%s>; rel=\"next\"", name, value);
    if (buf_status(&text) == IJ_OK && text.size < sizeof reply->headers[0].value)
        reply_header(reply, "Link", "%s", text.data);
    buf_done(&text);
}

void page_link_before(const struct request *request, struct reply *reply, int64_t before)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, before);
    if (before)
        page_link_next(request, reply, "before", text);
}
