/*
 * See control.h. A call is a heap object that both sides reference: the caller while it waits, the
 * queue until it is taken. Whoever lets go last frees it, so a caller may give up at any time.
 */
#include "daemon/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum call_stage { CALL_WAITING, CALL_TAKEN, CALL_ANSWERED, CALL_WITHDRAWN };

struct call {
    struct call *next;
    struct control_request request; /* strings and body owned */
    struct control_reply reply;
    enum call_stage stage; /* guarded by control.lock */
    int references;        /* guarded by control.lock */
};

struct control {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int wake_fd;
    struct call *first, **last; /* waiting calls; guarded by lock */
    size_t waiting;             /* guarded by lock */
    bool closed;                /* guarded by lock */
    /* Loop thread only. */
    sd_event_source *source;
    control_handler handler;
    void *user;
};

static const char *const verb_names[] = {
#define X(code, name) [CONTROL_##code] = name,
    CONTROL_VERB_MAP(X)
#undef X
};

const char *control_verb_name(enum control_verb verb)
{
    IJ_ASSERT((size_t)verb < COUNT_OF(verb_names));
    return verb_names[verb];
}

bool control_verb_from_name(const char *name, enum control_verb *ret_verb)
{
    for (size_t i = 0; i < COUNT_OF(verb_names); i++)
        if (!strcmp(verb_names[i], name)) {
            *ret_verb = (enum control_verb)i;
            return true;
        }
    return false;
}

void control_reply_done(struct control_reply *reply)
{
    json_decref(reply->errors);
    json_decref(reply->details);
    *reply = (struct control_reply){0};
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void call_free(struct call *call)
{
    json_decref((json_t *)call->request.body);
    mem_free((char *)call->request.actor);
    mem_free((char *)call->request.address);
    mem_free((char *)call->request.idempotency_key);
    control_reply_done(&call->reply);
    mem_free(call);
}

static bool copy_text(const char **text)
{
    if (*text)
        *text = mem_strdup(*text);
    return *text != NULL;
}

/* A call with copies of everything in `request`; NULL without memory. */
static struct call *call_new(const struct control_request *request)
{
    struct call *call = mem_new(struct call);
    if (!call)
        return NULL;
    call->references = 1;
    call->request = *request;
    call->request.body = request->body ? json_deep_copy(request->body) : NULL;
    bool ok = !request->body || call->request.body;
    ok &= copy_text(&call->request.actor) || !request->actor;
    ok &= copy_text(&call->request.address) || !request->address;
    ok &= copy_text(&call->request.idempotency_key) || !request->idempotency_key;
    if (ok)
        return call;
    call_free(call);
    return NULL;
}

static void call_release(struct control *control, struct call *call)
{
    pthread_mutex_lock(&control->lock);
    bool last = --call->references == 0;
    pthread_mutex_unlock(&control->lock);
    if (last)
        call_free(call);
}

/* ---- Caller's side --------------------------------------------------------------------------- */

enum ij_status control_new(struct control **ret_control, struct ij_err *reterr_err)
{
    struct control *control = mem_new(struct control);
    if (!control)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the control queue");
    control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->wake_fd < 0) {
        mem_free(control);
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make an eventfd");
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&control->answered, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&control->lock, NULL);
    control->last = &control->first;
    *ret_control = control;
    return IJ_OK;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    control_close(control);
    close(control->wake_fd);
    pthread_cond_destroy(&control->answered);
    pthread_mutex_destroy(&control->lock);
    mem_free(control);
}

/* With the lock held: into the queue, or the reason why not. */
static enum ij_status enqueue(struct control *control, struct call *call, struct ij_err *err)
{
    if (control->closed)
        return IJ_ERR(err, IJ_BUSY, "the daemon is stopping");
    if (control->waiting == CONTROL_QUEUE_MAX)
        return IJ_ERR(err, IJ_BUSY, "%d requests wait already", CONTROL_QUEUE_MAX);
    call->references++;
    *control->last = call;
    control->last = &call->next;
    control->waiting++;
    return IJ_OK;
}

static void wake(struct control *control)
{
    uint64_t one = 1;
    ssize_t n = write(control->wake_fd, &one, sizeof(one));
    IJ_ASSERT(n == (ssize_t)sizeof(one) || errno == EAGAIN || errno == EINTR);
}

