/*
 * Rows as the API shows them: ids as "r42" and "c7", times in RFC 3339, unknown figures as null.
 * Pure; any thread. Every function returns a new reference, NULL for lack of memory.
 */
#ifndef API_SHOW_H
#define API_SHOW_H

#include <jansson.h>
#include <stdint.h>

#include "store/attempt_row.h"
#include "store/checkpoint_row.h"
#include "store/event_row.h"
#include "store/metric_query.h"
#include "store/result_row.h"
#include "store/run_row.h"
#include "store/token_row.h"

json_t *show_id(char prefix, int64_t id); /* null for 0 */
json_t *show_time(int64_t wall_ms);       /* null for 0 */
json_t *show_number(double value);        /* null unless finite */
json_t *show_text(const char *text);      /* null for NULL or "" */
/* Stored JSON text; null where it cannot be read. */
json_t *show_stored(const char *text);

json_t *show_run(const struct run_row *row);
/* {"submitted": params, "resolved": params, "build"} */
json_t *show_config(const struct run_row *row, const struct run_row *parent); /* NULL: none */
json_t *show_attempt(const struct attempt_row *row);
json_t *show_event(const struct event_row *row);
json_t *show_result(const struct result_row *row);
/* Why a checkpoint stays, from RETENTION_POLICY_* bits. */
json_t *show_kept_for(unsigned reasons);
json_t *show_checkpoint(const struct checkpoint_row *row);
json_t *show_catalogue_entry(const struct metric_catalogue_entry *entry);
json_t *show_token(const struct token_row *row);

/* "r42.17" in quotes, at most 48 bytes with NUL. */
void show_etag(const struct run_row *row, char ret_text[48]);

#endif
