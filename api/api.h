/*
 * The HTTP face of the daemon: what daemon/main.c starts and stops, and all it knows of api/.
 *
 * One libmicrohttpd daemon with its own epoll thread per listening socket, and one ticker thread
 * for deadlines and heartbeats. Requests are parsed and checked here; questions are answered from
 * read-only database handles; commands go through `struct control` to the loop thread. Nothing in
 * api/ changes a run by itself.
 *
 * Lifetime: api_new starts to listen; api_stop ends every connection and joins every thread, so it
 * must be called while `control` and `events` still exist and the loop still answers; api_free
 * releases the memory (and stops first if that was forgotten).
 */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct api;
struct control;      /* daemon/control.h */
struct condition;    /* daemon/condition.h */
struct tally;        /* daemon/tally.h */
struct event_bus;    /* daemon/event_bus.h */
struct device_table; /* daemon/device.h */

#define API_DEFAULT_LISTEN "127.0.0.1:8765"

/* All pointers are borrowed for the call of api_new except where noted; zero means the default. */
struct api_options {
    const char *listen;       /* "ADDRESS:PORT", several parted by spaces; port 0: any free one;
                                 "[::1]:8765" for IPv6; NULL or "": no TCP */
    const char *unix_path;    /* Unix socket to make, mode 0660; NULL or "": none */
    const int *inherited_fds; /* listening sockets from systemd, Unix or TCP; taken on success */
    size_t inherited_count;
    const char *state_dir;            /* holds state.db and metrics.db, opened read-only */
    const char *run_dir;              /* root of the per-run directories (logs, checkpoints) */
    struct control *control;          /* borrowed until api_free */
    struct event_bus *events;         /* borrowed until api_free */
    struct condition *condition;      /* borrowed until api_free */
    struct tally *tally;              /* borrowed until api_free; NULL: nothing was counted */
    int64_t priority_age_s;           /* as the scheduler has it: for the order of the queue */
    struct device_table *devices;     /* borrowed until api_free; NULL: none are shown */
    const char *const *allowed_hosts; /* names accepted in Host, without port, beside localhost,
                                         127.0.0.1 and [::1]; "gpu1.lab:443" with a fixed port */
    size_t allowed_host_count;
    const char *admin_group;  /* its members are admin over the Unix socket, which also gets this
                                     group; NULL or "": only root and the daemon's own user */
    const char *data_roots;   /* where data may lie: daemon/data_roots.h; NULL: anywhere */
    bool allow_remote;        /* accept a `listen` address beyond loopback */
    bool open_metrics;        /* GET /metrics without a token */
    unsigned connections_max; /* per listener; default 256 */
    unsigned connections_per_ip_max; /* TCP; default 0: no limit, as ssh tunnels share an address */
    unsigned streams_max;            /* event streams in all; default 32 */
    unsigned streams_per_token_max;  /* default 4 */
    size_t body_bytes_max;           /* default 1 MiB */
    unsigned header_timeout_ms;      /* accept to complete header; default 10 s */
    unsigned body_timeout_ms;        /* header to complete body; default 30 s */
    unsigned idle_timeout_s;         /* keep-alive; default 10 s */
};

IJ_MUST_USE enum ij_status api_new(const struct api_options *options, struct api **ret_api,
                                   struct ij_err *reterr_err);
void api_stop(struct api *api);
void api_free(struct api *api); /* NULL is fine */

/* The port of the first TCP listener, 0 if there is none. */
unsigned api_port(const struct api *api);
/* Age in ms of the oldest sign of life of the API's own threads, for the watchdog. Any thread. */
int64_t api_silence_ms(const struct api *api);

#endif
