/* May an address be a webhook's target? Pure; any thread. Names are looked up by the sender, which
 * checks what they stand for once more. */
#ifndef DAEMON_WEBHOOK_URL_H
#define DAEMON_WEBHOOK_URL_H

#include "base/status.h"

#define WEBHOOK_URL_MAX 2048

/* IJ_INVALID with field "/url": not http or https, no plain host, a user or fragment in it, or
 * (unless `allow_local`) a host that is this machine or its link. */
IJ_MUST_USE enum ij_status webhook_url_check(const char *url, bool allow_local,
                                             struct ij_err *reterr_err);

#endif
