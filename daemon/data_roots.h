/*
 * The folders below which requests may name files (the key data_roots): datasets, lists, and
 * checkpoints that are named by their directory.
 *
 * `roots` is absolute paths parted by ':'; "" allows every path. A path beyond them is refused
 * before the file system is asked, and one inside that is not there is answered like one that a
 * link leads out by: no answer tells what exists elsewhere. Any thread.
 */
#ifndef DAEMON_DATA_ROOTS_H
#define DAEMON_DATA_ROOTS_H

#include <stdbool.h>

#include "base/status.h"

#define DATA_ROOTS_SIZE 1024 /* of the whole text */

/* Is every part an absolute path? */
bool data_roots_are_valid(const char *roots);
/* `path` "" is fine. IJ_INVALID with `field`. */
IJ_MUST_USE enum ij_status data_roots_check(const char *roots, const char *path, const char *field,
                                            struct ij_err *reterr_err);

#endif
