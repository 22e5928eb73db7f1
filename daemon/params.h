/*
 * Run parameters: one table (params_table.c) holds every parameter's name, type, range, default,
 * unit and help. Validation, the JSON schema, the documentation, the dashboard's form and what the
 * worker reads all come from it. Pure; any thread.
 */
#ifndef DAEMON_PARAMS_H
#define DAEMON_PARAMS_H

#include <jansson.h>

#include "base/status.h"
#include "gpu/engine.h"

const char *params_kind_name(enum engine_kind kind);
bool params_kind_from_name(const char *name, enum engine_kind *ret_kind);
/* "pretrain, linear_probe, ..." */
void params_kind_list(char *ret_text, size_t size);

/*
 * Fills *ret_spec from a JSON object of parameters: defaults of the kind, then of the preset it
 * names, then its own values. Unknown keys, wrong types and values out of range are errors; when
 * `errors` (a JSON array, may be NULL) is given, one {"pointer","detail"} is appended for each, the
 * pointer below `prefix` ("/params"). Ends with engine_check. *reterr_err holds the first error.
 */
IJ_MUST_USE enum ij_status params_from_json(enum engine_kind kind, const json_t *object,
                                            const char *prefix, struct engine_spec *ret_spec,
                                            json_t *errors, struct ij_err *reterr_err);

/* Every parameter of the kind with its value, as params_from_json reads it back. New reference. */
json_t *params_to_json(enum engine_kind kind, const struct engine_spec *spec);

/* JSON schema (2020-12) of one kind's "params" object, with default, unit and help. New reference.
 */
json_t *params_schema(enum engine_kind kind);
/* [{"name","kind","source","help","params":{...}}]. New reference. */
json_t *params_presets(void);
/* The reference page docs/parameters.md, generated. Caller frees with mem_free; NULL: no memory. */
char *params_markdown(void);

#endif
