/*
 * Files: bounded reads, durable writes, safe removal.
 *
 * Every descriptor is close-on-exec. The text of an error names the path.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads a whole regular file of at most `max` bytes, NUL-terminated; the caller frees. */
IJ_MUST_USE enum ij_status file_read(const char *path, size_t max, char **ret_data,
                                     size_t *ret_size, struct ij_err *reterr_err);

/* Writes to `path`.tmp-<pid>, fsyncs, renames over `path`, fsyncs the directory. */
IJ_MUST_USE enum ij_status file_write_durable(const char *path, const void *data, size_t size,
                                              int mode, struct ij_err *reterr_err);

IJ_MUST_USE enum ij_status file_write_all(int fd, const void *data, size_t size, const char *path,
                                          struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status file_fsync_dir(const char *directory, struct ij_err *reterr_err);
/* Creates a directory and its parents; existing ones are fine. */
IJ_MUST_USE enum ij_status file_make_dirs(const char *path, int mode, struct ij_err *reterr_err);
/* Removes a directory tree by descriptors, never following links. A missing one is fine. */
IJ_MUST_USE enum ij_status file_remove_tree(const char *path, struct ij_err *reterr_err);
/* Sum of the sizes of the regular files below `path`; 0 if it is missing. */
uint64_t file_tree_bytes(const char *path);
/* Free bytes for an unprivileged writer on the file system of `path`; 0 on error. */
uint64_t file_free_bytes(const char *path);
/* Size of the disk that holds `path`, less what only root may use; 0 on error. */
uint64_t file_disk_bytes(const char *path);

#endif
