/* Log text: what a terminal would obey becomes visible text; the last lines are found. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/log_text.h"
#include "base/mem.h"

static void expect_shown(const char *raw, size_t size, const char *shown)
{
    struct buf buf;
    buf_init(&buf, 4096);
    log_text_escape(raw, size, &buf);
    cr_expect_eq(buf.size, strlen(shown), "%s", shown);
    cr_expect(buf.size == 0 || memcmp(buf.data, shown, buf.size) == 0, "%s is not %s", buf.data,
              shown);
    buf_done(&buf);
}

Test(log_text, escapes)
{
    expect_shown("", 0, "");
    expect_shown("plain\ttext\n", 11, "plain\ttext\n");
    expect_shown("\x1b[2J", 4, "\\x1b[2J");
    expect_shown("a\0b", 3, "a\\x00b");
    expect_shown("50%\r100%\n", 9, "50%\\x0d100%\n");
    expect_shown("\x7f", 1, "\\x7f");
    expect_shown("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_shown("\xc2\x9b"
                 "31m",
                 5, "\\xc2\\x9b31m");
    expect_shown("\xff\xfe", 2, "\\xff\\xfe");
    expect_shown("\xc3", 1, "\\xc3");
    expect_shown("\xe2\x82", 2, "\\xe2\\x82");
    expect_shown("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");
    expect_shown("\xc0\x80", 2, "\\xc0\\x80");
}

/* Whatever the bytes: the result is UTF-8 without control characters but line feed and tab. */
Test(log_text, every_pair_of_bytes_becomes_harmless)
{
    for (unsigned pair = 0; pair < 65536; pair++) {
        char raw[2] = {(char)(pair >> 8), (char)pair};
        struct buf buf;
        buf_init(&buf, 64);
        log_text_escape(raw, sizeof raw, &buf);
        for (size_t i = 0; i < buf.size; i++) {
            unsigned char c = (unsigned char)buf.data[i];
            cr_assert((c >= ' ' && c != 0x7f) || c == '\n' || c == '\t', "%04x", pair);
        }
        buf_done(&buf);
    }
}

Test(log_text, tail)
{
    static const char text[] = "one\ntwo\nthree\n";
    cr_expect_eq(log_text_tail(text, 14, 1), 8);
    cr_expect_eq(log_text_tail(text, 14, 2), 4);
    cr_expect_eq(log_text_tail(text, 14, 3), 0);
    cr_expect_eq(log_text_tail(text, 14, 100), 0);
    cr_expect_eq(log_text_tail(text, 13, 1), 8, "a last line without an end counts");
    cr_expect_eq(log_text_tail("\n\n\n", 3, 2), 1);
    cr_expect_eq(log_text_tail("", 0, 5), 0);
    cr_expect_eq(log_text_tail("x", 1, 1), 0);
}
