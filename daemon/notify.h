/* What systemd is told: ready, status, stopping, and the watchdog's sign of life. Loop thread. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/daemon.h"

struct notify {
    struct daemon *daemon; /* borrowed */
    sd_event_source *timer;
    uint64_t period_us;
    /* Age in ms of the oldest sign of life of other threads; NULL: there are none. */
    int64_t (*silence_ms)(const void *user);
    const void *user;
};

/* Says READY=1 and begins to report. `notify->daemon`, `silence_ms` and `user` are set by the
 * caller. The watchdog is fed only while the loop turns, the store answers and
 * the other threads are not silent. */
IJ_MUST_USE enum ij_status notify_start(struct notify *notify, struct ij_err *reterr_err);
void notify_stopping(struct notify *notify);
void notify_done(struct notify *notify);

#endif
