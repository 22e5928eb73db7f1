/* What a submission's check asks about rows, answered from a store. */
#ifndef DAEMON_SUBMIT_STORE_H
#define DAEMON_SUBMIT_STORE_H

#include "daemon/submit.h"

struct store;

/* Borrows both; for the store's thread. `devices` may be NULL. */
struct submit_lookup submit_store_lookup(struct store *store, struct device_table *devices);

#endif
