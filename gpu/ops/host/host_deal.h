/*
 * Units of work dealt out to threads that are not equally fast.
 *
 * Every thread begins with its own contiguous part, in pieces that shrink towards the end, and
 * helps the others with theirs once it is done. For work whose values do not depend on who does it.
 */
#ifndef GPU_OPS_HOST_DEAL_H
#define GPU_OPS_HOST_DEAL_H

#include "gpu/ops/host/host_backend.h"

/* Deals [0, count) out to the backend's threads in one of two sets: by one thread, while no other
 * takes from that set. */
void host_deal_out(struct host_backend *host, int set, int64_t count);

/* The calling thread's next units: at most `most`, and but at a part's end no less than `least`
 * where `most` allows. `helped`: the caller's, 0 at first. False: all units are taken. */
bool host_deal_take(struct host_backend *host, int set, int64_t most, int64_t least, int *helped,
                    struct host_span *ret_span);

#endif
