/*
 * The link to the helper process that sends webhooks: the daemon itself has no outgoing network.
 *
 * One JSON object per packet of a SOCK_SEQPACKET socket:
 *   to the helper    {"id", "url", "headers": ["name: value"], "body", "timeout_ms", "allow_local"}
 *   from the helper  {"id", "http", "refused", "error"}   http 0: no answer came
 * The helper is ijepad-webhook: started by the first delivery over a socket pair, or (where
 * `socket` is set) reached over a Unix socket behind which a service of its own waits. Whatever
 * happens to it, each accepted letter is answered once: by the helper, or by its end, or by its
 * deadline, which ends the helper. Loop thread.
 */
#ifndef DAEMON_COURIER_H
#define DAEMON_COURIER_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"

#define COURIER_LETTERS_MAX  8
#define COURIER_PER_HOOK_MAX 2
#define COURIER_TIMEOUT_MS   10000 /* of one delivery, looking up the name included */
#define COURIER_PACKET_MAX   65536

struct courier_letter {
    int64_t id, webhook;
    const char *url, *body;
    const char *const *headers; /* NULL at its end */
    bool allow_local;
};

struct courier_answer {
    int64_t id, webhook;
    int http;          /* 0: none */
    bool refused;      /* the target is not allowed: trying again is of no use */
    const char *error; /* "" where there is an HTTP status */
};

struct courier_options {
    sd_event *event;
    const char *program; /* the helper, absolute; copied */
    const char *socket;  /* of the helper's service; "" = start the program; copied */
    void (*answered)(void *user, const struct courier_answer *answer);
    void *user;
};

struct courier;

IJ_MUST_USE enum ij_status courier_new(const struct courier_options *options,
                                       struct courier **ret_courier, struct ij_err *reterr_err);
void courier_free(struct courier *courier); /* ends the helper; unanswered letters stay so */

/* May one more letter for this webhook go out now? */
bool courier_has_room(const struct courier *courier, int64_t webhook);
bool courier_carries(const struct courier *courier, int64_t id);
/* IJ_TOO_LARGE: does not fit into a packet. Other failures: the helper cannot be reached. */
IJ_MUST_USE enum ij_status courier_send(struct courier *courier,
                                        const struct courier_letter *letter,
                                        struct ij_err *reterr_err);
pid_t courier_pid(const struct courier *courier); /* of the helper; 0: none was started */
/* Once a second: deadlines. */
void courier_tick(struct courier *courier);

#endif