/* With the lock held: waits until the call is answered or the deadline has passed. */
static void await_answer(struct control *control, struct call *call)
{
    int64_t until_ns = clock_monotonic_ns() + CONTROL_DEADLINE_MS * INT64_C(1000000);
    struct timespec deadline = {.tv_sec = (time_t)(until_ns / INT64_C(1000000000)),
                                .tv_nsec = (long)(until_ns % INT64_C(1000000000))};
    while (call->stage != CALL_ANSWERED)
        if (pthread_cond_timedwait(&control->answered, &control->lock, &deadline) == ETIMEDOUT)
            return;
}

enum ij_status control_call(struct control *control, const struct control_request *request,
                            struct control_reply *ret_reply)
{
    *ret_reply = (struct control_reply){.err = IJ_ERR_INIT};
    struct call *call = call_new(request);
    if (!call)
        return ret_reply->status =
                   IJ_ERR(&ret_reply->err, IJ_NO_MEMORY, "no memory for the request");

    pthread_mutex_lock(&control->lock);
    ret_reply->status = enqueue(control, call, &ret_reply->err);
    if (ret_reply->status == IJ_OK) {
        wake(control);
        await_answer(control, call);
        if (call->stage == CALL_ANSWERED) {
            *ret_reply = call->reply;
            call->reply = (struct control_reply){0};
        } else {
            ret_reply->unknown = call->stage == CALL_TAKEN;
            ret_reply->status =
                IJ_ERR(&ret_reply->err, IJ_TIMEOUT,
                       ret_reply->unknown
                           ? "the daemon took the request up but did not answer in %d ms: its "
                             "outcome is not known"
                           : "the daemon did not take the request up in %d ms: nothing was done",
                       CONTROL_DEADLINE_MS);
            if (call->stage == CALL_WAITING)
                call->stage = CALL_WITHDRAWN;
        }
    }
    pthread_mutex_unlock(&control->lock);
    call_release(control, call);
    return ret_reply->status;
}

/* ---- Loop's side ----------------------------------------------------------------------------- */

static void answer(struct control *control, struct call *call)
{
    pthread_mutex_lock(&control->lock);
    call->stage = CALL_ANSWERED;
    pthread_cond_broadcast(&control->answered);
    pthread_mutex_unlock(&control->lock);
    call_release(control, call);
}

/* The next call that still has a caller, marked taken; NULL: none. */
static struct call *take(struct control *control)
{
    for (;;) {
        pthread_mutex_lock(&control->lock);
        struct call *call = control->first;
        bool withdrawn = false;
        if (call) {
            control->first = call->next;
            if (!control->first)
                control->last = &control->first;
            call->next = NULL;
            control->waiting--;
            withdrawn = call->stage == CALL_WITHDRAWN;
            if (!withdrawn)
                call->stage = CALL_TAKEN;
        }
        pthread_mutex_unlock(&control->lock);
        if (!withdrawn)
            return call;
        call_release(control, call);
    }
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source;
    (void)events;
    struct control *control = user;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));
    (void)n; /* EAGAIN: somebody else emptied it */
    for (struct call *call; (call = take(control));) {
        call->reply.err = (struct ij_err)IJ_ERR_INIT;
        control->handler(control->user, &call->request, &call->reply);
        answer(control, call);
    }
    return 0;
}

enum ij_status control_attach(struct control *control, sd_event *event, control_handler handler,
                              void *user, struct ij_err *reterr_err)
{
    control->handler = handler;
    control->user = user;
    int r = sd_event_add_io(event, &control->source, control->wake_fd, EPOLLIN, on_wake, control);
    if (r >= 0) /* people before workers: a flood of frames does not keep them waiting */
        r = sd_event_source_set_priority(control->source, SD_EVENT_PRIORITY_IMPORTANT);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot watch the control queue");
    return IJ_OK;
}

void control_close(struct control *control)
{
    control->source = sd_event_source_disable_unref(control->source);
    pthread_mutex_lock(&control->lock);
    control->closed = true;
    pthread_mutex_unlock(&control->lock);
    for (struct call *call; (call = take(control));) {
        call->reply.status = IJ_ERR(&call->reply.err, IJ_BUSY, "the daemon is stopping");
        answer(control, call);
    }
}
