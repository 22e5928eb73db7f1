/*
 * What listeners of the event bus hear of a run while it goes on: the newest frame of each metric
 * stream and the newest progress, at most once in LIVE_FEED_MS each. What comes in between is in
 * the store, not on the bus; the last of a burst is told late rather than never. Loop thread.
 */
#ifndef DAEMON_LIVE_FEED_H
#define DAEMON_LIVE_FEED_H

#include "daemon/run.h"

#define LIVE_FEED_MS 180 /* lets through what comes five times a second */

/* The stream's `last` and `step` are new. */
void live_feed_metrics(struct run *run, struct run_stream *stream);
/* Takes a reference of `message`. */
void live_feed_progress(struct run *run, json_t *message);
/* Tells what has waited long enough, of every run. */
void live_feed_flush(struct daemon *daemon);
/* Tells what waits of a run whose worker has ended. */
void live_feed_end(struct run *run);

#endif
