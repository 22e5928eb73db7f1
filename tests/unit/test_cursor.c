/* Cursors come back as they went and nothing else is taken for one. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/cursor.h"
#include "base/mem.h"

Test(cursor, round_trip)
{
    static const int64_t keys[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1763871600000};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct run_row_cursor in = {.key = keys[i], .id = INT64_MAX - (int64_t)i}, out = {0, 0};
        char text[CURSOR_MAX];
        cursor_encode(3, &in, text);
        cr_expect_eq(
            strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
            strlen(text), "%s", text);
        cr_assert(cursor_decode(text, 3, &out), "%s", text);
        cr_expect_eq(out.key, in.key);
        cr_expect_eq(out.id, in.id);
        cr_expect_not(cursor_decode(text, 2, &out), "another order");
    }
}

Test(cursor, refuses_everything_else)
{
    /* base64url of: "3.1.0", "3.1.-5", "3.1", "3.1.2.", " 3.1.2", "03.1.2", and no base64 */
    static const char *const bad[] = {"",         "x",    "!!!!",     "My4xLjA",
                                      "My4xLi01", "My4x", "My4xLjIu", "IDMuMS4y",
                                      "MDMuMS4y", "====", "My4xLjI="};
    struct run_row_cursor out;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(cursor_decode(bad[i], 3, &out), "%s", bad[i]);
    cr_expect(cursor_decode("My4xLjI", 3, &out), "\"3.1.2\"");
    char text[CURSOR_MAX + 8];
    memset(text, 'A', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cr_expect_not(cursor_decode(text, 3, &out));
}
