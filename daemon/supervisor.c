/* See supervisor.h. What is to be sent waits in `wanted` (one bit a type) and `ack`, so nothing is
 * queued and a worker that does not read costs nothing. */
#include "daemon/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/attempt_log.h"
#include "daemon/spawn.h"
#include "daemon/thread_look.h"

#define LOG_MODULE    "supervisor"
#define FRAMES_MAX    64                /* per wake-up */
#define WAKE_UP_MS    5                 /* the same in time: each frame may cost a commit */
#define DRAIN_MAX     (4 * WIRE_WINDOW) /* after the end */
#define DRAIN_MS      60000 /* all of it, as far as can be: its last frame says how it ended */
#define HANG_FACTOR   10
#define STACKS_MS     2000 /* to write where its threads are, before a hung worker is killed */
#define LATE_MS       1000 /* a watch that fires later than this was held up by the loop */
#define SOCKET_BUFFER (1024 * 1024)

struct supervisor_worker {
    sd_event *event; /* borrowed */
    struct supervisor_callbacks callbacks;
    char name[32];
    long long run;
    pid_t pid;
    int pidfd, socket_fd;
    sd_event_source *io, *child, *watch, *ladder;
    struct attempt_log *log;
    uint64_t seq_in, seq_out; /* of the last frame */
    uint64_t ack;             /* to send; 0: nothing */
    uint32_t wanted;          /* bits 1 << type, to send */
    json_t *spec;             /* until it is sent */
    int64_t hang_timeout_ms, last_frame_ms, longest_pause_ms;
    int64_t term_at_ms, kill_at_ms; /* monotonic; 0: no ladder */
    int64_t unkillable_ms;
    uint64_t oom_kills; /* before it was started */
    bool told_unkillable;
    bool heard, deaf, dead; /* HELLO came; frames are no longer delivered; reaped */
    struct supervisor_end end;
};

pid_t supervisor_pid(const struct supervisor_worker *worker)
{
    return worker->pid;
}

/* ---- Sending --------------------------------------------------------------------------------- */

