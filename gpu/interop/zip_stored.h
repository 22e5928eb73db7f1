/*
 * A zip archive whose entries are stored without compression, as PyTorch writes them; zip64 too.
 *
 * The file is mapped and treated as hostile: every offset and size is checked before use; entries
 * that are compressed, encrypted, spread over disks or named twice are refused with their name.
 */
#ifndef GPU_INTEROP_ZIP_STORED_H
#define GPU_INTEROP_ZIP_STORED_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define ZIP_STORED_ENTRIES_MAX 1000000

struct zip_stored;

struct zip_stored_entry {
    const char *name; /* not NUL-terminated; inside the mapping */
    size_t name_size;
    const uint8_t *data;
    uint64_t size;
};

/* IJ_MALFORMED or IJ_UNSUPPORTED; the text names the file. Caller frees. The file must not shrink
 * while it is open. */
IJ_MUST_USE enum ij_status zip_stored_open(const char *path, struct zip_stored **ret_zip,
                                           struct ij_err *reterr_err);
void zip_stored_free(struct zip_stored *zip); /* NULL is fine */

size_t zip_stored_count(const struct zip_stored *zip);
const struct zip_stored_entry *zip_stored_at(const struct zip_stored *zip, size_t index);
/* By its whole name; NULL: absent. */
const struct zip_stored_entry *zip_stored_find(const struct zip_stored *zip, const char *name,
                                               size_t name_size);

#endif
