/* Small text helpers: nearest name for an unknown key, checked number parsing. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name with the smallest edit distance, if that is small enough to be a typo; else NULL. */
const char *text_nearest(const char *word, const char *const *names, size_t count);

/* Whole-string parses; false on overflow, trailing bytes or an empty string. */
bool text_to_u64(const char *text, uint64_t *ret_value);
bool text_to_double(const char *text, double *ret_value); /* finite only */

/* What follows `folder` in `path`: "" for the folder itself, "/..." below it; NULL where it lies
 * elsewhere. As they are written; slashes at the folder's end do not count. */
const char *text_below(const char *folder, const char *path);

/* [A-Za-z0-9._-]{1,64}, not starting with a dot: names of runs, tags, datasets. */
bool text_is_name(const char *text);
bool text_is_utf8(const char *text, size_t size);
/* Puts '?' for each byte that is part of no character, as where a text was cut within one. */
void text_make_utf8(char *text);

#endif
