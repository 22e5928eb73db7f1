/* Calls into the loop: answered in order, refused when closed, copies of what the caller gives. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "daemon/control.h"

struct loop {
    struct control *control;
    sd_event *event;
    int handled;
};

/* The run's number decides what the handler does. */
static void handle(void *user, const struct control_request *request, struct control_reply *reply)
{
    struct loop *loop = user;
    loop->handled++;
    reply->run = request->run;
    if (request->run == 2) {
        reply->status = IJ_ERR(&reply->err, IJ_CONFLICT, "not now");
        reply->details = json_pack("{s:s}", "state", "paused");
    }
    if (request->run == 3)
        cr_assert_str_eq(json_string_value(json_object_get(request->body, "a")), "b");
    if (request->run == 99)
        sd_event_exit(loop->event, 0);
}

static void *turn(void *user)
{
    struct loop *loop = user;
    cr_assert_geq(sd_event_new(&loop->event), 0);
    cr_assert_eq(control_attach(loop->control, loop->event, handle, loop, NULL), IJ_OK);
    cr_assert_geq(sd_event_loop(loop->event), 0);
    control_close(loop->control);
    sd_event_unref(loop->event);
    return NULL;
}

static enum ij_status call(struct control *control, int64_t run, struct control_reply *reply)
{
    json_t *body = json_pack("{s:s}", "a", "b");
    struct control_request request = {
        .verb = CONTROL_PAUSE, .run = run, .body = body, .actor = "me"};
    enum ij_status status = control_call(control, &request, reply);
    json_decref(body);
    return status;
}

Test(control, calls_are_answered, .timeout = 30)
{
    struct loop loop = {0};
    struct control_reply reply;
    pthread_t thread;
    cr_assert_eq(control_new(&loop.control, NULL), IJ_OK);
    cr_assert_eq(pthread_create(&thread, NULL, turn, &loop), 0);
    cr_assert_eq(call(loop.control, 1, &reply), IJ_OK);
    cr_assert_eq(reply.run, 1);
    control_reply_done(&reply);
    cr_assert_eq(call(loop.control, 2, &reply), IJ_CONFLICT);
    cr_assert_str_eq(reply.err.text, "not now");
    cr_assert_str_eq(json_string_value(json_object_get(reply.details, "state")), "paused");
    control_reply_done(&reply);
    cr_assert_eq(call(loop.control, 3, &reply), IJ_OK);
    control_reply_done(&reply);
    cr_assert_eq(call(loop.control, 99, &reply), IJ_OK);
    control_reply_done(&reply);
    pthread_join(thread, NULL);
    cr_assert_eq(loop.handled, 4);
    cr_assert_eq(call(loop.control, 1, &reply), IJ_BUSY, "closed");
    control_reply_done(&reply);
    control_free(loop.control);
}

static void *hammer(void *user)
{
    struct loop *loop = user;
    for (int i = 0; i < 500; i++) {
        struct control_reply reply;
        cr_assert_eq(call(loop->control, 1000 + i, &reply), IJ_OK);
        cr_assert_eq(reply.run, 1000 + i);
        control_reply_done(&reply);
    }
    return NULL;
}

Test(control, many_threads_get_their_own_answers, .timeout = 60)
{
    struct loop loop = {0};
    struct control_reply reply;
    pthread_t thread, callers[4];
    cr_assert_eq(control_new(&loop.control, NULL), IJ_OK);
    cr_assert_eq(pthread_create(&thread, NULL, turn, &loop), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&callers[i], NULL, hammer, &loop), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(callers[i], NULL);
    cr_assert_eq(call(loop.control, 99, &reply), IJ_OK);
    control_reply_done(&reply);
    pthread_join(thread, NULL);
    cr_assert_eq(loop.handled, 2001);
    control_free(loop.control);
}

/* Nobody turns the loop: the call is withdrawn and nothing is done later. */
Test(control, a_call_that_nobody_takes_is_withdrawn, .timeout = 30)
{
    struct loop loop = {0};
    struct control_reply reply;
    cr_assert_eq(control_new(&loop.control, NULL), IJ_OK);
    cr_assert_eq(call(loop.control, 1, &reply), IJ_TIMEOUT);
    cr_assert_not(reply.unknown);
    control_reply_done(&reply);
    cr_assert_geq(sd_event_new(&loop.event), 0);
    cr_assert_eq(control_attach(loop.control, loop.event, handle, &loop, NULL), IJ_OK);
    cr_assert_geq(sd_event_run(loop.event, 0), 0);
    cr_assert_eq(loop.handled, 0);
    control_free(loop.control);
    sd_event_unref(loop.event);
}
