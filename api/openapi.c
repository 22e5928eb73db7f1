/* See openapi.h. */
#include "api/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/query.h"
#include "api/routes.h"
#include "api/schemas.h"
#include "base/build.h"

static json_t *schema_reference(const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", name));
}

static json_t *query_schema(const struct query_spec *spec)
{
    switch (spec->type) {
    case QUERY_INTEGER:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)spec->min,
                         "maximum", (json_int_t)spec->max);
    case QUERY_FLAG:
        return json_pack("{s:s, s:[s, s, s, s, s]}", "type", "string", "enum", "1", "0", "true",
                         "false", "");
    case QUERY_TEXT:
        break;
    }
    return json_pack("{s:s, s:I}", "type", "string", "maxLength", (json_int_t)spec->max);
}

/* "{id}" of the pattern, then the query. */
static json_t *parameters_of(const struct route *route)
{
    json_t *list = json_array();
    for (const char *open = strchr(route->pattern, '{'); open; open = strchr(open + 1, '{'))
        (void)json_array_append_new(list,
                                    json_pack("{s:o, s:s, s:b, s:{s:s}}", "name",
                                              json_stringn(open + 1, strcspn(open + 1, "}")), "in",
                                              "path", "required", 1, "schema", "type", "string"));
    for (const struct query_spec *spec = route->query; spec && spec->name; spec++)
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "name", spec->name,
                                                    "in", "query", "description", spec->help,
                                                    "schema", query_schema(spec)));
    return list;
}

static json_t *content_of(const char *media, json_t *schema)
{
    json_t *content = json_object();
    (void)json_object_set_new(content, media, json_pack("{s:o}", "schema", schema));
    return content;
}

/* Each of the route's media types, parted by commas: JSON has the schema, others are text. */
static json_t *answer_of(const struct route *route)
{
    json_t *content = json_object();
    const char *media = route->media ? route->media : "application/json";
    for (const char *at = media; *at; at += strspn(at, ", ")) {
        size_t size = strcspn(at, ",");
        bool typed = route->response_schema && strncmp(at, "application/json", size) == 0;
        json_t *schema =
            typed ? schema_reference(route->response_schema) : json_pack("{s:s}", "type", "string");
        (void)json_object_setn_new(content, at, size, json_pack("{s:o}", "schema", schema));
        at += size;
    }
    return content;
}

static void add_response(json_t *responses, const char *status, const char *description,
                         json_t *content)
{
    json_t *response = json_pack("{s:s}", "description", description);
    if (content)
        (void)json_object_set_new(response, "content", content);
    (void)json_object_set_new(responses, status, response);
}

static bool has_query(const struct route *route, const char *name)
{
    for (const struct query_spec *spec = route->query; spec && spec->name; spec++)
        if (strcmp(spec->name, name) == 0)
            return true;
    return false;
}

static json_t *responses_of(const struct route *route)
{
    char success[8];
    json_t *responses = json_object();
    (void)snprintf(success, sizeof success, "%u", route->success);
    add_response(responses, success, route->summary, answer_of(route));
    if (route->handler == serve_command_verb || route->handler == serve_command_backup)
        add_response(responses, "202", "Begun; it is not done yet", answer_of(route));
    if (route->success == 201 && has_query(route, "dry_run"))
        add_response(responses, "200", "dry_run=1: nothing was changed",
                     content_of("application/json", schema_reference("DryRun")));
    if (route->media && strcmp(route->media, "*/*") == 0)
        add_response(responses, "206", "The part that Range asks for", answer_of(route));
    if (strcmp(route->method, "GET") == 0)
        add_response(responses, "304", "The client has it, as its If-None-Match says", NULL);
    add_response(responses, "default", "Any failure",
                 content_of("application/problem+json", schema_reference("Problem")));
    return responses;
}

/* "post_v1_runs_id_pause": unique, as method and pattern are. */
static json_t *operation_id(const struct route *route)
{
    char text[128];
    size_t size = (size_t)snprintf(text, sizeof text, "%s%s", route->method, route->pattern);
    size_t kept = 0;
    for (size_t i = 0; i < size && i < sizeof text - 1; i++) {
        if (isalnum((unsigned char)text[i]))
            text[kept++] = (char)tolower((unsigned char)text[i]);
        else if (kept && text[kept - 1] != '_')
            text[kept++] = '_';
    }
    while (kept && text[kept - 1] == '_')
        kept--;
    return json_stringn(text, kept);
}

static json_t *operation_of(const struct route *route)
{
    json_t *operation =
        json_pack("{s:o, s:s, s:[s], s:o, s:o, s:s}", "operationId", operation_id(route), "summary",
                  route->summary, "tags", route->tag, "parameters", parameters_of(route),
                  "responses", responses_of(route), "x-role", router_role_name(route->role));
    if (route->role == ROUTER_OPEN)
        (void)json_object_set_new(operation, "security", json_array());
    if (route->request_schema)
        (void)json_object_set_new(
            operation, "requestBody",
            json_pack("{s:o}", "content",
                      content_of("application/json", schema_reference(route->request_schema))));
    return operation;
}

static json_t *all_paths(void)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes_table[i];
        char method[16];
        size_t size = strlen(route->method);
        for (size_t c = 0; c <= size; c++)
            method[c] = (char)tolower((unsigned char)route->method[c]);
        json_t *path = json_object_get(paths, route->pattern);
        if (!path) {
            path = json_object();
            (void)json_object_set_new(paths, route->pattern, path);
        }
        (void)json_object_set_new(path, method, operation_of(route));
    }
    return paths;
}

json_t *openapi_document(void)
{
    json_t *schemes =
        json_pack("{s:{s:s, s:s}, s:{s:s, s:s, s:s}}", "token", "type", "http", "scheme", "bearer",
                  "session", "type", "apiKey", "in", "cookie", "name", "ijepad_session");
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:o}, s:[{s:[]}, {s:[]}]}", "openapi",
                     "3.1.0", "info", "title", "ijepad", "version", "1", "x-build", build_id(),
                     "paths", all_paths(), "components", "schemas", schemas_all(),
                     "securitySchemes", schemes, "security", "token", "session");
}
