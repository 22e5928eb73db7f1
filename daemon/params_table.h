/* The parameter table itself; private to daemon/params*.c. Rows are ordered as a form shows them.
 */
#ifndef DAEMON_PARAMS_TABLE_H
#define DAEMON_PARAMS_TABLE_H

#include <stddef.h>

#include "gpu/engine.h"

enum param_type {
    PARAM_BOOL,
    PARAM_UINT32,
    PARAM_UINT64,
    PARAM_DOUBLE,
    PARAM_PAIR,   /* double[2], first <= second */
    PARAM_TRIPLE, /* double[3] */
    PARAM_LIST,   /* struct engine_list; one number stands for a list of one */
    PARAM_ENUM,   /* an enum of the engine; `names` by value */
    PARAM_TEXT,   /* char[text_size] */
    PARAM_MODEL,  /* name of an encoder shape: sets several members, has none of its own */
};

#define PARAM_KIND(kind) (1u << (kind))
#define PARAM_NAMES_MAX  8

struct param_row {
    const char *name;   /* JSON key */
    const char *member; /* dotted member of engine_spec, as engine_check names it */
    const char *group;  /* heading in the form and the docs */
    enum param_type type;
    size_t offset, text_size;
    unsigned kinds;           /* PARAM_KIND bits */
    double min, max;          /* inclusive; of every element */
    const char *unit;         /* "" if none */
    const char *default_text; /* JSON value */
    const char *help;
    const char *names[PARAM_NAMES_MAX]; /* PARAM_ENUM: NULL-terminated */
};

extern const struct param_row params_rows[];
extern const size_t params_row_count;

/* The row of this kind with that JSON key, or NULL. */
const struct param_row *params_row_find(enum engine_kind kind, const char *name);

struct param_preset {
    const char *name;
    enum engine_kind kind;
    const char *source; /* publication or measurement it comes from */
    const char *help;
    const char *params; /* JSON object */
};

extern const struct param_preset params_preset_rows[];
extern const size_t params_preset_count;

const struct param_preset *params_preset_find(enum engine_kind kind, const char *name);

#endif
