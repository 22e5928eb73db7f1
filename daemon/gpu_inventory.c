/* See gpu_inventory.h. One timer does two things in turn: while a probe runs it is the deadline of
 * its next line, while none runs it is the time of the next start. */
#include "daemon/gpu_inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/spawn.h"

#define LOG_MODULE   "gpu"
#define ABSENT_MS    60000 /* between looks on a machine without GPU */
#define RESTART_MS   1000  /* after a probe that failed; doubles up to ABSENT_MS */
#define READS_MAX    16    /* per wake-up */
#define WORDS_LOGGED 200

struct gpu_inventory {
    sd_event *event; /* borrowed */
    struct gpu_inventory_options options;
    char *worker;
    sd_event_source *timer, *io, *child;
    pid_t pid;
    int pidfd, pipe_fd; /* -1: no probe */
    bool late;          /* this probe missed its deadline and was killed */
    int64_t restart_ms;
    struct buf line; /* what came without its newline yet */
    struct gpu_report report;
};

pid_t gpu_inventory_pid(const struct gpu_inventory *inventory)
{
    return inventory ? inventory->pid : 0;
}

const struct gpu_report *gpu_inventory_report(const struct gpu_inventory *inventory)
{
    return &inventory->report;
}

static void arm(struct gpu_inventory *inventory, int64_t after_ms)
{
    uint64_t at_us = (uint64_t)(clock_monotonic_ms() + after_ms) * 1000;
    (void)sd_event_source_set_time(inventory->timer, at_us);
    (void)sd_event_source_set_enabled(inventory->timer, SD_EVENT_ONESHOT);
}

/* The GPUs of the last good report stay in it: they are still what is known of the machine. */
static void lose_sight(struct gpu_inventory *inventory, const char *reason)
{
    struct gpu_report *report = &inventory->report;
    if (report->state == GPU_REPORT_UNKNOWN && strcmp(report->reason, reason) == 0)
        return;
    log_warn("%s", reason);
    report->state = GPU_REPORT_UNKNOWN;
    report->xid_count = 0;
    snprintf(report->reason, sizeof(report->reason), "%.255s", reason);
    inventory->options.updated(inventory->options.user, report);
}

/* ---- What the probe says --------------------------------------------------------------------- */

static void take_report(struct gpu_inventory *inventory, const char *line, size_t size)
{
    struct ij_err err = IJ_ERR_INIT;
    enum gpu_report_state before = inventory->report.state;
    if (gpu_report_parse(line, size, &inventory->report, &err) != IJ_OK) {
        log_warn("%s", err.text);
        return;
    }
    inventory->report.taken_ms = clock_monotonic_ms();
    if (inventory->report.state != before)
        log_info("%zu GPUs, state %s%s%s", inventory->report.gpu_count,
                 gpu_report_state_name(inventory->report.state),
                 inventory->report.reason[0] ? ": " : "", inventory->report.reason);
    inventory->restart_ms = RESTART_MS;
    arm(inventory, inventory->options.deadline_ms);
    inventory->options.updated(inventory->options.user, &inventory->report);
}

static void take_line(struct gpu_inventory *inventory, const char *line, size_t size)
{
    if (inventory->late || size == 0)
        return;
    if (line[0] == '{')
        take_report(inventory, line, size);
    else
        log_info("probe: %.*s", (int)(size < WORDS_LOGGED ? size : WORDS_LOGGED), line);
}

static void take_bytes(struct gpu_inventory *inventory, const char *bytes, size_t size)
{
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) : size;
        buf_append(&inventory->line, bytes, part);
        if (!end)
            return;
        if (buf_status(&inventory->line) == IJ_OK)
            take_line(inventory, inventory->line.data, inventory->line.size);
        buf_done(&inventory->line);
        bytes += part + 1;
        size -= part + 1;
    }
}

static void listen(struct gpu_inventory *inventory)
{
    char bytes[16384];
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(inventory->pipe_fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                (void)sd_event_source_set_enabled(inventory->io, SD_EVENT_OFF);
            return;
        }
        take_bytes(inventory, bytes, (size_t)n);
    }
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source;
    (void)fd;
    (void)events;
    listen(user);
    return 0;
}

/* ---- Its life -------------------------------------------------------------------------------- */

static void bury(struct gpu_inventory *inventory)
{
    siginfo_t info;
    if (inventory->pidfd >= 0)
        (void)waitid(P_PIDFD, (id_t)inventory->pidfd, &info, WEXITED | WNOHANG);
    inventory->io = sd_event_source_disable_unref(inventory->io);
    inventory->child = sd_event_source_disable_unref(inventory->child);
    if (inventory->pipe_fd >= 0)
        close(inventory->pipe_fd);
    if (inventory->pidfd >= 0)
        close(inventory->pidfd);
    inventory->pipe_fd = inventory->pidfd = -1;
    buf_done(&inventory->line);
}

static void start_later(struct gpu_inventory *inventory)
{
    if (inventory->report.state == GPU_REPORT_ABSENT) {
        arm(inventory, ABSENT_MS);
        return;
    }
    arm(inventory, inventory->restart_ms);
    inventory->restart_ms *= 2;
    if (inventory->restart_ms > ABSENT_MS)
        inventory->restart_ms = ABSENT_MS;
}

static int on_exit_status(sd_event_source *source, const siginfo_t *info, void *user)
{
    (void)source;
    struct gpu_inventory *inventory = user;
    char reason[128];
    listen(inventory);
    if (!inventory->late && inventory->report.state != GPU_REPORT_ABSENT) {
        snprintf(reason, sizeof(reason), "the probe of the GPUs ended with %s %d",
                 info->si_code == CLD_EXITED ? "exit code" : "signal", info->si_status);
        lose_sight(inventory, reason);
    }
    bury(inventory);
    start_later(inventory);
    return 0;
}

