/*
 * ijepad: reads its configuration, takes the lock of the state directory, opens the daemon, starts
 * the API, and turns the loop until it is told to stop.
 *
 * TERM or INT: running runs save a checkpoint and go back into the queue; a second one ends them at
 * once. HUP: the configuration is read again. Every failure is logged here, once, and becomes
 * the exit code of its status (base/status.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api/api.h"
#include "base/build.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/admin_command.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "daemon/queue.h"

#define LOG_MODULE "main"
#define LOCK_FILE  "ijepad.lock"
#define PLACES_MAX 4
#define FDS_MAX    8

struct arguments {
    const char *config_file, *user, *role;
    uint64_t expires_s;
    bool check_config, print_config, help, version;
    const char *places[PLACES_MAX];
    size_t place_count;
};

struct program {
    struct config config;
    const char *config_file; /* as given; NULL: the default, which may be missing */
    struct daemon daemon;
    struct notify notify;
    struct api *api;
    int inherited; /* sockets that systemd passed on */
};

/* ---- Command line ---------------------------------------------------------------------------- */

static enum ij_status parse(int argc, char **argv, struct arguments *arguments, struct buf *help,
                            struct ij_err *reterr_err)
{
    const struct options_row rows[] = {
        {"config", OPTIONS_TEXT, &arguments->config_file, "FILE",
         "configuration; default " CONFIG_DEFAULT_FILE},
        {"check-config", OPTIONS_FLAG, &arguments->check_config, NULL,
         "check the configuration and exit"},
        {"print-config", OPTIONS_FLAG, &arguments->print_config, NULL,
         "print every key with its value and exit"},
        {"user", OPTIONS_TEXT, &arguments->user, "NAME", "token create: whose"},
        {"role", OPTIONS_TEXT, &arguments->role, "ROLE",
         "token create: viewer, submitter, operator or admin"},
        {"expires-s", OPTIONS_UINT, &arguments->expires_s, "SECONDS",
         "token create: valid so long; default for ever"},
        {"version", OPTIONS_FLAG, &arguments->version, NULL, "print the version and exit"},
        {"help", OPTIONS_FLAG, &arguments->help, NULL, "print this and exit"},
    };
    buf_append_text(help, "Usage: ijepad [--config FILE]          run the daemon\n"
                          "       ijepad token create --user NAME --role ROLE\n"
                          "       ijepad token list | token revoke ID\n"
                          "       ijepad backup FILE              copy state.db\n"
                          "       ijepad configuration            describe every key\n\n");
    options_help(rows, COUNT_OF(rows), help);
    return options_parse(argc - 1, argv + 1, rows, COUNT_OF(rows), arguments->places, PLACES_MAX,
                         &arguments->place_count, reterr_err);
}

/* A program beside this one, where the configuration names none. */
static void default_program(char *path, size_t size, const char *name)
{
    char self[CONFIG_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0 || path[0])
        return;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return;
    *slash = '\0';
    snprintf(path, size, "%.900s/%s", self, name);
}

static enum ij_status load_config(const char *file, struct config *ret_config,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(config_load(file ? file : CONFIG_DEFAULT_FILE, file != NULL, ret_config, reterr_err));
    default_program(ret_config->worker, sizeof(ret_config->worker), "ijepad-worker");
    default_program(ret_config->gpu_probe, sizeof(ret_config->gpu_probe), "ijepad-worker");
    default_program(ret_config->webhook_program, sizeof(ret_config->webhook_program),
                    "ijepad-webhook");
    return IJ_OK;
}

/* ---- Before the loop ------------------------------------------------------------------------- */

