/* See webhook_sign.h. */
#include "daemon/webhook_sign.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/base64.h>
#include <nettle/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PREFIX    "whsec_"
#define KEY_BYTES 32 /* of a new one */
#define KEY_MIN   24
#define KEY_MAX   64

_Static_assert(sizeof(PREFIX) + BASE64_ENCODE_RAW_LENGTH(KEY_BYTES) == WEBHOOK_SIGN_SECRET_SIZE,
               "a secret has its size");
_Static_assert(sizeof("v1,") + BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) == WEBHOOK_SIGN_SIZE,
               "a signature has its size");

enum ij_status webhook_sign_new_secret(char ret_secret[WEBHOOK_SIGN_SECRET_SIZE],
                                       struct ij_err *reterr_err)
{
    uint8_t key[KEY_BYTES];
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot get random bytes");
    memcpy(ret_secret, PREFIX, strlen(PREFIX));
    base64_encode_raw(ret_secret + strlen(PREFIX), sizeof key, key);
    ret_secret[WEBHOOK_SIGN_SECRET_SIZE - 1] = '\0';
    explicit_bzero(key, sizeof key);
    return IJ_OK;
}

/* The key's bytes and their number; 0: that is no secret. */
static size_t read_key(const char *secret, uint8_t ret_key[KEY_MAX])
{
    struct base64_decode_ctx context;
    uint8_t bytes[BASE64_DECODE_LENGTH(BASE64_ENCODE_RAW_LENGTH(KEY_MAX)) + 3];
    size_t size = sizeof bytes, prefix = strlen(PREFIX), n = strlen(secret);
    if (strncmp(secret, PREFIX, prefix) != 0 || n - prefix > BASE64_ENCODE_RAW_LENGTH(KEY_MAX))
        return 0;
    base64_decode_init(&context);
    if (!base64_decode_update(&context, &size, bytes, n - prefix, secret + prefix) ||
        !base64_decode_final(&context) || size < KEY_MIN || size > KEY_MAX)
        return 0;
    memcpy(ret_key, bytes, size);
    explicit_bzero(bytes, sizeof bytes);
    return size;
}

enum ij_status webhook_sign(const char *secret, const char *id, int64_t seconds, const char *body,
                            char ret_signature[WEBHOOK_SIGN_SIZE], struct ij_err *reterr_err)
{
    struct hmac_sha256_ctx context;
    uint8_t key[KEY_MAX], digest[SHA256_DIGEST_SIZE];
    char head[96];
    size_t key_size = read_key(secret, key);
    if (!key_size)
        return IJ_ERR(reterr_err, IJ_CORRUPT, "the stored secret of the webhook is damaged");
    int n = snprintf(head, sizeof head, "%.60s.%" PRId64 ".", id, seconds);
    hmac_sha256_set_key(&context, key_size, key);
    hmac_sha256_update(&context, (size_t)n, (const uint8_t *)head);
    hmac_sha256_update(&context, strlen(body), (const uint8_t *)body);
    hmac_sha256_digest(&context, sizeof digest, digest);
    explicit_bzero(&context, sizeof context);
    explicit_bzero(key, sizeof key);
    memcpy(ret_signature, "v1,", 3);
    base64_encode_raw(ret_signature + 3, sizeof digest, digest);
    ret_signature[WEBHOOK_SIGN_SIZE - 1] = '\0';
    return IJ_OK;
}
