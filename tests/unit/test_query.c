/* Query strings: decoding, unknown names, values at their limits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api/query.h"
#include "base/mem.h"

static const struct query_spec specs[] = {
    {"limit", QUERY_INTEGER, 1, 500, ""},
    {"name", QUERY_TEXT, 0, 8, ""},
    {"count", QUERY_FLAG, 0, 0, ""},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};

Test(query, decodes)
{
    struct query query;
    cr_assert_eq(query_parse("a=b%2Fc&d=x+y&e&&f=%C3%A4&g=a=b", &query, NULL), IJ_OK);
    cr_expect_str_eq(query_get(&query, "a"), "b/c");
    cr_expect_str_eq(query_get(&query, "d"), "x y");
    cr_expect_str_eq(query_get(&query, "e"), "");
    cr_expect_str_eq(query_get(&query, "f"), "\xc3\xa4");
    cr_expect_str_eq(query_get(&query, "g"), "a=b");
    cr_expect_null(query_get(&query, "h"));
    cr_expect_eq(query.count, 5);
    query_done(&query);
    cr_assert_eq(query_parse(NULL, &query, NULL), IJ_OK);
    cr_expect_eq(query.count, 0);
    query_done(&query);
}

Test(query, refuses_what_is_not_text)
{
    static const char *const bad[] = {"a=%",   "a=%4",        "a=%zz",   "a=%00", "a=%ff", "%=1",
                                      "a=%c3", "a=%ed%a0%80", "a=1&a=2", "a&a=1", "a=%-1"};
    struct query query;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(query_parse(bad[i], &query, NULL), IJ_MALFORMED, "%s", bad[i]);
}

Test(query, number_of_parameters_at_the_limit)
{
    char text[512];
    struct query query;
    size_t size = 0;
    for (int i = 0; i < QUERY_PAIRS_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "p%d=1&", i);
    cr_assert_eq(query_parse(text, &query, NULL), IJ_OK);
    cr_expect_eq(query.count, QUERY_PAIRS_MAX);
    query_done(&query);
    (void)snprintf(text + size, sizeof text - size, "last=1");
    cr_expect_eq(query_parse(text, &query, NULL), IJ_MALFORMED);
}

static enum ij_status check(const char *text, struct ij_err *err)
{
    struct query query;
    cr_assert_eq(query_parse(text, &query, err), IJ_OK, "%s", text);
    enum ij_status status = query_check(&query, specs, err);
    query_done(&query);
    return status;
}

Test(query, checks_against_the_list)
{
    static const char *const good[] = {"",      "limit=1", "limit=500", "name=12345678", "name=",
                                       "count", "count=1", "count=0",   "count=true"};
    static const char *const bad[] = {"limit=0",
                                      "limit=501",
                                      "limit=",
                                      "limit=-1",
                                      "limit=1.0",
                                      "limit=0x1",
                                      "limit=99999999999999999999",
                                      "name=123456789",
                                      "count=2",
                                      "count=yes",
                                      "other=1"};
    struct ij_err err = IJ_ERR_INIT;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_expect_eq(check(good[i], &err), IJ_OK, "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(check(bad[i], &err), IJ_INVALID, "%s", bad[i]);
    cr_expect_eq(check("limmit=3", &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "limmit");
    cr_expect(strstr(err.text, "did you mean \"limit\"?"), "%s", err.text);
}

Test(query, a_route_without_a_list_takes_nothing)
{
    struct query query;
    cr_assert_eq(query_parse("x=1", &query, NULL), IJ_OK);
    cr_expect_eq(query_check(&query, NULL, NULL), IJ_INVALID);
    query_done(&query);
}

Test(query, values)
{
    struct query query;
    cr_assert_eq(query_parse("limit=7&count&off=0&no=false", &query, NULL), IJ_OK);
    cr_expect_eq(query_integer(&query, "limit", 50), 7);
    cr_expect_eq(query_integer(&query, "absent", 50), 50);
    cr_expect(query_flag(&query, "count"));
    cr_expect_not(query_flag(&query, "off"));
    cr_expect_not(query_flag(&query, "no"));
    cr_expect_not(query_flag(&query, "absent"));
    query_done(&query);
}
