/* See worker_run.h. */
#include "daemon/worker_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/options.h"
#include "daemon/worker_host.h"
#include "daemon/worker_jail.h"
#include "daemon/worker_link.h"
#include "daemon/worker_ranks.h"
#include "daemon/worker_sink.h"
#include "daemon/worker_spec.h"
#include "daemon/worker_stacks.h"

#define NO_FD         UINT64_MAX
#define LAST_WORDS_MS 10000
#define LOCK_WAIT_MS  30000

/* One worker per run directory: a predecessor that is still being killed is waited for. The
 * descriptor is held until the process ends. */
static enum ij_status lock_directory(const char *directory, struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 16];
    int64_t until_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
    snprintf(path, sizeof(path), "%s/worker.lock", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        struct timespec wait = {.tv_nsec = 100000000};
        if (errno != EWOULDBLOCK && errno != EINTR)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot lock %s", path);
        if (clock_monotonic_ms() >= until_ms)
            return IJ_ERR_FIELD(reterr_err, IJ_BUSY, path, "another worker is using %s", directory);
        nanosleep(&wait, NULL);
    }
    return IJ_OK;
}

/* A kernel without the means is worth a warning, not the run. */
static void confine(const struct engine_spec *spec, const struct engine_sink *sink)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!engine_runs_on_host(spec) || worker_jail_enter(spec->directory, &err) == IJ_OK)
        return;
    if (sink->warning(sink->user, "jail", err.text) != IJ_OK)
        fprintf(stderr, "ijepad-worker: %s\n", err.text);
}

/* `object`: what spec was read from, for the other ranks. */
static enum ij_status run_spec(struct engine_spec *spec, const json_t *object,
                               const struct engine_sink *sink, struct ij_err *reterr_err)
{
    IJ_TRY(file_make_dirs(spec->directory, 0700, reterr_err));
    IJ_TRY(lock_directory(spec->directory, reterr_err));
    enum ij_status status = worker_ranks_start(spec, object, reterr_err);
    if (status == IJ_OK) {
        confine(spec, sink);
        worker_stacks_watch();
        status = engine_run(spec, sink, reterr_err);
    }
    worker_ranks_end(spec, status);
    if (status == IJ_STOPPED)
        return IJ_ERR(reterr_err, status, "stopped as asked");
    return status;
}

/* ---- For the daemon -------------------------------------------------------------------------- */

static enum ij_status run_linked(int fd, struct ij_err *reterr_err)
{
    struct worker_link *link = NULL;
    json_t *object = NULL;
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run");
    IJ_TRY(worker_link_open(fd, &link, &object, reterr_err));
    enum ij_status status = worker_spec_parse(object, spec, reterr_err);
    if (status == IJ_OK) {
        struct engine_sink sink = worker_sink_make(link);
        status = run_spec(spec, object, &sink, reterr_err);
    }
    json_decref(object);
    const char *field = status == IJ_OK ? "" : reterr_err->field;
    const char *text = status == IJ_OK ? "" : reterr_err->text;
    enum ij_status told =
        worker_link_send(link, WIRE_FINISHED,
                         json_pack("{s:s, s:s, s:s}", "status", ij_status_name(status), "field",
                                   field, "text", text));
    if (told == IJ_OK)
        told = worker_link_drain(link, LAST_WORDS_MS);
    worker_link_close(link);
    if (status == IJ_OK && told != IJ_OK)
        return IJ_ERR(reterr_err, told, "the daemon did not take the end of the run");
    return status;
}

/* ---- By hand --------------------------------------------------------------------------------- */

struct arguments {
    const char *spec_file, *directory, *resume;
    uint64_t fd, rank;
    bool help;
};

/* The file, and over it what the command line says; also in *ret_object, for the other ranks. */
static enum ij_status read_description(const struct arguments *arguments, struct engine_spec *spec,
                                       json_t **ret_object, struct ij_err *reterr_err)
{
    json_t *object = NULL;
    IJ_TRY(worker_spec_load(arguments->spec_file, spec, &object, reterr_err));
    if (arguments->directory) {
        snprintf(spec->directory, sizeof(spec->directory), "%s", arguments->directory);
        json_object_set_new(object, "directory", json_string(arguments->directory));
    }
    if (arguments->resume) {
        snprintf(spec->resume, sizeof(spec->resume), "%s", arguments->resume);
        json_object_set_new(object, "resume", json_string(arguments->resume));
    }
    *ret_object = object;
    return IJ_OK;
}

static enum ij_status run_by_hand(const struct arguments *arguments, struct ij_err *reterr_err)
{
    json_t *object = NULL;
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run");
    IJ_TRY(read_description(arguments, spec, &object, reterr_err));
    enum ij_status status = engine_check_data(spec, reterr_err);
    if (!spec->directory[0])
        status = IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory",
                              "say where checkpoints go: --directory DIR, or \"directory\" in %s",
                              arguments->spec_file);
    struct engine_sink sink = worker_host_stdout_sink();
    if (status == IJ_OK)
        status = run_spec(spec, object, &sink, reterr_err);
    json_decref(object);
    return status;
}

/* A rank that rank 0 started: see worker_ranks.h. */
static enum ij_status run_rank(const struct arguments *arguments, struct ij_err *reterr_err)
{
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run");
    IJ_TRY(worker_spec_load(arguments->spec_file, spec, NULL, reterr_err));
    if (arguments->rank >= spec->ranks.count)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "rank", "rank %llu of a run of %u",
                            (unsigned long long)arguments->rank, spec->ranks.count);
    worker_ranks_join(spec, (uint32_t)arguments->rank);
    struct engine_sink sink = worker_ranks_sink(spec);
    confine(spec, &sink);
    worker_stacks_watch();
    return engine_run(spec, &sink, reterr_err);
}

enum ij_status worker_run(int argc, char **argv, struct ij_err *reterr_err)
{
    struct arguments arguments = {.fd = NO_FD};
    size_t place_count;
    const struct options_row rows[] = {
        {"spec", OPTIONS_TEXT, &arguments.spec_file, "FILE", "JSON {\"kind\", \"params\"}"},
        {"directory", OPTIONS_TEXT, &arguments.directory, "DIR", "run directory"},
        {"resume", OPTIONS_TEXT, &arguments.resume, "DIR",
         "checkpoint to go on from; default: the newest in the run directory"},
        {"fd", OPTIONS_UINT, &arguments.fd, "N", "socket to the daemon"},
        {"rank", OPTIONS_UINT, &arguments.rank, "N", "for ranks that a worker starts itself"},
        {"help", OPTIONS_FLAG, &arguments.help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), NULL, 0, &place_count, reterr_err));
    if (arguments.help) {
        struct buf text;
        buf_init(&text, 1 << 16);
        buf_append_text(&text, "Usage: ijepad-worker run --spec FILE --directory DIR\n");
        options_help(rows, COUNT_OF(rows), &text);
        fputs(text.data ? text.data : "", stdout);
        buf_done(&text);
        return IJ_OK;
    }
    worker_host_catch_signals();
    worker_stacks_prepare();
    if (arguments.fd != NO_FD && arguments.fd <= 1024)
        return run_linked((int)arguments.fd, reterr_err);
    if (arguments.spec_file && arguments.rank > 0)
        return run_rank(&arguments, reterr_err);
    if (arguments.spec_file)
        return run_by_hand(&arguments, reterr_err);
    return IJ_ERR(reterr_err, IJ_INVALID, "run needs --spec FILE");
}
