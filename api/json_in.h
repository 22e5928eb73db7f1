/*
 * Strict JSON from strangers: bounded in size, depth and string length before the parser sees it.
 *
 * Errors name line and column. Duplicate keys, NUL characters, bytes that are not UTF-8 and
 * anything after the value are refused. Pure; any thread.
 */
#ifndef API_JSON_IN_H
#define API_JSON_IN_H

#include <jansson.h>
#include <stddef.h>

#include "api/problem.h"
#include "base/status.h"

#define JSON_IN_DEPTH_MAX  32
#define JSON_IN_STRING_MAX ((size_t)64 * 1024) /* bytes between the quotes, as sent */

/* Any array or object. New reference in *ret_value. */
IJ_MUST_USE enum ij_status json_in_parse(const char *text, size_t size, json_t **ret_value,
                                         struct ij_err *reterr_err);
/* The same, and the top level must be an object. */
IJ_MUST_USE enum ij_status json_in_object(const char *text, size_t size, json_t **ret_object,
                                          struct ij_err *reterr_err);

/*
 * Every key of `object` must be one of `names`; each other one becomes an entry of the problem,
 * with the nearest known name. Returns IJ_INVALID if there was any.
 */
IJ_MUST_USE enum ij_status json_in_known_keys(const json_t *object, const char *const *names,
                                              size_t count, struct problem *problem,
                                              struct ij_err *reterr_err);

/* Optional members: absent or null leaves *value as it is; a wrong type or range is IJ_INVALID. */
IJ_MUST_USE enum ij_status json_in_text(const json_t *object, const char *key, size_t bytes_max,
                                        const char **value, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status json_in_integer(const json_t *object, const char *key, json_int_t min,
                                           json_int_t max, json_int_t *value,
                                           struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status json_in_bool(const json_t *object, const char *key, bool *value,
                                        struct ij_err *reterr_err);

#endif
