/* See webhook_event.h. */
#include "daemon/webhook_event.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "store/run_state.h"

#define STATE_TYPE "run.state"
#define NAMES_MAX  48
#define NAME_SIZE  32

/* Types of the event table, but for those that only concern the dashboard. */
static const char *const types[] = {
    "*",
    STATE_TYPE,
    "run.checkpoint",
    "run.result",
    "run.warning",
    "run.rewind",
    "run.health",
    "run.changed",
    "run.checkpoint_pinned",
    "run.checkpoint_deleted",
    "run.deleted",
    "server",
    "server.degraded",
    "server.acknowledged",
    "server.backup_failed",
    "server.alert",
};

/* All names into `names`, pointing into `storage` where they are made. */
static size_t known_names(const char *names[NAMES_MAX], char storage[RUN_STATE_COUNT][NAME_SIZE])
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        names[count++] = types[i];
    for (int i = 0; i < RUN_STATE_COUNT; i++) {
        snprintf(storage[i], NAME_SIZE, "run.%s", run_state_name((enum run_state)i));
        names[count++] = storage[i];
    }
    return count;
}
_Static_assert(COUNT_OF(types) + RUN_STATE_COUNT <= NAMES_MAX, "all names have room");

static enum ij_status check_name(const json_t *names, size_t index, struct ij_err *reterr_err)
{
    const char *known[NAMES_MAX], *name = json_string_value(json_array_get(names, index));
    char storage[RUN_STATE_COUNT][NAME_SIZE], field[24];
    size_t count = known_names(known, storage);
    bool found = false;
    snprintf(field, sizeof field, "/events/%zu", index);
    if (!name)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "expected the name of an event");
    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(name, known[i]) == 0;
    if (!found) {
        const char *nearest = text_nearest(name, known, count);
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "there is no event \"%.60s\"%s%s%s",
                            name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                            nearest ? "\"?" : "");
    }
    for (size_t i = 0; i < index; i++)
        if (strcmp(name, json_string_value(json_array_get(names, i))) == 0)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "\"%s\" is named twice", name);
    return IJ_OK;
}

enum ij_status webhook_event_check(const json_t *names, struct ij_err *reterr_err)
{
    size_t count = json_array_size(names);
    if (!json_is_array(names) || count < 1 || count > WEBHOOK_EVENT_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/events",
                            "events must be an array of 1 to %d names", WEBHOOK_EVENT_MAX);
    for (size_t i = 0; i < count; i++)
        IJ_TRY(check_name(names, i, reterr_err));
    return IJ_OK;
}

void webhook_event_name(const char *type, const json_t *body, char *ret_name, size_t size)
{
    const char *state = json_string_value(json_object_get(body, "state"));
    if (strcmp(type, STATE_TYPE) == 0 && state)
        snprintf(ret_name, size, "run.%s", state);
    else
        snprintf(ret_name, size, "%s", type);
}

bool webhook_event_matches(const json_t *names, const char *type, const json_t *body)
{
    char own[64];
    webhook_event_name(type, body, own, sizeof own);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name)
            continue;
        if (strcmp(name, "*") == 0 || strcmp(name, type) == 0 || strcmp(name, own) == 0)
            return true;
        if (strcmp(name, "server") == 0 && strncmp(type, "server.", 7) == 0)
            return true;
    }
    return false;
}
