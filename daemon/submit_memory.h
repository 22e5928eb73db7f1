/* Does a submitted run fit a GPU of this machine? Part of submit. */
#ifndef DAEMON_SUBMIT_MEMORY_H
#define DAEMON_SUBMIT_MEMORY_H

#include "daemon/submit.h"

struct submit_memory_problem {
    const char *field; /* the engine's member to change; static */
    char text[320];    /* what is needed, what is there, what would fit */
};

/* Gives `spec` the model that its checkpoint has, or will have where a run is named. False: that is
 * not known. */
bool submit_memory_subject(const struct submit_lookup *lookup, struct engine_spec *spec);

/* True: the run fits none of the GPUs that lookup->devices lists. Of any other, gpu_memory_bytes is
 * raised to what it needs, so that it is given to one that it fits. A run whose model is not known
 * is left to its worker. */
bool submit_memory_check(const struct submit_lookup *lookup, struct submit_result *result,
                         struct submit_memory_problem *ret_problem);

#endif
