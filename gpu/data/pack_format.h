/*
 * A packed dataset: a folder with an index and shards, the images' files one after the other.
 * Numbers are little-endian.
 *
 *     pack.index         pack_index | pack_shard x shards | pack_entry x images | texts | SHA-256
 *     shard-00000.pack   pack_head | bytes of the images | SHA-256 of these bytes
 *
 * Texts are NUL-terminated and referred to by their offset in the block of texts. Entries are in
 * the order of the dataset: bytewise by name. The hash at the end of the index covers all before
 * it. A shard's key is the SHA-256 over names, classes and sizes of its images, so a shard belongs
 * to one index only.
 */
#ifndef GPU_DATA_PACK_FORMAT_H
#define GPU_DATA_PACK_FORMAT_H

#include <stdint.h>
#include <stdio.h>

#include "base/hash.h"

#define PACK_INDEX_NAME  "pack.index"
#define PACK_INDEX_MAGIC "IJPACK1\n"
#define PACK_SHARD_MAGIC "IJSHRD1\n"
#define PACK_SHARDS_MAX  65536u
#define PACK_TEXT_MAX    ((uint64_t)16 << 30)
#define PACK_NO_CLASS    UINT64_MAX
#define PACK_NAME_SIZE   32

struct pack_index {
    char magic[8];
    uint64_t images, text_bytes;
    uint32_t shards, zero;
};

struct pack_shard {
    uint64_t bytes; /* of its images */
    uint8_t key[HASH_SIZE], hash[HASH_SIZE];
};

struct pack_entry {
    uint64_t name, class_name; /* offsets in the texts; PACK_NO_CLASS */
    uint64_t offset;           /* in the shard's file */
    uint32_t size, shard;
};

struct pack_head {
    char magic[8];
    uint64_t bytes;
    uint8_t key[HASH_SIZE];
};

_Static_assert(sizeof(struct pack_index) == 32 && sizeof(struct pack_shard) == 72 &&
                   sizeof(struct pack_entry) == 32 && sizeof(struct pack_head) == 48,
               "the format has no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is read as it lies");

static inline void pack_shard_name(uint32_t shard, char ret_name[PACK_NAME_SIZE])
{
    snprintf(ret_name, PACK_NAME_SIZE, "shard-%05u.pack", shard);
}

#endif
