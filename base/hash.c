/* See hash.h. */
#include "base/hash.h"

#include <stdio.h>

void hash_init(struct hash *hash)
{
    sha256_init(&hash->context);
}

void hash_update(struct hash *hash, const void *data, size_t size)
{
    sha256_update(&hash->context, size, data);
}

void hash_final(struct hash *hash, uint8_t ret_digest[HASH_SIZE])
{
    sha256_digest(&hash->context, HASH_SIZE, ret_digest);
}

void hash_bytes(const void *data, size_t size, uint8_t ret_digest[HASH_SIZE])
{
    struct hash hash;
    hash_init(&hash);
    hash_update(&hash, data, size);
    hash_final(&hash, ret_digest);
}

void hash_hex(const uint8_t digest[HASH_SIZE], char ret_hex[HASH_HEX_SIZE])
{
    for (int i = 0; i < HASH_SIZE; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}
