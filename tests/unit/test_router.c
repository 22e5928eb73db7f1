/* The router: patterns, arguments, methods; and what must hold for the real table. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/routes.h"
#include "base/mem.h"

static enum ij_status nothing(struct request *request, struct reply *reply,
                              struct ij_err *reterr_err)
{
    (void)request, (void)reply, (void)reterr_err;
    return IJ_OK;
}

static const struct route table[] = {
    {.method = "GET", .pattern = "/", .handler = nothing},
    {.method = "GET", .pattern = "/a", .handler = nothing},
    {.method = "POST", .pattern = "/a", .handler = nothing},
    {.method = "GET", .pattern = "/a/{x}", .handler = nothing},
    {.method = "GET", .pattern = "/a/{x}/b/{y}", .handler = nothing},
    {.method = "DELETE", .pattern = "/a/{x}", .handler = nothing},
};

static enum router_result find(const char *method, const char *path, struct router_match *match)
{
    return router_find(table, COUNT_OF(table), method, path, match);
}

Test(router, finds_and_fills_arguments)
{
    struct router_match match;
    cr_assert_eq(find("GET", "/", &match), ROUTER_FOUND);
    cr_expect_eq(match.route, &table[0]);
    cr_assert_eq(find("GET", "/a?x=1", &match), ROUTER_FOUND);
    cr_expect_eq(match.route, &table[1]);
    cr_assert_eq(find("GET", "/a/r42/b/c-1.x_Y?q", &match), ROUTER_FOUND);
    cr_expect_str_eq(match.args[0], "r42");
    cr_expect_str_eq(match.args[1], "c-1.x_Y");
    cr_assert_eq(find("HEAD", "/a/r42", &match), ROUTER_FOUND);
    cr_expect_eq(match.route, &table[3]);
    cr_assert_eq(find("DELETE", "/a/r42", &match), ROUTER_FOUND);
    cr_expect_eq(match.route, &table[5]);
}

Test(router, refuses_everything_else)
{
    static const char *const paths[] = {"",    "a",         "/b",      "/a/",        "/a/x/",
                                        "/A",  "/a/x/b",    "/a/x/b/", "/a/x y",     "/a/x%41",
                                        "/aa", "/a/x/b/y/", "/a//b/y", "/a/\xc3\xa4"};
    struct router_match match;
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        cr_expect_eq(find("GET", paths[i], &match), ROUTER_NO_PATH, "%s", paths[i]);
}

Test(router, a_name_of_its_own_is_no_argument)
{
    static const struct route own[] = {
        {.method = "POST", .pattern = "/a/bulk", .handler = nothing},
        {.method = "GET", .pattern = "/a/{x}", .handler = nothing},
        {.method = "POST", .pattern = "/a/{x}/go", .handler = nothing},
    };
    struct router_match match;
    char allow[64];
    cr_assert_eq(router_find(own, COUNT_OF(own), "POST", "/a/bulk", &match), ROUTER_FOUND);
    cr_assert_eq(router_find(own, COUNT_OF(own), "GET", "/a/bulk?x", &match), ROUTER_NO_METHOD);
    cr_assert_eq(router_find(own, COUNT_OF(own), "GET", "/a/bulks", &match), ROUTER_FOUND);
    cr_assert_eq(router_find(own, COUNT_OF(own), "POST", "/a/bulk/go", &match), ROUTER_FOUND);
    router_allow(own, COUNT_OF(own), "/a/bulk", allow, sizeof allow);
    cr_assert_str_eq(allow, "POST");
}

Test(router, an_argument_at_its_limit)
{
    char path[ROUTER_ARG_MAX + 8] = "/a/";
    struct router_match match;
    memset(path + 3, 'x', ROUTER_ARG_MAX);
    path[3 + ROUTER_ARG_MAX] = '\0';
    cr_expect_eq(find("GET", path, &match), ROUTER_FOUND);
    strcpy(path + 3 + ROUTER_ARG_MAX, "x");
    cr_expect_eq(find("GET", path, &match), ROUTER_NO_PATH);
}

Test(router, a_wrong_method_is_told_from_a_wrong_path)
{
    static const char *const methods[] = {"PUT", "get", "OPTIONS", "TRACE", "", "GETX"};
    struct router_match match;
    char allow[64];
    for (size_t i = 0; i < COUNT_OF(methods); i++)
        cr_expect_eq(find(methods[i], "/a", &match), ROUTER_NO_METHOD, "%s", methods[i]);
    router_allow(table, COUNT_OF(table), "/a?x", allow, sizeof allow);
    cr_expect_str_eq(allow, "GET, HEAD, POST");
    router_allow(table, COUNT_OF(table), "/nowhere", allow, sizeof allow);
    cr_expect_str_eq(allow, "");
}

/* Every row must be reachable: no earlier row of the same method may take its path. */
Test(router, the_table_has_no_hidden_row)
{
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes_table[i];
        char path[128];
        size_t size = 0;
        for (const char *c = route->pattern; *c; c++) {
            if (*c == '{') {
                path[size++] = 'q';
                c = strchr(c, '}');
            } else {
                path[size++] = *c;
            }
        }
        path[size] = '\0';
        struct router_match match;
        cr_assert_eq(router_find(routes_table, routes_count, route->method, path, &match),
                     ROUTER_FOUND, "%s", path);
        cr_expect_eq(match.route, route, "%s %s is hidden by %s", route->method, route->pattern,
                     match.route->pattern);
        cr_expect_eq(routes_index(route), i);
    }
}

/* Whatever changes something needs more than the right to read; what is open only reads. */
Test(router, roles_fit_the_methods)
{
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes_table[i];
        bool reads = strcmp(route->method, "GET") == 0;
        bool own_affair = strcmp(route->pattern, "/v1/session") == 0 ||
                          strcmp(route->pattern, "/v1/preview/masks") == 0;
        if (route->role == ROUTER_OPEN)
            cr_expect(reads, "%s %s", route->method, route->pattern);
        if (!reads && !own_affair)
            cr_expect_geq(route->role, ROUTER_SUBMITTER, "%s", route->pattern);
        cr_expect(route->handler && route->summary && route->tag && route->success);
    }
    cr_expect_str_eq(router_role_name(ROUTER_OPEN), "none");
    cr_expect_str_eq(router_role_name(ROUTER_ADMIN), "admin");
}
