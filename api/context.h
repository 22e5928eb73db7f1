/*
 * What the files of api/ share: the root object behind api.h. Private to this folder.
 *
 * Written by api_new before the first thread starts, then read-only, but for the parts that have
 * their own locks and the atomic counters.
 */
#ifndef API_CONTEXT_H
#define API_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/auth.h"
#include "api/deadline.h"
#include "api/listener.h"
#include "api/readers.h"
#include "api/routes.h"
#include "api/session.h"
#include "api/stream.h"
#include "base/histogram.h"

#define CONTEXT_LISTENERS_MAX 8

/* Durations of one route's answers by class of status: index 2 = 2xx ... 5 = 5xx; others unused. */
struct context_counts {
    struct histogram answers[6];
};

struct api {
    struct api_options options; /* limits with defaults filled in; strings below */
    char *state_dir, *run_dir, *admin_group, *data_roots;
    struct control *control;      /* borrowed */
    struct condition *condition;  /* borrowed */
    struct tally *tally;          /* borrowed */
    struct event_bus *events;     /* borrowed */
    struct device_table *devices; /* borrowed */
    struct auth_policy auth;
    struct readers *readers;
    struct session_table *sessions;
    struct deadline_table *deadlines;
    struct stream_hub *streams;
    struct listener listeners[CONTEXT_LISTENERS_MAX];
    size_t listener_count;
    int64_t started_ms; /* wall clock */

    pthread_t ticker;
    bool ticker_started;
    _Atomic bool stopping;
    _Atomic int64_t ticked_ms; /* monotonic */
    _Atomic uint64_t requests, overdue;
    struct context_counts counts[ROUTES_MAX + 1]; /* by route; the last: no route */
};

#endif
