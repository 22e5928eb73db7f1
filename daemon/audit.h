/* Who asked for what, as audit rows. Loop thread. */
#ifndef DAEMON_AUDIT_H
#define DAEMON_AUDIT_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/control.h"
#include "store/store.h"

/* One row for `request`; `run` 0: about no run. Inside the caller's transaction where there is one.
 */
IJ_MUST_USE enum ij_status audit_request(struct store *store, const struct control_request *request,
                                         int64_t run, struct ij_err *reterr_err);

#endif
