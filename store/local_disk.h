/* Is a directory on a local disk? WAL needs memory shared between processes. Internal to store/. */
#ifndef STORE_LOCAL_DISK_H
#define STORE_LOCAL_DISK_H

#include "base/status.h"

/* The kind of network file system behind a statfs type and, for FUSE, the name of its type in the
 * mount table; NULL: local. Static text. */
const char *local_disk_network_type(long type, const char *mount_type);
/* IJ_UNSUPPORTED names the file system; IJ_IO etc. when the directory cannot be looked at. */
IJ_MUST_USE enum ij_status local_disk_check(const char *directory, struct ij_err *reterr_err);

#endif