static bool send_frame(struct supervisor_worker *worker, enum wire_type type, const void *payload,
                       size_t size)
{
    uint8_t bytes[WIRE_FRAME_MAX];
    size_t total;
    struct ij_err err;
    if (wire_encode(type, worker->seq_out + 1, payload, size, bytes, &total, &err) != IJ_OK) {
        log_err("%s: %s", worker->name, err.text);
        return true; /* checked before the start; trying again would not help */
    }
    ssize_t n = send(worker->socket_fd, bytes, total, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    worker->seq_out++;
    return true;
}

/* False: the socket is full; the rest waits until it can be written to. */
static bool flush_some(struct supervisor_worker *worker)
{
    if (worker->spec) {
        char *text = json_dumps(worker->spec, JSON_COMPACT);
        bool sent = text && send_frame(worker, WIRE_SPEC, text, strlen(text));
        free(text);
        if (!sent)
            return false;
        json_decref(worker->spec);
        worker->spec = NULL;
    }
    static const enum wire_type order[] = {WIRE_ABORT, WIRE_STOP, WIRE_CHECKPOINT_NOW};
    for (size_t i = 0; i < COUNT_OF(order); i++)
        if (worker->wanted & 1u << order[i]) {
            if (!send_frame(worker, order[i], NULL, 0))
                return false;
            worker->wanted &= ~(1u << order[i]);
        }
    if (worker->ack) {
        uint8_t payload[8];
        if (!send_frame(worker, WIRE_ACK, payload, wire_ack_encode(worker->ack, payload)))
            return false;
        worker->ack = 0;
    }
    return true;
}

static void flush(struct supervisor_worker *worker)
{
    if (worker->dead)
        return;
    uint32_t events = flush_some(worker) ? EPOLLIN : EPOLLIN | EPOLLOUT;
    (void)sd_event_source_set_io_events(worker->io, events);
}

void supervisor_ack(struct supervisor_worker *worker, uint64_t seq)
{
    if (seq > worker->ack)
        worker->ack = seq;
    flush(worker);
}

void supervisor_checkpoint(struct supervisor_worker *worker)
{
    worker->wanted |= 1u << WIRE_CHECKPOINT_NOW;
    flush(worker);
}

/* ---- Stopping -------------------------------------------------------------------------------- */

static void arm(sd_event_source *timer, int64_t at_ms)
{
    (void)sd_event_source_set_time(timer, (uint64_t)at_ms * 1000);
    (void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static void set_cause(struct supervisor_worker *worker, enum run_machine_cause cause)
{
    if (worker->end.cause == RUN_MACHINE_BY_ITSELF)
        worker->end.cause = cause;
}

void supervisor_kill(struct supervisor_worker *worker, enum run_machine_cause cause)
{
    set_cause(worker, cause);
    if (worker->dead)
        return;
    worker->end.escalated = true;
    spawn_signal(worker->pidfd, worker->pid, SIGKILL, true);
    arm(worker->ladder, clock_monotonic_ms() + worker->unkillable_ms);
}

void supervisor_stop(struct supervisor_worker *worker, enum run_machine_cause cause,
                     int64_t grace_ms)
{
    if (worker->dead)
        return;
    int64_t now = clock_monotonic_ms();
    set_cause(worker, cause);
    if (worker->end.escalated)
        return;
    if (worker->kill_at_ms && worker->kill_at_ms <= now + grace_ms)
        return;
    worker->term_at_ms = now + grace_ms * 3 / 4;
    worker->kill_at_ms = now + grace_ms;
    worker->wanted |= 1u << WIRE_STOP;
    arm(worker->ladder, worker->term_at_ms);
    flush(worker);
}

/* SIGKILL has not ended it: the last rung, over and over. */
static void insist(struct supervisor_worker *worker)
{
    enum run_machine_cause cause = worker->end.cause;
    if (!worker->told_unkillable) {
        worker->told_unkillable = true;
        worker->callbacks.unkillable(worker->callbacks.user);
    }
    supervisor_kill(worker, cause);
}

static int on_ladder(sd_event_source *source, uint64_t usec, void *user)
{
    (void)usec;
    struct supervisor_worker *worker = user;
    if (worker->end.escalated) {
        insist(worker);
        return 0;
    }
    if (clock_monotonic_ms() < worker->kill_at_ms) {
        log_line(LOG_LEVEL_NOTICE, LOG_MODULE, worker->run, "%s has not stopped yet: SIGTERM",
                 worker->name);
        spawn_signal(worker->pidfd, worker->pid, SIGTERM, false);
        arm(source, worker->kill_at_ms);
        return 0;
    }
    log_line(LOG_LEVEL_WARN, LOG_MODULE, worker->run, "%s did not stop in time: SIGKILL",
             worker->name);
    supervisor_kill(worker, worker->end.cause);
    return 0;
}

/* ---- Watching -------------------------------------------------------------------------------- */

static int64_t hang_deadline(const struct supervisor_worker *worker)
{
    int64_t patience = worker->longest_pause_ms * HANG_FACTOR;
    if (patience < worker->hang_timeout_ms)
        patience = worker->hang_timeout_ms;
    return worker->last_frame_ms + patience;
}

/* What the kernel knows of its threads goes to its log, and it is told to write its stacks there: a
 * process that is stopped or stuck in the kernel cannot. A little later it is killed; at once where
 * it was to stop anyway. */
static void give_up(struct supervisor_worker *worker, int64_t now_ms)
{
    enum run_machine_cause cause = worker->heard ? RUN_MACHINE_HUNG : RUN_MACHINE_START_TIMEOUT;
    log_line(LOG_LEVEL_WARN, LOG_MODULE, worker->run, "%s %s: SIGKILL", worker->name,
             worker->heard ? "made no progress in time" : "did not report in time");
    if (worker->kill_at_ms || worker->end.escalated) {
        supervisor_kill(worker, cause);
        return;
    }
    set_cause(worker, cause);
    struct buf text;
    buf_init(&text, THREAD_LOOK_MAX);
    thread_look(worker->pid, &text);
    attempt_log_add(worker->log, text.data, text.size);
    buf_done(&text);
    kill(-worker->pid, SIGQUIT); /* not yet reaped: the group is its own */
    worker->kill_at_ms = now_ms + STACKS_MS;
    arm(worker->ladder, worker->kill_at_ms);
}

static int on_watch(sd_event_source *source, uint64_t usec, void *user)
{
    struct supervisor_worker *worker = user;
    int64_t now = clock_monotonic_ms(), deadline = hang_deadline(worker);
    if (worker->heard && now < deadline) {
        arm(source, deadline);
        return 0;
    }
    if (now - (int64_t)(usec / 1000) > LATE_MS) {
        /* The loop itself was away (stopped, or starved): what the worker said meanwhile is still
         * unread. It is read first, and judged then. */
        arm(source, now + LATE_MS);
        return 0;
    }
    give_up(worker, now);
    return 0;
}

static void note_progress(struct supervisor_worker *worker)
{
    int64_t now = clock_monotonic_ms();
    if (worker->heard && now - worker->last_frame_ms > worker->longest_pause_ms)
        worker->longest_pause_ms = now - worker->last_frame_ms;
    worker->last_frame_ms = now;
    if (!worker->heard)
        arm(worker->watch, hang_deadline(worker));
    worker->heard = true;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void refuse(struct supervisor_worker *worker, enum run_machine_cause cause,
                   const struct ij_err *err)
{
    log_line(LOG_LEVEL_ERR, LOG_MODULE, worker->run, "%s: %s; the worker is killed", worker->name,
             err->text);
    if (worker->end.cause == RUN_MACHINE_BY_ITSELF)
        snprintf(worker->end.text, sizeof(worker->end.text), "%s", err->text);
    worker->deaf = true;
    supervisor_kill(worker, cause);
}

static void receive(struct supervisor_worker *worker, const uint8_t *bytes, size_t size)
{
    struct wire_frame frame;
    struct ij_err err = IJ_ERR_INIT;
    enum run_machine_cause cause = RUN_MACHINE_PROTOCOL;
    enum ij_status status = wire_decode(bytes, size, true, worker->seq_in + 1, &frame, &err);
    if (status == IJ_OK && (frame.type == WIRE_HELLO) == worker->heard)
        status = IJ_ERR(&err, IJ_MALFORMED, "%s came %s", wire_type_name(frame.type),
                        worker->heard ? "twice" : "before hello");
    if (status == IJ_OK) {
        worker->seq_in++;
        note_progress(worker);
        status = worker->callbacks.message(worker->callbacks.user, &frame, &cause, &err);
    }
    if (status != IJ_OK)
        refuse(worker, cause, &err);
}

/* Delivers at most `frames` waiting frames, for about max_ms; false: there are no more for now. */
static bool drain(struct supervisor_worker *worker, int frames, int64_t max_ms)
{
    uint8_t bytes[WIRE_FRAME_MAX + 1];
    int64_t until_ms = clock_monotonic_ms() + max_ms;
    for (int i = 0; i < frames && (i == 0 || clock_monotonic_ms() < until_ms); i++) {
        ssize_t n = recv(worker->socket_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN)
                (void)sd_event_source_set_enabled(worker->io, SD_EVENT_OFF);
            return false;
        }
        if (!worker->deaf)
            receive(worker, bytes, (size_t)n);
    }
    return true;
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source;
    (void)fd;
    struct supervisor_worker *worker = user;
    if (events & EPOLLOUT)
        flush(worker);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        (void)drain(worker, FRAMES_MAX, WAKE_UP_MS);
    return 0;
}

static int on_exit_status(sd_event_source *source, const siginfo_t *info, void *user)
{
    (void)source;
    struct supervisor_worker *worker = user;
    spawn_signal(worker->pidfd, worker->pid, SIGKILL, true); /* whatever it left behind */
    worker->dead = true;
    worker->end.exit_code = info->si_code == CLD_EXITED ? info->si_status : -1;
    worker->end.signal = info->si_code == CLD_EXITED ? 0 : info->si_status;
    worker->end.out_of_memory = spawn_oom_kills() > worker->oom_kills;
    (void)drain(worker, DRAIN_MAX, DRAIN_MS);
    worker->io = sd_event_source_disable_unref(worker->io);
    worker->watch = sd_event_source_disable_unref(worker->watch);
    worker->ladder = sd_event_source_disable_unref(worker->ladder);
    attempt_log_close(worker->log);
    worker->log = NULL;
    worker->callbacks.ended(worker->callbacks.user, &worker->end);
    return 0;
}

/* ---- Starting -------------------------------------------------------------------------------- */

static int add_sources(struct supervisor_worker *worker, int64_t start_timeout_ms)
{
    uint64_t start_by = (uint64_t)(clock_monotonic_ms() + start_timeout_ms) * 1000;
    int r =
        sd_event_add_io(worker->event, &worker->io, worker->socket_fd, EPOLLIN, on_socket, worker);
    if (r >= 0)
        r = sd_event_add_time(worker->event, &worker->watch, CLOCK_MONOTONIC, start_by, 0, on_watch,
                              worker);
    if (r >= 0)
        r = sd_event_add_time(worker->event, &worker->ladder, CLOCK_MONOTONIC, UINT64_MAX, 0,
                              on_ladder, worker);
    if (r >= 0)
        r = sd_event_source_set_enabled(worker->ladder, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_child_pidfd(worker->event, &worker->child, worker->pidfd, WEXITED,
                                     on_exit_status, worker);
    if (r >= 0) /* frames that came before the end are delivered before it */
        r = sd_event_source_set_priority(worker->child, SD_EVENT_PRIORITY_NORMAL + 1);
    return r;
}

static enum ij_status spawn_worker(struct supervisor_worker *worker,
                                   const struct supervisor_options *options, int output_fd,
                                   struct ij_err *reterr_err)
{
    int ends[2], size = SOCKET_BUFFER;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a socket pair");
    worker->socket_fd = ends[0];
    fd_auto int worker_end = ends[1];
    for (int i = 0; i < 2; i++) /* smaller is slower, not wrong */
        (void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    char fd_text[16];
    mem_auto char *visible = mem_printf("CUDA_VISIBLE_DEVICES=%s", options->visible_gpus);
    const char *const own[] = {"CUDA_DEVICE_ORDER=PCI_BUS_ID", visible, NULL};
    mem_auto const char **environment = visible ? spawn_environment(own) : NULL;
    if (!environment)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a worker");
    snprintf(fd_text, sizeof(fd_text), "%d", WIRE_FD);
    const char *const arguments[] = {options->program, "run", "--fd", fd_text, NULL};
    return spawn_start(&(struct spawn_options){.program = options->program,
                                               .arguments = arguments,
                                               .environment = environment,
                                               .output_fd = output_fd,
                                               .socket_fd = worker_end},
                       &worker->pid, &worker->pidfd, reterr_err);
}

enum ij_status supervisor_start(sd_event *event, const struct supervisor_options *options,
                                const struct supervisor_callbacks *callbacks,
                                struct supervisor_worker **ret_worker, struct ij_err *reterr_err)
{
    struct supervisor_worker *worker = mem_new(struct supervisor_worker);
    if (!worker)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a worker");
    *worker = (struct supervisor_worker){.event = event,
                                         .callbacks = *callbacks,
                                         .run = options->run,
                                         .pidfd = -1,
                                         .socket_fd = -1,
                                         .hang_timeout_ms = options->hang_timeout_ms,
                                         .unkillable_ms = options->unkillable_ms,
                                         .oom_kills = spawn_oom_kills(),
                                         .last_frame_ms = clock_monotonic_ms(),
                                         .spec = json_deep_copy(options->spec)};
    snprintf(worker->name, sizeof(worker->name), "%s", options->name);
    fd_auto int output_fd = -1;
    enum ij_status status;
    IJ_TRY_GOTO(status,
                attempt_log_open(event, options->log_path, options->log_bytes_max, &worker->log,
                                 &output_fd, reterr_err),
                out);
    IJ_TRY_GOTO(status, spawn_worker(worker, options, output_fd, reterr_err), out);
    int r = add_sources(worker, options->start_timeout_ms);
    if (r < 0) {
        status = IJ_ERR_SYS(reterr_err, -r, "", "cannot watch a worker");
        goto out;
    }
    flush(worker);
    *ret_worker = worker;
    return IJ_OK;
out:
    supervisor_free(worker);
    return status;
}

void supervisor_free(struct supervisor_worker *worker)
{
    if (!worker)
        return;
    if (worker->pidfd >= 0 && !worker->dead) {
        siginfo_t info;
        spawn_signal(worker->pidfd, worker->pid, SIGKILL, true);
        while (waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
            ;
    }
    sd_event_source_disable_unref(worker->io);
    sd_event_source_disable_unref(worker->watch);
    sd_event_source_disable_unref(worker->ladder);
    bool watched = worker->child != NULL;
    sd_event_source_disable_unref(worker->child);
    if (worker->pidfd >= 0 && (!worker->dead || !watched)) {
        siginfo_t info;
        (void)waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG);
    }
    attempt_log_close(worker->log);
    if (worker->pidfd >= 0)
        close(worker->pidfd);
    if (worker->socket_fd >= 0)
        close(worker->socket_fd);
    json_decref(worker->spec);
    mem_free(worker);
}
