/* What a submitted run will take, for whoever asks before it is submitted. Part of submit. */
#ifndef DAEMON_SUBMIT_PLAN_H
#define DAEMON_SUBMIT_PLAN_H

#include "daemon/submit.h"

/* {"parameters_encoder", "bytes_total", "steps", ...}, or JSON null: the model is not known yet.
 * Without the dataset's index its size is unknown: memory and work do not depend on it, and steps
 * are left out unless the parameters fix them. Takes some 20 ms: not for the loop. The caller's;
 * NULL: no memory. */
json_t *submit_plan(const struct submit_lookup *lookup, const struct submit_result *result);

#endif
