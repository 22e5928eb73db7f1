/* The growable buffer and its maximum. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

Test(buf, appends_and_stays_terminated)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%d,", i);
    buf_append_text(&buf, "end");
    buf_append(&buf, "\0!", 2);
    buf_append(&buf, NULL, 0);
    cr_assert_eq(buf_status(&buf), IJ_OK);
    cr_assert_eq(strncmp(buf.data, "0,1,2,", 6), 0);
    cr_assert_eq(memcmp(buf.data + buf.size - 5, "end\0!", 5), 0);
    cr_assert_eq(buf.data[buf.size], '\0');
    buf_done(&buf);
    cr_assert(buf.data == NULL && buf.size == 0 && buf.max == 1 << 20);
}

Test(buf, the_maximum_is_exact_and_the_content_stays)
{
    struct buf buf;
    buf_init(&buf, 10);
    buf_append(&buf, "0123456789", 10);
    cr_assert_eq(buf_status(&buf), IJ_OK);
    buf_append(&buf, "", 0);
    cr_assert_eq(buf_status(&buf), IJ_OK);
    buf_append(&buf, "x", 1);
    cr_assert_eq(buf_status(&buf), IJ_TOO_LARGE);
    buf_printf(&buf, "%s", "");
    cr_assert_eq(buf_status(&buf), IJ_TOO_LARGE);
    cr_assert_str_eq(buf.data, "0123456789");
    buf_done(&buf);
    buf_init(&buf, 9);
    buf_printf(&buf, "%s", "0123456789");
    cr_assert_eq(buf_status(&buf), IJ_TOO_LARGE);
    cr_assert_eq(buf.size, 0);
    buf_done(&buf);
}

Test(buf, out_of_memory_is_remembered)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    buf_append_text(&buf, "kept");
    mem_fail_after(0);
    for (int i = 0; i < 300; i++)
        buf_append_text(&buf, "x");
    mem_fail_after(-1);
    cr_assert_eq(buf_status(&buf), IJ_NO_MEMORY);
    cr_assert_eq(strncmp(buf.data, "kept", 4), 0);
    size_t size = buf.size;
    buf_append_text(&buf, "ignored");
    cr_assert_eq(buf.size, size);
    buf_done(&buf);
}

Test(buf, no_maximum_is_no_trap)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX);
    buf_append_text(&buf, "abc");
    cr_assert_eq(buf_status(&buf), IJ_OK);
    buf_done(&buf);
}

Test(buf, taking_hands_over_and_empties)
{
    struct buf buf;
    buf_init(&buf, 100);
    char *empty = buf_take(&buf);
    cr_assert_str_eq(empty, "");
    mem_free(empty);
    buf_append_text(&buf, "abc");
    char *text = buf_take(&buf);
    cr_assert_str_eq(text, "abc");
    cr_assert(buf.data == NULL && buf.size == 0);
    buf_append_text(&buf, "again");
    cr_assert_str_eq(buf.data, "again");
    buf_done(&buf);
    mem_free(text);
}
