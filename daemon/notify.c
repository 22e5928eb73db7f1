/* See notify.h. */
#include "daemon/notify.h"

#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "store/run_row.h"

#define LOG_MODULE    "notify"
#define PERIOD_US     5000000ull
#define SILENCE_MS    10000
#define STOP_EXTRA_US 30000000ull /* beyond the grace time, for what follows it */

/* Reads one row; that there may be none is an answer too. A read that never returns is told by the
 * watchdog's silence. */
static bool store_answers(const struct daemon *daemon)
{
    struct run_row row = {0};
    enum ij_status status = run_row_get(daemon->store, 1, &row, NULL);
    run_row_done(&row);
    return status == IJ_OK || status == IJ_NOT_FOUND;
}

static void report(struct notify *notify)
{
    char summary[96];
    daemon_summary(notify->daemon, summary, sizeof(summary));
    (void)sd_notifyf(0, "STATUS=%s", summary);
    if (notify->silence_ms && notify->silence_ms(notify->user) > SILENCE_MS)
        log_err("the API's threads are silent; the watchdog is not fed");
    else if (!store_answers(notify->daemon))
        log_err("the store does not answer; the watchdog is not fed");
    else
        (void)sd_notify(0, "WATCHDOG=1");
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
    struct notify *notify = user;
    report(notify);
    (void)sd_event_source_set_time(source, usec + notify->period_us);
    return 0;
}

enum ij_status notify_start(struct notify *notify, struct ij_err *reterr_err)
{
    uint64_t watchdog_us = 0, now_us = 0;
    notify->period_us = PERIOD_US;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0 && watchdog_us / 3 < notify->period_us)
        notify->period_us = watchdog_us / 3;
    (void)sd_event_now(notify->daemon->event, CLOCK_MONOTONIC, &now_us);
    int r = sd_event_add_time(notify->daemon->event, &notify->timer, CLOCK_MONOTONIC,
                              now_us + notify->period_us, 0, on_timer, notify);
    if (r >= 0)
        r = sd_event_source_set_enabled(notify->timer, SD_EVENT_ON);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot set the watchdog's timer");
    (void)sd_notify(0, "READY=1");
    report(notify);
    return IJ_OK;
}

void notify_stopping(struct notify *notify)
{
    uint64_t extra_us = notify->daemon->config.stop_grace_s * 1000000ull + STOP_EXTRA_US;
    (void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu", (unsigned long long)extra_us);
    report(notify);
}

void notify_done(struct notify *notify)
{
    notify->timer = sd_event_source_disable_unref(notify->timer);
}
