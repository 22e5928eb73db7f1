/*
 * Command lines from a table: long options only, "--name VALUE" or "--name=VALUE", "--" ends them.
 * An unknown option is an error that names the nearest; so is a missing or bad value.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

enum options_type { OPTIONS_FLAG, OPTIONS_TEXT, OPTIONS_UINT, OPTIONS_NUMBER };

struct options_row {
    const char *name; /* without the dashes */
    enum options_type type;
    void *target; /* bool, const char * (borrowed from argv), uint64_t, double */
    const char *value_name, *help;
};

/* Positional arguments go to `ret_places`, at most `place_max`; IJ_INVALID on any mistake. */
IJ_MUST_USE enum ij_status options_parse(int count, char *const *arguments,
                                         const struct options_row *rows, size_t row_count,
                                         const char **ret_places, size_t place_max,
                                         size_t *ret_place_count, struct ij_err *reterr_err);
/* One line per option, for --help. */
void options_help(const struct options_row *rows, size_t row_count, struct buf *buf);

#endif
