/* See router.h. */
#include "api/router.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool segment_is_name(const char *segment, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)segment[i]) && !strchr("._-", segment[i]))
            return false;
    return size > 0 && size <= ROUTER_ARG_MAX;
}

/* Compares segment by segment; fills the match's arguments as it goes. */
static bool pattern_matches(const char *pattern, const char *path, struct router_match *match)
{
    size_t arg = 0;
    while (*pattern == '/' && *path == '/') {
        pattern++, path++;
        size_t pattern_size = strcspn(pattern, "/"), path_size = strcspn(path, "/?");
        if (*pattern == '{') {
            if (arg == ROUTER_ARGS_MAX || !segment_is_name(path, path_size))
                return false;
            memcpy(match->args[arg], path, path_size);
            match->args[arg++][path_size] = '\0';
        } else if (pattern_size != path_size || memcmp(pattern, path, path_size) != 0) {
            return false;
        }
        pattern += pattern_size, path += path_size;
    }
    return *pattern == '\0' && (*path == '\0' || *path == '?');
}

static bool method_matches(const struct route *route, const char *method)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    return strcmp(route->method, method) == 0;
}

/* A path that a pattern without arguments names is that route's alone: "bulk" is no id. */
static bool is_shadowed(const struct route *routes, size_t count, const char *pattern,
                        const char *path)
{
    if (!strchr(pattern, '{'))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct router_match match;
        if (!strchr(routes[i].pattern, '{') && pattern_matches(routes[i].pattern, path, &match))
            return true;
    }
    return false;
}

enum router_result router_find(const struct route *routes, size_t count, const char *method,
                               const char *path, struct router_match *ret_match)
{
    bool path_found = false;
    for (size_t i = 0; i < count; i++) {
        struct router_match match = {.route = &routes[i]};
        if (!pattern_matches(routes[i].pattern, path, &match) ||
            is_shadowed(routes, count, routes[i].pattern, path))
            continue;
        path_found = true;
        if (method_matches(&routes[i], method)) {
            *ret_match = match;
            return ROUTER_FOUND;
        }
    }
    return path_found ? ROUTER_NO_METHOD : ROUTER_NO_PATH;
}

void router_allow(const struct route *routes, size_t count, const char *path, char *ret_text,
                  size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++) {
        struct router_match match;
        if (!pattern_matches(routes[i].pattern, path, &match) ||
            is_shadowed(routes, count, routes[i].pattern, path))
            continue;
        const char *head = strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "";
        used += (size_t)snprintf(ret_text + used, size - used, "%s%s%s", used ? ", " : "",
                                 routes[i].method, head);
    }
}

const char *router_role_name(enum router_role role)
{
    if (role == ROUTER_OPEN)
        return "none";
    return token_row_role_name((enum token_row_role)(role - 1));
}
