/* See condition.h. */
#include "daemon/condition.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"

struct condition {
    pthread_mutex_t mutex;
    struct condition_view view; /* guarded */
    char *account;              /* guarded; JSON text, because json_t is not shared by threads */
};

enum ij_status condition_new(struct condition **ret_condition, struct ij_err *reterr_err)
{
    struct condition *condition = mem_new(struct condition);
    if (!condition)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the daemon's condition");
    pthread_mutex_init(&condition->mutex, NULL);
    *ret_condition = condition;
    return IJ_OK;
}

void condition_free(struct condition *condition)
{
    if (!condition)
        return;
    pthread_mutex_destroy(&condition->mutex);
    free(condition->account);
    mem_free(condition);
}

void condition_read(struct condition *condition, struct condition_view *ret_view)
{
    *ret_view = (struct condition_view){.degraded = false};
    if (!condition)
        return;
    pthread_mutex_lock(&condition->mutex);
    *ret_view = condition->view;
    pthread_mutex_unlock(&condition->mutex);
}

json_t *condition_account(struct condition *condition)
{
    if (!condition)
        return NULL;
    pthread_mutex_lock(&condition->mutex);
    char *text = condition->account ? mem_strdup(condition->account) : NULL;
    pthread_mutex_unlock(&condition->mutex);
    json_t *account = text ? json_loads(text, 0, NULL) : NULL;
    mem_free(text);
    return account;
}

void condition_set_degraded(struct condition *condition, json_t *account)
{
    char *text = account ? json_dumps(account, JSON_COMPACT) : NULL;
    pthread_mutex_lock(&condition->mutex);
    free(condition->account);
    condition->account = text;
    condition->view.degraded = account != NULL;
    pthread_mutex_unlock(&condition->mutex);
}

bool condition_set_wal_large(struct condition *condition, bool large)
{
    pthread_mutex_lock(&condition->mutex);
    bool changed = condition->view.wal_large != large;
    condition->view.wal_large = large;
    pthread_mutex_unlock(&condition->mutex);
    return changed;
}

void condition_set_drain(struct condition *condition, const struct cordon_row *drain)
{
    pthread_mutex_lock(&condition->mutex);
    condition->view.drain = *drain;
    pthread_mutex_unlock(&condition->mutex);
}

void condition_set_metrics_damaged(struct condition *condition)
{
    pthread_mutex_lock(&condition->mutex);
    condition->view.metrics_damaged = true;
    pthread_mutex_unlock(&condition->mutex);
}

void condition_set_backup_running(struct condition *condition, bool running)
{
    pthread_mutex_lock(&condition->mutex);
    condition->view.backup_running = running;
    pthread_mutex_unlock(&condition->mutex);
}

void condition_set_backup(struct condition *condition, bool metrics, int64_t made_ms)
{
    pthread_mutex_lock(&condition->mutex);
    condition->view.backup_ms[metrics] = made_ms;
    pthread_mutex_unlock(&condition->mutex);
}

void condition_set_backup_error(struct condition *condition, const char *text)
{
    pthread_mutex_lock(&condition->mutex);
    snprintf(condition->view.backup_error, sizeof(condition->view.backup_error), "%s", text);
    pthread_mutex_unlock(&condition->mutex);
}
