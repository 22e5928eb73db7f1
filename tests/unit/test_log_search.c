/* Which lines a search gives, and where it goes on. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/log_search.h"

/* What is found in `text`, NUL-terminated, and how far it went. */
static size_t find(const char *text, bool ended, const char *wanted, size_t max, char ret[256])
{
    struct buf lines;
    buf_init(&lines, 256);
    size_t done = log_search(text, strlen(text), ended, wanted, max, &lines);
    cr_assert_lt(lines.size, 256);
    memcpy(ret, lines.data ? lines.data : "", lines.size);
    ret[lines.size] = '\0';
    buf_done(&lines);
    return done;
}

Test(log_search, whole_lines_whatever_the_case)
{
    char got[256];
    cr_assert_eq(find("one\nTwo\nthree two\n", true, "two", 200, got), 18);
    cr_assert_str_eq(got, "Two\nthree two\n");
    cr_assert_eq(find("one\n", true, "ONE", 200, got), 4);
    cr_assert_str_eq(got, "one\n");
    cr_assert_eq(find("one\n", true, "ones", 200, got), 4);
    cr_assert_str_eq(got, "");
    cr_assert_eq(find("", true, "x", 200, got), 0);
}

Test(log_search, a_line_without_an_end_waits_for_it)
{
    char got[256];
    cr_assert_eq(find("a\nab", false, "a", 200, got), 2);
    cr_assert_str_eq(got, "a\n");
    cr_assert_eq(find("a\nab", true, "a", 200, got), 4);
    cr_assert_str_eq(got, "a\nab");
}

Test(log_search, what_is_too_much_is_left_for_the_next_time)
{
    char got[256];
    cr_assert_eq(find("a1\nb\na2\na3\n", true, "a", 6, got), 8);
    cr_assert_str_eq(got, "a1\na2\n");
    cr_assert_eq(find("aaaaaaaaaa\n", true, "a", 4, got), 11);
    cr_assert_str_eq(got, "aaaa", "one line longer than all is cut, not waited for");
}
