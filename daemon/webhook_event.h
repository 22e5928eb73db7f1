/*
 * Names of events as webhooks choose them: a type of the event table ("run.checkpoint"), or for
 * changes of state the new state ("run.failed"); "run.state" is every change of state, "*" is
 * everything, "server" everything that is about no run. Pure; any thread.
 */
#ifndef DAEMON_WEBHOOK_EVENT_H
#define DAEMON_WEBHOOK_EVENT_H

#include <jansson.h>

#include "base/status.h"

#define WEBHOOK_EVENT_TEST  "test" /* sent on request only */
#define WEBHOOK_EVENT_MAX   32     /* names of one webhook */
#define WEBHOOK_EVENT_BYTES 1024   /* of them as JSON */

/* An array of 1 to WEBHOOK_EVENT_MAX known names, none twice; IJ_INVALID with field "/events" or
 * "/events/<n>", naming the nearest. */
IJ_MUST_USE enum ij_status webhook_event_check(const json_t *names, struct ij_err *reterr_err);

/* The name under which an event is told: "run.failed" for "run.state" with {"state": "failed"}. */
void webhook_event_name(const char *type, const json_t *body, char *ret_name, size_t size);
bool webhook_event_matches(const json_t *names, const char *type, const json_t *body);

#endif
