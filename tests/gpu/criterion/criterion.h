/*
 * The part of Criterion's interface that tests/ops uses, for a machine that has no Criterion.
 *
 * Found before the real header where tests/gpu is on the include path: the operation suite becomes
 * one program with its own small runner (suite_main.c), which needs nothing but libc. A failed
 * assertion ends the test, not the program.
 */
#ifndef TESTS_GPU_CRITERION_H
#define TESTS_GPU_CRITERION_H

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

struct suite_test {
    const char *suite, *name;
    void (*run)(void);
    struct suite_test *next;
};

/* What surrounds each test of a suite; the seconds replace the runner's own limit. */
struct suite_fixture {
    void (*init)(void), (*fini)(void);
    unsigned timeout;
    const char *suite;
    struct suite_fixture *next;
};

void suite_add(struct suite_test *test);
void suite_surround(struct suite_fixture *fixture);
/* Both leave the test. The message is what the printf-like arguments give; "" for none. */
void suite_fail(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));
void suite_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#define Test(suite_, name_, ...)                                                                   \
    static void suite_##suite_##_##name_(void);                                                    \
    __attribute__((constructor)) static void suite_add_##suite_##_##name_(void)                    \
    {                                                                                              \
        static struct suite_test test = {#suite_, #name_, suite_##suite_##_##name_, NULL};         \
        suite_add(&test);                                                                          \
    }                                                                                              \
    static void suite_##suite_##_##name_(void)

#define TestSuite(suite_, ...)                                                                     \
    static struct suite_fixture suite_fixture_##suite_ = {__VA_ARGS__};                            \
    __attribute__((constructor)) static void suite_surround_##suite_(void)                         \
    {                                                                                              \
        suite_fixture_##suite_.suite = #suite_;                                                    \
        suite_surround(&suite_fixture_##suite_);                                                   \
    }                                                                                              \
    extern void suite_surround(struct suite_fixture *fixture)

#define suite_check(condition, what, ...)                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            suite_fail(__FILE__, __LINE__, what, " " __VA_ARGS__);                                 \
    } while (0)

#define cr_assert(x, ...)           suite_check(x, #x, __VA_ARGS__)
#define cr_assert_not(x, ...)       suite_check(!(x), "not " #x, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     suite_check((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     suite_check((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    suite_check((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)     suite_check((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    suite_check((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_null(x, ...)      suite_check((x) == NULL, #x " is NULL", __VA_ARGS__)
#define cr_assert_not_null(x, ...)  suite_check((x) != NULL, #x " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) suite_check(strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, bytes, ...)                                                         \
    suite_check(memcmp(a, b, bytes) == 0, #a " equals " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, within, ...)                                                      \
    suite_check(fabs((double)(a) - (double)(b)) <= (within), #a " near " #b, __VA_ARGS__)
#define cr_skip_test(...) suite_skip(" " __VA_ARGS__)

#endif
