/*
 * The backups below a state directory: backups/state-<UTC>.db and backups/metrics-<UTC>.db. A file
 * with such a name is whole, was checked (quick_check) and synced before it got it. Any thread; no
 * store handle is used but one of its own.
 */
#ifndef STORE_BACKUP_SET_H
#define STORE_BACKUP_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define BACKUP_SET_FOLDER    "backups"
#define BACKUP_SET_NAME_SIZE 40

struct backup_set_entry {
    char name[BACKUP_SET_NAME_SIZE]; /* "state-20261123T024110123Z.db" */
    bool metrics;
    int64_t made_ms; /* as the name says: wall clock, when the copy was begun */
    uint64_t bytes;
};

/* Copies the file of the store in `directory`, checks the copy and names it after `wall_ms`.
 * IJ_NO_SPACE before anything is written if less than the file's size and `floor_bytes` are free.
 * IJ_CONFLICT: there is one of that millisecond. */
IJ_MUST_USE enum ij_status backup_set_make(const char *directory, bool metrics, int64_t wall_ms,
                                           uint64_t floor_bytes, struct ij_err *reterr_err);
/* Newest first; a missing folder is an empty set. The caller frees *ret_entries with mem_free. */
IJ_MUST_USE enum ij_status backup_set_list(const char *directory,
                                           struct backup_set_entry **ret_entries, size_t *ret_count,
                                           struct ij_err *reterr_err);
/* Removes all but the `keep` newest of a kind, and what an interrupted copy left. */
IJ_MUST_USE enum ij_status backup_set_prune(const char *directory, bool metrics, size_t keep,
                                            struct ij_err *reterr_err);
/* Full path of an entry. */
void backup_set_path(const char *directory, const char *name, char *ret_path, size_t size);
/* A name as in backup_set_entry; false: another file. */
bool backup_set_parse(const char *name, struct backup_set_entry *ret_entry);

#endif
