/* The rarer messages of a worker, each with a row and an event of its own. Loop thread. The
 * messages come from another process and are checked field by field: IJ_MALFORMED. *ret_cause is
 * set to RUN_MACHINE_STORAGE before the store is used. */
#ifndef DAEMON_RECORD_EVENT_H
#define DAEMON_RECORD_EVENT_H

#include "daemon/run.h"

/* starting -> running. */
IJ_MUST_USE enum ij_status record_event_hello(struct run *run, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status record_event_checkpoint(struct run *run, const json_t *message,
                                                   enum run_machine_cause *ret_cause,
                                                   struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status record_event_result(struct run *run, const json_t *message,
                                               enum run_machine_cause *ret_cause,
                                               struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status record_event_warning(struct run *run, const json_t *message,
                                                enum run_machine_cause *ret_cause,
                                                struct ij_err *reterr_err);
/* Its loss broke, and its next start goes back: the event, and what its end then means. */
IJ_MUST_USE enum ij_status record_event_rewind(struct run *run, const json_t *message,
                                               enum run_machine_cause *ret_cause,
                                               struct ij_err *reterr_err);
/* Writes the row's health and the event about its change; takes over `body`, NULL is no memory. */
IJ_MUST_USE enum ij_status record_event_health(struct run *run, json_t *body,
                                               struct ij_err *reterr_err);
void record_event_finished(struct run *run, const json_t *message);

#endif
