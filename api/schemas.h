/* The forms of requests and answers, for the OpenAPI document: one JSON schema per name. */
#ifndef API_SCHEMAS_H
#define API_SCHEMAS_H

#include <jansson.h>

/* {"Run": {...}, ...}: components/schemas. New reference; NULL: no memory. */
json_t *schemas_all(void);

#endif
