/* See session.h. */
#include "api/session.h"

#include <errno.h>
#include <nettle/base64.h>
#include <nettle/memops.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/mem.h"

struct session {
    uint8_t sha256[HASH_SIZE];
    char token_id[17];
    int64_t opened_ms; /* 0: the slot is free */
};

struct session_table {
    pthread_mutex_t mutex;
    struct session slots[SESSION_MAX]; /* guarded by mutex */
};

enum ij_status session_table_new(struct session_table **ret_table, struct ij_err *reterr_err)
{
    struct session_table *table = mem_new(struct session_table);
    if (!table)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for sessions");
    pthread_mutex_init(&table->mutex, NULL);
    *ret_table = table;
    return IJ_OK;
}

void session_table_free(struct session_table *table)
{
    if (!table)
        return;
    pthread_mutex_destroy(&table->mutex);
    mem_free(table);
}

enum ij_status session_random(char ret_secret[SESSION_SECRET_SIZE], struct ij_err *reterr_err)
{
    uint8_t bytes[32];
    char text[BASE64_ENCODE_RAW_LENGTH(sizeof bytes)];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return IJ_ERR_SYS(reterr_err, errno, "", "no random bytes");
    base64_encode_raw(text, sizeof bytes, bytes);
    for (size_t i = 0; i < SESSION_SECRET_SIZE - 1; i++)
        ret_secret[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    ret_secret[SESSION_SECRET_SIZE - 1] = '\0';
    return IJ_OK;
}

static bool is_live(const struct session *session, int64_t now_ms)
{
    return session->opened_ms && now_ms - session->opened_ms < SESSION_TTL_MS;
}

/* A free or ended slot, else the oldest. */
static struct session *slot_for_new(struct session_table *table, int64_t now_ms)
{
    struct session *best = &table->slots[0];
    for (size_t i = 0; i < SESSION_MAX; i++) {
        struct session *slot = &table->slots[i];
        if (!is_live(slot, now_ms))
            return slot;
        if (slot->opened_ms < best->opened_ms)
            best = slot;
    }
    return best;
}

enum ij_status session_open(struct session_table *table, const char *token_id, int64_t now_ms,
                            char ret_secret[SESSION_SECRET_SIZE], struct ij_err *reterr_err)
{
    char secret[SESSION_SECRET_SIZE];
    IJ_TRY(session_random(secret, reterr_err));
    pthread_mutex_lock(&table->mutex);
    struct session *slot = slot_for_new(table, now_ms);
    hash_bytes(secret, strlen(secret), slot->sha256);
    (void)snprintf(slot->token_id, sizeof slot->token_id, "%s", token_id);
    slot->opened_ms = now_ms;
    pthread_mutex_unlock(&table->mutex);
    memcpy(ret_secret, secret, sizeof secret);
    return IJ_OK;
}

/* With the mutex held. Every slot is compared in constant time. */
static struct session *find_slot(struct session_table *table, const char *secret)
{
    uint8_t sha256[HASH_SIZE];
    hash_bytes(secret, strlen(secret), sha256);
    struct session *found = NULL;
    for (size_t i = 0; i < SESSION_MAX; i++)
        if (memeql_sec(table->slots[i].sha256, sha256, HASH_SIZE) && table->slots[i].opened_ms)
            found = &table->slots[i];
    return found;
}

bool session_find(struct session_table *table, const char *secret, int64_t now_ms,
                  char *ret_token_id, size_t size)
{
    pthread_mutex_lock(&table->mutex);
    struct session *slot = find_slot(table, secret);
    bool live = slot && is_live(slot, now_ms);
    if (live)
        (void)snprintf(ret_token_id, size, "%s", slot->token_id);
    pthread_mutex_unlock(&table->mutex);
    return live;
}

void session_close(struct session_table *table, const char *secret)
{
    pthread_mutex_lock(&table->mutex);
    struct session *slot = find_slot(table, secret);
    if (slot)
        *slot = (struct session){.opened_ms = 0};
    pthread_mutex_unlock(&table->mutex);
}
