/* The schemas of both files and the way from older ones. Internal to store/. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/db.h"

struct schema {
    const char *what; /* "state" */
    int application_id;
    int version;              /* the newest, which this program works with; number of steps */
    const char *const *steps; /* from version i to i + 1 */
};

extern const struct schema schema_state, schema_metrics;

/*
 * What the file is: *ret_version 0 for an empty one. IJ_UNSUPPORTED for a database of something
 * else or a schema newer than this program's; nothing is changed.
 */
IJ_MUST_USE enum ij_status schema_look(struct db *db, const struct schema *schema, int *ret_version,
                                       struct ij_err *reterr_err);
/* From `version` to the newest, each step one transaction with its new number. */
IJ_MUST_USE enum ij_status schema_migrate(struct db *db, const struct schema *schema, int version,
                                          struct ij_err *reterr_err);

#endif