/* Held for life: the descriptor is never closed. */
static enum ij_status lock_state(const struct config *config, struct ij_err *reterr_err)
{
    char path[CONFIG_PATH_MAX + 32];
    IJ_TRY(file_make_dirs(config->state_dir, 0700, reterr_err));
    snprintf(path, sizeof(path), "%s/" LOCK_FILE, config->state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return IJ_OK;
    int error = errno;
    close(fd);
    if (error == EWOULDBLOCK)
        return IJ_ERR_FIELD(reterr_err, IJ_BUSY, "state_dir",
                            "another ijepad is running on %s: it holds %s", config->state_dir,
                            path);
    return IJ_ERR_SYS(reterr_err, error, path, "cannot lock %s", path);
}

static enum ij_status check_worker(const struct config *config, struct ij_err *reterr_err)
{
    if (access(config->worker, X_OK) == 0)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "worker", "worker: cannot execute %s: %s",
                        config->worker, strerror(errno));
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- Signals --------------------------------------------------------------------------------- */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    (void)source;
    struct program *program = user;
    bool again = program->daemon.draining;
    log_message(LOG_LEVEL_NOTICE, STOPPING, "%s: %s", strsignal((int)info->ssi_signo),
                again ? "stopping at once" : "stopping; running runs save a checkpoint first");
    daemon_stop(&program->daemon, again);
    notify_stopping(&program->notify);
    return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    (void)source;
    (void)info;
    struct program *program = user;
    struct config fresh;
    struct ij_err err = IJ_ERR_INIT;
    if (load_config(program->config_file, &fresh, &err) != IJ_OK) {
        log_message(LOG_LEVEL_ERR, CONFIG_WRONG, "%s; the configuration stays as it is", err.text);
        return 0;
    }
    struct buf left;
    buf_init(&left, 4096);
    config_reload(&program->daemon.config, &fresh, &left);
    if (fresh.log_level[0])
        (void)log_set_level_name(fresh.log_level);
    log_message(LOG_LEVEL_NOTICE, RELOADED, "the configuration was read again%s%s",
                left.size ? "; these keys wait for a restart: " : "", left.size ? left.data : "");
    buf_done(&left);
    (void)device_table_set_slots(program->daemon.devices, program->daemon.config.slots);
    queue_schedule(&program->daemon);
    return 0;
}

static enum ij_status watch_signals(struct program *program, struct ij_err *reterr_err)
{
    sd_event *event = program->daemon.event;
    int r = sd_event_add_signal(event, NULL, SIGTERM, on_stop, program);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGINT, on_stop, program);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, program);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot watch signals");
    return IJ_OK;
}

/* ---- The API --------------------------------------------------------------------------------- */

static int64_t api_silence(const void *user)
{
    return api_silence_ms(user);
}

