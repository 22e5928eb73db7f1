/* The health of a run: judged at every check from what the store has, kept with its row, told when
 * it changes. Loop thread. */
#ifndef DAEMON_RUN_HEALTH_H
#define DAEMON_RUN_HEALTH_H

#include "daemon/run.h"

/*
 * After a frame of stream "ssl" at `step` was put: writes the row's health,
 *
 *   {"verdict": "healthy", "rule": "", "text": "", "step": 468, "since_step": 0,
 *    "figures": {"ssl/rankme": 8.1, ...}}
 *
 * and, where the verdict is another than the row had, the event run.health {"verdict", "was",
 * "rule", "text", "step"}. A healthy first verdict is no event.
 */
IJ_MUST_USE enum ij_status run_health_check(struct run *run, uint64_t step,
                                            struct ij_err *reterr_err);

#endif
