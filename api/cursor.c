/* See cursor.h. */
#include "api/cursor.h"

#include <inttypes.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <string.h>

void cursor_encode(unsigned order, const struct run_row_cursor *cursor, char ret_text[CURSOR_MAX])
{
    char plain[56];
    int size =
        snprintf(plain, sizeof plain, "%u.%" PRId64 ".%" PRId64, order, cursor->key, cursor->id);
    struct base64_encode_ctx context;
    base64url_encode_init(&context);
    size_t done = base64_encode_update(&context, ret_text, (size_t)size, (const uint8_t *)plain);
    done += base64_encode_final(&context, ret_text + done);
    while (done && ret_text[done - 1] == '=')
        done--;
    ret_text[done] = '\0';
}

bool cursor_decode(const char *text, unsigned order, struct run_row_cursor *ret_cursor)
{
    char plain[CURSOR_MAX], again[CURSOR_MAX];
    size_t size = sizeof plain - 1;
    unsigned found;
    struct run_row_cursor cursor;
    if (strlen(text) >= CURSOR_MAX)
        return false;
    struct base64_decode_ctx context;
    base64url_decode_init(&context);
    if (!base64_decode_update(&context, &size, (uint8_t *)plain, strlen(text), text))
        return false;
    plain[size] = '\0';
    if (sscanf(plain, "%u.%" SCNd64 ".%" SCNd64, &found, &cursor.key, &cursor.id) != 3 ||
        found != order || cursor.id <= 0)
        return false;
    cursor_encode(order, &cursor, again);
    if (strcmp(again, text) != 0)
        return false;
    *ret_cursor = cursor;
    return true;
}
