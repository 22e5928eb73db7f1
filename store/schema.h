/* The schemas of both files and the way from older ones. Internal to store/. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/db.h"

enum schema_file { SCHEMA_STATE, SCHEMA_METRICS };

/*
 * What the file is: *ret_version 0 for an empty one. IJ_UNSUPPORTED for a database of something
 * else or a schema newer than this program's; nothing is changed.
 */
IJ_MUST_USE enum ij_status schema_look(struct db *db, enum schema_file file, int *ret_version,
                                       struct ij_err *reterr_err);
int schema_version(enum schema_file file); /* the newest, which this program works with */
/* From `version` to the newest, each step one transaction with its new number. */
IJ_MUST_USE enum ij_status schema_migrate(struct db *db, enum schema_file file, int version,
                                          struct ij_err *reterr_err);

#endif