static enum ij_status start_api(struct program *program, struct ij_err *reterr_err)
{
    const struct config *config = &program->config;
    const char *hosts[CONFIG_HOSTS_MAX];
    char run_dir[CONFIG_PATH_MAX + 8];
    int fds[FDS_MAX], count = sd_listen_fds(1);
    for (size_t i = 0; i < config->host_count; i++)
        hosts[i] = config->hosts[i];
    for (int i = 0; i < count && i < FDS_MAX; i++)
        fds[i] = SD_LISTEN_FDS_START + i;
    snprintf(run_dir, sizeof(run_dir), "%s/runs", config->state_dir);
    struct api_options options = {.listen = count > 0 ? NULL : config->listen,
                                  .unix_path = count > 0 ? NULL : config->socket,
                                  .admin_group = config->socket_group,
                                  .inherited_fds = fds,
                                  .inherited_count = count > 0 ? (size_t)count : 0,
                                  .state_dir = config->state_dir,
                                  .run_dir = run_dir,
                                  .control = program->daemon.control,
                                  .events = program->daemon.bus,
                                  .condition = program->daemon.condition,
                                  .tally = program->daemon.tally,
                                  .devices = program->daemon.devices,
                                  .data_roots = config->data_roots,
                                  .priority_age_s = config->priority_age_s,
                                  .allowed_hosts = hosts,
                                  .allowed_host_count = config->host_count,
                                  .allow_remote = config->allow_remote,
                                  .open_metrics = config->open_metrics,
                                  .connections_max = config->connections_max,
                                  .streams_max = config->streams_max,
                                  .streams_per_token_max = config->streams_per_token_max,
                                  .body_bytes_max = config->body_bytes_max};
    if (count > FDS_MAX)
        return IJ_ERR(reterr_err, IJ_INVALID, "systemd passed on more than %d sockets", FDS_MAX);
    program->inherited = count > 0 ? count : 0;
    return api_new(&options, &program->api, reterr_err);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status open_all(struct program *program, struct ij_err *reterr_err)
{
    bool made = false;
    IJ_TRY(check_worker(&program->config, reterr_err));
    IJ_TRY(lock_state(&program->config, reterr_err));
    IJ_TRY(daemon_open(&program->daemon, &program->config, reterr_err));
    IJ_TRY(watch_signals(program, reterr_err));
    IJ_TRY(admin_command_first_token(program->daemon.store, &program->config, &made, reterr_err));
    if (made)
        log_notice("first start: the administrator's token is in %s/" ADMIN_COMMAND_TOKEN_FILE,
                   program->config.state_dir);
    IJ_TRY(start_api(program, reterr_err));
    program->notify = (struct notify){
        .daemon = &program->daemon, .silence_ms = api_silence, .user = program->api};
    return notify_start(&program->notify, reterr_err);
}

static void log_ready(const struct program *program)
{
    const struct config *config = &program->config;
    if (program->inherited)
        log_message(LOG_LEVEL_NOTICE, READY,
                    "ijepad %s is ready on %d sockets that systemd passed on", build_id(),
                    program->inherited);
    else
        log_message(LOG_LEVEL_NOTICE, READY, "ijepad %s is ready on %s%s%s", build_id(),
                    config->listen, config->listen[0] && config->socket[0] ? " and " : "",
                    config->socket);
}

static enum ij_status run_daemon(struct program *program, struct ij_err *reterr_err)
{
    block_signals();
    umask(0077);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* no core dump holds a token */
    enum ij_status status = open_all(program, reterr_err);
    if (status == IJ_OK) {
        log_ready(program);
        queue_schedule(&program->daemon);
        status = daemon_run(&program->daemon, reterr_err);
    }
    notify_done(&program->notify);
    if (program->daemon.control)
        control_close(program->daemon.control);
    if (program->api)
        api_stop(program->api);
    api_free(program->api);
    daemon_close(&program->daemon);
    if (status == IJ_OK)
        log_message(LOG_LEVEL_NOTICE, STOPPED, "stopped");
    return status;
}

/* A daemon that runs for months gives back what a burst took: few arenas, large blocks on their
 * own, and no threshold that grows with what was freed. */
static void keep_memory_flat(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 512 * 1024);
}

static enum ij_status run_program(const struct arguments *arguments, struct program *program,
                                  struct ij_err *reterr_err)
{
    program->config_file = arguments->config_file;
    IJ_TRY(load_config(arguments->config_file, &program->config, reterr_err));
    if (program->config.log_level[0])
        (void)log_set_level_name(program->config.log_level);
    if (arguments->print_config) {
        struct buf text;
        buf_init(&text, 1 << 20);
        config_print(&program->config, &text);
        fputs(text.data ? text.data : "", stdout);
        buf_done(&text);
        return IJ_OK;
    }
    if (arguments->check_config) {
        IJ_TRY(check_worker(&program->config, reterr_err));
        puts("the configuration is valid");
        return IJ_OK;
    }
    if (arguments->place_count) {
        struct admin_command command = {.config = &program->config,
                                        .user = arguments->user,
                                        .role = arguments->role,
                                        .expires_s = arguments->expires_s};
        return admin_command_run(&command, arguments->places, arguments->place_count, reterr_err);
    }
    keep_memory_flat();
    return run_daemon(program, reterr_err);
}

int main(int argc, char **argv)
{
    static struct program program;
    struct arguments arguments = {0};
    struct ij_err err = IJ_ERR_INIT;
    struct buf help;
    buf_init(&help, 1 << 16);
    enum ij_status status = parse(argc, argv, &arguments, &help, &err);
    if (status == IJ_OK && arguments.help)
        fputs(help.data ? help.data : "", stdout);
    else if (status == IJ_OK && arguments.version)
        printf("ijepad %s\n", build_id());
    else if (status == IJ_OK)
        status = run_program(&arguments, &program, &err);
    buf_done(&help);
    if (status != IJ_OK)
        log_err("%s", err.text);
    return ij_status_exit_code(status);
}
