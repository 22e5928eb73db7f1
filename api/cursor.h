/* Opaque page cursors: base64url of the sort order and the last row's key and id. Pure. */
#ifndef API_CURSOR_H
#define API_CURSOR_H

#include <stdbool.h>

#include "store/run_row.h"

#define CURSOR_MAX 80

void cursor_encode(unsigned order, const struct run_row_cursor *cursor, char ret_text[CURSOR_MAX]);
/* False unless cursor_encode made it with the same order. */
bool cursor_decode(const char *text, unsigned order, struct run_row_cursor *ret_cursor);

#endif
