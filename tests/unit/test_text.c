/* Nearest names, checked numbers, names, UTF-8. */
#include <criterion/criterion.h>
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

static const char *const names[] = {"learning_rate", "batch", "epochs", "weight_decay"};

Test(text, a_typo_finds_its_name)
{
    cr_assert_str_eq(text_nearest("lerning_rate", names, 4), "learning_rate");
    cr_assert_str_eq(text_nearest("batchs", names, 4), "batch");
    cr_assert_str_eq(text_nearest("epoch", names, 4), "epochs");
    cr_assert_null(text_nearest("momentum", names, 4));
    cr_assert_null(text_nearest("x", names, 4));
    cr_assert_null(text_nearest("batch", names, 0));
}

Test(text, a_word_too_long_to_compare_has_no_nearest)
{
    char word[400];
    memset(word, 'b', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    cr_assert_null(text_nearest(word, names, 4));
}

Test(text, whole_numbers)
{
    uint64_t value = 7;
    static const char *const bad[] = {"",     " 1",  "1 ",  "-1", "+1",
                                      "0x10", "1.0", "1e3", "a",  "18446744073709551616"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert(!text_to_u64(bad[i], &value), "%s", bad[i]);
    cr_assert_eq(value, 7);
    cr_assert(text_to_u64("0", &value) && value == 0);
    cr_assert(text_to_u64("18446744073709551615", &value) && value == UINT64_MAX);
}

Test(text, real_numbers)
{
    double value = 7;
    static const char *const bad[] = {"", " 1", "1 ", "1,5", "nan", "inf", "1e999", "one"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert(!text_to_double(bad[i], &value), "%s", bad[i]);
    cr_assert_eq(value, 7);
    cr_assert(text_to_double("-2.5e-3", &value) && value == -2.5e-3);
    cr_assert(text_to_double("1.7976931348623157e308", &value) && value == DBL_MAX);
}

Test(text, names_have_1_to_64_safe_characters)
{
    char name[66];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    cr_assert(text_is_name(name));
    name[64] = 'n';
    name[65] = '\0';
    cr_assert(!text_is_name(name));
    cr_assert(text_is_name("a") && text_is_name("vit-s16_x.2") && text_is_name("-"));
    static const char *const bad[] = {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xbc", "a%"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert(!text_is_name(bad[i]), "%s", bad[i]);
}

/* RFC 3629: limits of each length, overlong forms, surrogates, truncation. */
Test(text, utf8)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xff",
                                      "a\xc3",
                                      "\xe2\x82",
                                      "\xe2\x28\xa1"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_assert(text_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert(!text_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
    cr_assert(text_is_utf8("a\0b", 3));
}

Test(text, what_was_cut_within_a_character_becomes_utf8)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"cut \xf0\x9f\x98", "cut ???"},
        {"cut \xc3", "cut ?"},
        {"\xff mid \xc3\xa4", "? mid \xc3\xa4"},
        {"\xc0\xaf", "??"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", pairs[i][0]);
        text_make_utf8(text);
        cr_expect_str_eq(text, pairs[i][1], "%zu", i);
        cr_expect(text_is_utf8(text, strlen(text)));
    }
}

Test(text, below_is_by_whole_names)
{
    cr_expect_str_eq(text_below("/data", "/data/set"), "/set");
    cr_expect_str_eq(text_below("/data//", "/data"), "");
    cr_expect_str_eq(text_below("/", "/data"), "/data");
    cr_expect_null(text_below("/data", "/data-2"));
    cr_expect_null(text_below("/data", "/dat"));
    cr_expect_null(text_below("", "/data"));
}
