/* Hashes of a checkpoint's files. Private to gpu/checkpoint. */
#ifndef GPU_CHECKPOINT_CHECKPOINT_FILE_H
#define GPU_CHECKPOINT_CHECKPOINT_FILE_H

#include "gpu/checkpoint/checkpoint.h"

/* SHA-256 of a regular file that must have exactly `bytes` bytes; else IJ_CORRUPT. `field` of an
 * error is the file's name without its folder. */
IJ_MUST_USE enum ij_status checkpoint_file_hash(const char *path, uint64_t bytes,
                                                uint8_t ret_digest[HASH_SIZE],
                                                struct ij_err *reterr_err);
/* The checkpoint's hash: over the digests of its files in name order, state.json last. */
void checkpoint_file_combine(uint8_t digests[CHECKPOINT_SECTION_COUNT + 1][HASH_SIZE],
                             char ret_hex[HASH_HEX_SIZE]);

#endif
