/* SHA-256 by nettle: for tokens, checkpoint sections and fingerprints. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_SIZE     32
#define HASH_HEX_SIZE 65

struct hash {
    struct sha256_ctx context;
};

void hash_init(struct hash *hash);
void hash_update(struct hash *hash, const void *data, size_t size);
void hash_final(struct hash *hash, uint8_t ret_digest[HASH_SIZE]);
void hash_bytes(const void *data, size_t size, uint8_t ret_digest[HASH_SIZE]);
void hash_hex(const uint8_t digest[HASH_SIZE], char ret_hex[HASH_HEX_SIZE]);

#endif
