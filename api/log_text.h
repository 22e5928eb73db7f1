/*
 * Worker output as text that a terminal and a browser can show: control bytes and bytes that are
 * not UTF-8 become \xNN, so no log can move a cursor or hide a line. Pure; any thread.
 */
#ifndef API_LOG_TEXT_H
#define API_LOG_TEXT_H

#include <stddef.h>

#include "base/buf.h"

/* Appends `size` bytes; line feeds and tabs stay. */
void log_text_escape(const char *text, size_t size, struct buf *buf);
/* Offset at which the last `lines` lines of the text begin; a last line without an end counts. */
size_t log_text_tail(const char *text, size_t size, size_t lines);

#endif