static int watch(struct gpu_inventory *inventory)
{
    int r = sd_event_add_io(inventory->event, &inventory->io, inventory->pipe_fd, EPOLLIN,
                            on_output, inventory);
    if (r >= 0)
        r = sd_event_add_child_pidfd(inventory->event, &inventory->child, inventory->pidfd, WEXITED,
                                     on_exit_status, inventory);
    if (r >= 0) /* what it still said comes first */
        r = sd_event_source_set_priority(inventory->child, SD_EVENT_PRIORITY_NORMAL + 1);
    return r;
}

static enum ij_status start(struct gpu_inventory *inventory, struct ij_err *reterr_err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a pipe");
    inventory->pipe_fd = ends[0];
    fd_auto int output_fd = ends[1];
    (void)fcntl(output_fd, F_SETFL, 0); /* the probe's end blocks */
    mem_auto const char **environment = spawn_environment(NULL);
    if (!environment)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the probe of the GPUs");
    const char *const arguments[] = {inventory->worker, "gpus", "--watch", NULL};
    IJ_TRY(spawn_start(&(struct spawn_options){.program = inventory->worker,
                                               .arguments = arguments,
                                               .environment = environment,
                                               .output_fd = output_fd,
                                               .socket_fd = -1},
                       &inventory->pid, &inventory->pidfd, reterr_err));
    int r = watch(inventory);
    if (r < 0) {
        spawn_signal(inventory->pidfd, inventory->pid, SIGKILL, true);
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot watch the probe of the GPUs");
    }
    inventory->late = false;
    arm(inventory, inventory->options.deadline_ms);
    return IJ_OK;
}

/* An NVIDIA display or compute device on the PCI bus. */
static bool has_pci_gpu(void)
{
    glob_t found = {0};
    bool has = false;
    if (glob("/sys/bus/pci/devices/*/vendor", GLOB_NOSORT, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc && !has; i++) {
        char vendor[16] = "", class[16] = "", path[512];
        size_t folder = strlen(found.gl_pathv[i]) - strlen("vendor");
        file_auto FILE *file = fopen(found.gl_pathv[i], "re");
        snprintf(path, sizeof(path), "%.*sclass", (int)folder, found.gl_pathv[i]);
        file_auto FILE *class_file = fopen(path, "re");
        has = file && class_file && fgets(vendor, sizeof(vendor), file) &&
              fgets(class, sizeof(class), class_file) && strncmp(vendor, "0x10de", 6) == 0 &&
              strncmp(class, "0x03", 4) == 0;
    }
    globfree(&found);
    return has;
}

/* A machine that cannot have a GPU needs no process to say so. */
static bool may_have_gpu(void)
{
    static const char *const signs[] = {"/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg"};
    if (getenv("IJEPAD_NVML"))
        return true;
    for (size_t i = 0; i < COUNT_OF(signs); i++)
        if (access(signs[i], F_OK) == 0)
            return true;
    return has_pci_gpu();
}

static void say_absent(struct gpu_inventory *inventory)
{
    struct gpu_report *report = &inventory->report;
    arm(inventory, ABSENT_MS);
    if (report->state == GPU_REPORT_ABSENT)
        return;
    *report = (struct gpu_report){.state = GPU_REPORT_ABSENT, .taken_ms = clock_monotonic_ms()};
    snprintf(report->reason, sizeof(report->reason), "this machine has no NVIDIA GPU");
    inventory->options.updated(inventory->options.user, report);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source;
    (void)usec;
    struct gpu_inventory *inventory = user;
    struct ij_err err = IJ_ERR_INIT;
    char reason[128];
    if (inventory->pidfd >= 0) { /* on_exit_status starts the next, whenever that one is gone */
        inventory->late = true;
        spawn_signal(inventory->pidfd, inventory->pid, SIGKILL, true);
        snprintf(reason, sizeof(reason), "the NVIDIA driver has not answered for %lld s",
                 (long long)(inventory->options.deadline_ms / 1000));
        lose_sight(inventory, reason);
    } else if (!may_have_gpu()) {
        say_absent(inventory);
    } else if (start(inventory, &err) != IJ_OK) {
        lose_sight(inventory, err.text);
        bury(inventory);
        start_later(inventory);
    }
    return 0;
}

enum ij_status gpu_inventory_new(sd_event *event, const struct gpu_inventory_options *options,
                                 struct gpu_inventory **ret_inventory, struct ij_err *reterr_err)
{
    struct gpu_inventory *inventory = mem_new(struct gpu_inventory);
    if (!inventory)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the GPUs");
    inventory->event = event;
    inventory->options = *options;
    inventory->pidfd = inventory->pipe_fd = -1;
    inventory->restart_ms = RESTART_MS;
    inventory->worker = mem_strdup(options->worker);
    buf_init(&inventory->line, GPU_REPORT_LINE_MAX);
    snprintf(inventory->report.reason, sizeof(inventory->report.reason), "not looked yet");
    if (!inventory->worker) {
        gpu_inventory_free(inventory);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the GPUs");
    }
    int r =
        sd_event_add_time(event, &inventory->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, inventory);
    if (r < 0) {
        gpu_inventory_free(inventory);
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot set a timer for the GPUs");
    }
    if (!may_have_gpu())
        say_absent(inventory);
    *ret_inventory = inventory;
    return IJ_OK;
}

void gpu_inventory_free(struct gpu_inventory *inventory)
{
    if (!inventory)
        return;
    if (inventory->pidfd >= 0)
        spawn_signal(inventory->pidfd, inventory->pid, SIGKILL, true);
    bury(inventory);
    sd_event_source_disable_unref(inventory->timer);
    mem_free(inventory->worker);
    mem_free(inventory);
}
