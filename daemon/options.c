/* See options.h. */
#include "daemon/options.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define ROWS_MAX 64

static enum ij_status unknown(const char *name, const struct options_row *rows, size_t row_count,
                              struct ij_err *reterr_err)
{
    const char *names[ROWS_MAX];
    IJ_ASSERT(row_count <= ROWS_MAX);
    for (size_t i = 0; i < row_count; i++)
        names[i] = rows[i].name;
    const char *nearest = text_nearest(name, names, row_count);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name, "unknown option --%.60s%s%s%s", name,
                        nearest ? "; did you mean --" : "; see --help", nearest ? nearest : "",
                        nearest ? "?" : "");
}

static enum ij_status set_value(const struct options_row *row, const char *value,
                                struct ij_err *reterr_err)
{
    if (row->type == OPTIONS_TEXT)
        *(const char **)row->target = value;
    else if (row->type == OPTIONS_UINT && !text_to_u64(value, row->target))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "--%s takes a whole number, not \"%.60s\"", row->name, value);
    else if (row->type == OPTIONS_NUMBER && !text_to_double(value, row->target))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "--%s takes a number, not \"%.60s\"",
                            row->name, value);
    return IJ_OK;
}

/* One option at arguments[*at]; moves *at over its value. */
static enum ij_status parse_option(int count, char *const *arguments, int *at,
                                   const struct options_row *rows, size_t row_count,
                                   struct ij_err *reterr_err)
{
    const char *text = arguments[*at] + 2, *equals = strchr(text, '=');
    char name[64];
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    snprintf(name, sizeof(name), "%.*s", (int)(n < 63 ? n : 63), text);
    for (size_t i = 0; i < row_count; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (rows[i].type == OPTIONS_FLAG && equals)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, rows[i].name, "--%s takes no value", name);
        if (rows[i].type == OPTIONS_FLAG) {
            *(bool *)rows[i].target = true;
            return IJ_OK;
        }
        if (equals)
            return set_value(&rows[i], equals + 1, reterr_err);
        if (*at + 1 >= count)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, rows[i].name, "--%s needs a value", name);
        return set_value(&rows[i], arguments[++*at], reterr_err);
    }
    return unknown(name, rows, row_count, reterr_err);
}

enum ij_status options_parse(int count, char *const *arguments, const struct options_row *rows,
                             size_t row_count, const char **ret_places, size_t place_max,
                             size_t *ret_place_count, struct ij_err *reterr_err)
{
    bool ended = false;
    *ret_place_count = 0;
    for (int at = 0; at < count; at++) {
        const char *text = arguments[at];
        if (!ended && strcmp(text, "--") == 0) {
            ended = true;
        } else if (!ended && strncmp(text, "--", 2) == 0) {
            IJ_TRY(parse_option(count, arguments, &at, rows, row_count, reterr_err));
        } else if (!ended && text[0] == '-' && text[1]) {
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, text,
                                "unknown option %.60s: options have two dashes", text);
        } else if (*ret_place_count == place_max) {
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, text, "one argument too many: \"%.200s\"",
                                text);
        } else {
            ret_places[(*ret_place_count)++] = text;
        }
    }
    return IJ_OK;
}

void options_help(const struct options_row *rows, size_t row_count, struct buf *buf)
{
    for (size_t i = 0; i < row_count; i++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].value_name ? " " : "",
                 rows[i].value_name ? rows[i].value_name : "");
        buf_printf(buf, "  %-24s %s\n", left, rows[i].help);
    }
}
