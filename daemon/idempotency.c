/* See idempotency.h. */
#include "daemon/idempotency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "store/idem_row.h"

/* Of the command and its body: one key for two routes is another request. */
static void request_hash(const struct control_request *request, uint8_t ret_digest[HASH_SIZE])
{
    struct hash hash;
    char *text = json_dumps(request->body, JSON_COMPACT | JSON_SORT_KEYS);
    const char *verb = control_verb_name(request->verb);
    hash_init(&hash);
    if (request->verb != CONTROL_SUBMIT) /* as it was before other commands took a key */
        hash_update(&hash, verb, strlen(verb) + 1);
    hash_update(&hash, text ? text : "", text ? strlen(text) : 0);
    hash_final(&hash, ret_digest);
    free(text);
}

enum ij_status idempotency_find(struct store *store, const struct control_request *request,
                                struct control_reply *reply, char ret_id[IDEMPOTENCY_ID_SIZE],
                                bool *ret_known)
{
    struct idem_row row = {0};
    uint8_t digest[HASH_SIZE];
    *ret_known = false;
    if (!request->idempotency_key)
        return IJ_OK;
    if (strlen(request->idempotency_key) > IDEM_ROW_KEY_MAX || !request->idempotency_key[0])
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "Idempotency-Key",
                            "the key must have 1 to %d characters", IDEM_ROW_KEY_MAX);
    enum ij_status status =
        idem_row_get(store, request->actor, request->idempotency_key, &row, &reply->err);
    if (status == IJ_NOT_FOUND) {
        reply->err = (struct ij_err)IJ_ERR_INIT;
        return IJ_OK;
    }
    IJ_TRY(status);
    request_hash(request, digest);
    if (memcmp(digest, row.body_sha256, HASH_SIZE) != 0)
        status = IJ_ERR_FIELD(&reply->err, IJ_INVALID, "Idempotency-Key",
                              "the key was used for another request");
    else if (!row.response)
        status = IJ_ERR(&reply->err, IJ_CONFLICT, "the first request with this key is not done");
    else
        snprintf(ret_id, IDEMPOTENCY_ID_SIZE, "%s", row.response);
    *ret_known = reply->replayed = status == IJ_OK;
    idem_row_done(&row);
    return status;
}

enum ij_status idempotency_keep(struct store *store, const struct control_request *request,
                                const char *id, struct ij_err *reterr_err)
{
    char response[IDEMPOTENCY_ID_SIZE];
    struct idem_row row = {.status = 201, .response = response, .ts_ms = clock_wall_ms()};
    if (!request->idempotency_key)
        return IJ_OK;
    snprintf(response, sizeof(response), "%s", id);
    snprintf(row.user, sizeof(row.user), "%s", request->actor);
    snprintf(row.key, sizeof(row.key), "%s", request->idempotency_key);
    request_hash(request, row.body_sha256);
    return idem_row_insert(store, &row, reterr_err);
}
