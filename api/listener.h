/*
 * Listening sockets and the Host values they answer to.
 *
 * Made from "ADDRESS:PORT" (numeric addresses and "localhost" only: no name is looked up), from a
 * path, or from a descriptor that systemd passed on. Addresses beyond loopback need
 * `allow_remote`.
 */
#ifndef API_LISTENER_H
#define API_LISTENER_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/http_check.h"
#include "base/status.h"

#define LISTENER_HOSTS_MAX 40

struct api;

struct listener {
    struct api *api; /* borrowed */
    struct MHD_Daemon *daemon;
    int fd; /* owned until handed to the daemon */
    bool is_unix;
    unsigned port;     /* TCP */
    char *unlink_path; /* Unix socket that this program made */
    char *hosts[LISTENER_HOSTS_MAX];
    struct http_check_policy policy;
    _Atomic int64_t busy_since_ms; /* monotonic: its thread is in a handler; 0: it is not */
};

/* *ret_listener is filled on success; listener_done releases it. */
IJ_MUST_USE enum ij_status listener_tcp(const char *address, bool allow_remote,
                                        struct listener *ret_listener, struct ij_err *reterr_err);
/* Replaces a dead socket file; a live one (somebody answers) is IJ_BUSY. */
IJ_MUST_USE enum ij_status listener_unix(const char *path, const char *group,
                                         struct listener *ret_listener, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status listener_inherit(int fd, struct listener *ret_listener,
                                            struct ij_err *reterr_err);
void listener_done(struct listener *listener);

/* Host values: localhost and loopback addresses with the port, then `names` (with the listener's
 * port, without a port, or exactly as written where they have one). */
IJ_MUST_USE enum ij_status listener_set_hosts(struct listener *listener, const char *const *names,
                                              size_t count, struct ij_err *reterr_err);

#endif
