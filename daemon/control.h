/*
 * Calls into the loop thread: the only way in which another thread changes anything.
 *
 * `control_call` may be used by any thread but the loop's. It queues a copy of the request, wakes
 * the loop through an eventfd and waits. The loop answers only after the change is committed to the
 * store, so IJ_OK means durable. The queue is bounded; a full one answers IJ_BUSY at once.
 *
 * A call that is not taken up within CONTROL_DEADLINE_MS is withdrawn: IJ_TIMEOUT, nothing was
 * done. One that was taken up but not answered in time is IJ_TIMEOUT with `reply->unknown` set: the
 * outcome is not known, and a submission is safe to repeat with the same idempotency key.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <jansson.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"

#ifndef CONTROL_DEADLINE_MS /* longer in builds that a tool slows down */
#define CONTROL_DEADLINE_MS 5000
#endif
#define CONTROL_QUEUE_MAX   256

/* X(code, name): `name` is the last part of the route, POST /v1/runs/{id}/{name}. */
#define CONTROL_VERB_MAP(X)                                                                        \
    X(SUBMIT, "submit")         /* body: see daemon/submit.h */                                    \
    X(SWEEP, "sweep")           /* body: see daemon/sweep.h */                                     \
    X(CANCEL, "cancel")         /* checkpoint, then end */                                         \
    X(KILL, "kill")             /* end at once, save nothing */                                    \
    X(PAUSE, "pause")           /* checkpoint, release the slot */                                 \
    X(RESUME, "resume")         /* paused: back into the queue, at the front of its priority */    \
    X(HOLD, "hold")             /* queued: do not start */                                         \
    X(RELEASE, "release")       /* held: queued again */                                           \
    X(REQUEUE, "requeue")       /* ended: another attempt; body {"from": "checkpoint|scratch"}*/   \
    X(CHECKPOINT, "checkpoint") /* running: save now and go on */                                  \
    X(PATCH, "patch")           /* body: any of name, notes, tags, priority */                     \
    X(MOVE, "move")     /* waits: another place; body {"before"|"after": "r1"} or {"top": true} */ \
    X(CORDON, "cordon") /* a device takes no new run; body {"gpu", "reason", "evict"} */           \
    X(UNCORDON, "uncordon")                   /* it does again; body {"gpu"} */                    \
    X(DELETE, "delete")                       /* ended: the run, its files and metrics */          \
    X(CHECKPOINT_PIN, "checkpoint_pin")       /* `checkpoint`; body {"pinned": true|false} */      \
    X(CHECKPOINT_DELETE, "checkpoint_delete") /* `checkpoint`: its row and its files */            \
    X(TOKEN_CREATE, "token_create")           /* body: {"user", "role", "expires_s"?} */           \
    X(TOKEN_REVOKE, "token_revoke")           /* body: {"id"} */                                   \
    X(BACKUP, "backup")           /* body: {"file"}: a new absolute path; none: one more of \
                                           those on schedule */      \
    X(DRAIN, "drain")             /* nothing new is started; body {"reason"} */                    \
    X(UNDRAIN, "undrain")         /* it is again */                                                \
    X(ACKNOWLEDGE, "acknowledge") /* the restored database was looked at */                        \
    X(WEBHOOK_CREATE, "webhook_create") /* body: {"url", "events", "note"?} */                     \
    X(WEBHOOK_PATCH, "webhook_patch")   /* `webhook`; body {"enabled": true|false} */              \
    X(WEBHOOK_DELETE, "webhook_delete") /* `webhook` */                                            \
    X(WEBHOOK_TEST, "webhook_test")     /* `webhook`: sends a message without an event */

enum control_verb {
#define X(code, name) CONTROL_##code,
    CONTROL_VERB_MAP(X)
#undef X
        CONTROL_VERB_COUNT
};

const char *control_verb_name(enum control_verb verb); /* static */
bool control_verb_from_name(const char *name, enum control_verb *ret_verb);

struct control_request {
    enum control_verb verb;
    int64_t run;         /* verbs on one run: its number (42 for "r42");
                                    SUBMIT: the run that it is a clone of; else 0 */
    int64_t checkpoint;  /* CHECKPOINT_PIN, CHECKPOINT_DELETE: its number */
    int64_t webhook;     /* WEBHOOK_PATCH, _DELETE, _TEST: its number */
    int64_t if_version;  /* PATCH: the row version that If-Match names; 0 = any */
    const json_t *body;  /* object, or NULL where the verb takes none; copied */
    const char *actor;   /* who asks: recorded in the audit table and in events; copied */
    const char *address; /* peer address for the audit table, or NULL; copied */
    const char
        *idempotency_key; /* SUBMIT, SWEEP, TOKEN_CREATE, WEBHOOK_CREATE; NULL = none; copied.
                                    At most 128 characters */
};

/* Filled by control_call; release with control_reply_done. */
struct control_reply {
    enum ij_status status;
    struct ij_err err;
    json_t *errors;  /* array of {"pointer", "detail"}, or NULL */
    json_t *details; /* object or NULL. IJ_CONFLICT: {"state", "allowed": [verbs]}.
                        DELETE, CHECKPOINT_DELETE: {"freed_bytes"}.
                        TOKEN_CREATE: {"id", "token", "user", "role", "expires"}: `token` is told
                        only here */
    int64_t run;     /* the run that the verb made or changed; SWEEP: the sweep; 0 for the others */
    int64_t webhook; /* WEBHOOK_*: its number. details of CREATE: {"secret"}, told only here; of
                        TEST: {"delivery"} */
    bool pending;    /* the state change is still under way (202): stopping, pausing, saving */
    bool replayed;   /* the key was used before with the same body: what is told was made then;
                        secrets are not told again */
    bool unknown;    /* IJ_TIMEOUT after the loop took the request up */
};

struct control;

IJ_MUST_USE enum ij_status control_new(struct control **ret_control, struct ij_err *reterr_err);
/* Only when no other thread can be in control_call; NULL is fine. */
void control_free(struct control *control);

/* Any thread but the loop's. Returns reply->status; *reply is filled in every case. */
enum ij_status control_call(struct control *control, const struct control_request *request,
                            struct control_reply *ret_reply);
void control_reply_done(struct control_reply *reply);

/* ---- Loop side ----------------------------------------------------------------------------------
 */

/* Runs one request in the loop thread. `ret_reply` is zeroed; strings of `request` are borrowed. */
typedef void (*control_handler)(void *user, const struct control_request *request,
                                struct control_reply *ret_reply);

/* Handles requests from `event`, in order, until control_close. */
IJ_MUST_USE enum ij_status control_attach(struct control *control, sd_event *event,
                                          control_handler handler, void *user,
                                          struct ij_err *reterr_err);
/* Answers everything that waits, and every later call, with IJ_BUSY ("the daemon is stopping"). */
void control_close(struct control *control);

#endif
