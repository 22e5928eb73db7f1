/* What a submission's check asks about rows, answered from a store. */
#ifndef DAEMON_SUBMIT_STORE_H
#define DAEMON_SUBMIT_STORE_H

#include "daemon/submit.h"

struct store;

/* Borrows all; for the store's thread. `devices` and `data_roots` may be NULL. */
struct submit_lookup submit_store_lookup(struct store *store, struct device_table *devices,
                                         const char *data_roots);

#endif
