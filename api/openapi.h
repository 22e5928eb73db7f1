/* The OpenAPI 3.1 document, made from the route table, the schemas and the parameter table. */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include <jansson.h>

/* New reference; NULL: no memory. */
json_t *openapi_document(void);

#endif
