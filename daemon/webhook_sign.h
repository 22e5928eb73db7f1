/*
 * Secrets and signatures of webhooks, after the public scheme "Standard Webhooks": the secret is
 * "whsec_" and the base64 of 32 random bytes; the signature is "v1," and the base64 of
 * HMAC-SHA-256 over "<id>.<seconds>.<body>" with those bytes as the key. Pure but for the random
 * bytes; any thread.
 */
#ifndef DAEMON_WEBHOOK_SIGN_H
#define DAEMON_WEBHOOK_SIGN_H

#include <stdint.h>

#include "base/status.h"

#define WEBHOOK_SIGN_SECRET_SIZE 51 /* with NUL */
#define WEBHOOK_SIGN_SIZE        48

IJ_MUST_USE enum ij_status webhook_sign_new_secret(char ret_secret[WEBHOOK_SIGN_SECRET_SIZE],
                                                   struct ij_err *reterr_err);
/* IJ_CORRUPT: no secret of that form. */
IJ_MUST_USE enum ij_status webhook_sign(const char *secret, const char *id, int64_t seconds,
                                        const char *body, char ret_signature[WEBHOOK_SIGN_SIZE],
                                        struct ij_err *reterr_err);

#endif
