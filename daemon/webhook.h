/*
 * From events to deliveries to answers. The event table is the outbox: what was committed there
 * after a webhook's cursor becomes rows of `delivery`, once, in the transaction that moves the
 * cursor; each is then sent until it was accepted, at least once, with growing pauses. Loop thread.
 */
#ifndef DAEMON_WEBHOOK_H
#define DAEMON_WEBHOOK_H

#include "daemon/daemon.h"
#include "store/event_row.h"
#include "store/webhook_row.h"

struct webhook;

IJ_MUST_USE enum ij_status webhook_new(struct daemon *daemon, struct webhook **ret_webhook,
                                       struct ij_err *reterr_err);
void webhook_free(struct webhook *webhook); /* NULL is fine */
pid_t webhook_pid(const struct webhook *webhook); /* of the helper; 0: none was started */
/* Once a second, and when there is something new: takes up events, sends what is due. */
void webhook_pass(struct webhook *webhook);
/* Inserts the message about an event (row NULL: a test) into the caller's transaction. */
IJ_MUST_USE enum ij_status webhook_enqueue(struct store *store, const struct webhook_row *hook,
                                           const struct event_row *event, int64_t *ret_id,
                                           struct ij_err *reterr_err);
/* Wait after try number `tries` (from 1) has failed: base × 4^(tries-1), at most an hour. Pure. */
int64_t webhook_pause_ms(uint32_t base_ms, int32_t tries);

#endif
