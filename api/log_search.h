/* Lines of a log that hold a text. Pure; any thread. */
#ifndef API_LOG_SEARCH_H
#define API_LOG_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Appends each whole line of `text` that holds `wanted`, whatever the case of ASCII letters, to
 * `lines`, as long as those have at most `bytes_max` bytes. A last line without an end counts where
 * `ended`. Returns how many bytes of the text are done with: a search goes on there.
 */
size_t log_search(const char *text, size_t size, bool ended, const char *wanted, size_t bytes_max,
                  struct buf *lines);

#endif
