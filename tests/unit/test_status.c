/* Status codes and errors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/status.h"

Test(status, every_code_has_a_name_and_names_differ)
{
    for (int i = 0; i < IJ_STATUS_COUNT; i++) {
        cr_assert_gt(strlen(ij_status_name((enum ij_status)i)), 0);
        for (int j = 0; j < i; j++)
            cr_assert_str_neq(ij_status_name((enum ij_status)i), ij_status_name((enum ij_status)j));
    }
}

/* sysexits(3) and RFC 9110. */
Test(status, classes)
{
    cr_assert_eq(ij_status_http(IJ_OK), 200);
    cr_assert_eq(ij_status_http(IJ_NO_SPACE), 507);
    cr_assert_eq(ij_status_exit_code(IJ_OK), 0);
    cr_assert_eq(ij_status_exit_code(IJ_INVALID), 78);
    cr_assert_eq(ij_status_exit_code(IJ_STOPPED), 75);
    cr_assert(ij_status_retryable(IJ_IO) && ij_status_retryable(IJ_STOPPED));
    cr_assert(!ij_status_retryable(IJ_INVALID) && !ij_status_retryable(IJ_CORRUPT));
    for (int i = 0; i < IJ_STATUS_COUNT; i++) {
        int http = ij_status_http((enum ij_status)i);
        cr_assert(i == IJ_OK ? http == 200 : http >= 400 && http < 600);
        cr_assert_eq(ij_status_exit_code((enum ij_status)i) == 0, i == IJ_OK);
    }
}

/* A worker's exit code says as much about starting it again as its status did. */
Test(status, exit_codes_keep_whether_to_start_again)
{
    for (int i = 0; i < IJ_STATUS_COUNT; i++) {
        enum ij_status back = ij_status_from_exit_code(ij_status_exit_code((enum ij_status)i));
        cr_assert_eq(ij_status_retryable(back), ij_status_retryable((enum ij_status)i), "%s",
                     ij_status_name((enum ij_status)i));
    }
    cr_assert_eq(ij_status_from_exit_code(123), IJ_INTERNAL);
}

Test(status, errno_is_mapped)
{
    cr_assert_eq(ij_status_from_errno(0), IJ_OK);
    cr_assert_eq(ij_status_from_errno(ENOENT), IJ_NOT_FOUND);
    cr_assert_eq(ij_status_from_errno(EACCES), IJ_FORBIDDEN);
    cr_assert_eq(ij_status_from_errno(ENOSPC), IJ_NO_SPACE);
    cr_assert_eq(ij_status_from_errno(ENOMEM), IJ_NO_MEMORY);
    cr_assert_eq(ij_status_from_errno(EIO), IJ_IO);
    cr_assert_eq(ij_status_from_errno(EBADF), IJ_IO);
}

Test(status, an_error_says_what_where_and_why)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(IJ_ERR_FIELD(&err, IJ_INVALID, "batch", "must be at least %d", 1), IJ_INVALID);
    cr_assert_str_eq(err.text, "must be at least 1");
    cr_assert_str_eq(err.field, "batch");
    cr_assert(strstr(err.file, "test_status.c"));
    cr_assert_gt(err.line, 0);
    cr_assert_eq(IJ_ERR_SYS(&err, ENOSPC, "/x", "cannot write %s", "/x"), IJ_NO_SPACE);
    cr_assert_eq(err.sys, ENOSPC);
    cr_assert_str_eq(err.text, "cannot write /x: No space left on device");
    cr_assert_eq(IJ_ERR(NULL, IJ_DATA, "lost"), IJ_DATA);
    cr_assert_eq(IJ_ERR_SYS(&err, 0, "", "errno was 0"), IJ_INTERNAL);
}

Test(status, an_error_may_quote_itself)
{
    struct ij_err err = IJ_ERR_INIT;
    (void)IJ_ERR_FIELD(&err, IJ_IO, "inner", "inner text");
    (void)IJ_ERR_FIELD(&err, IJ_CORRUPT, err.field, "outer: %s", err.text);
    cr_assert_str_eq(err.text, "outer: inner text");
    cr_assert_str_eq(err.field, "inner");
}

Test(status, long_texts_are_cut)
{
    struct ij_err err = IJ_ERR_INIT;
    char text[2 * IJ_ERR_TEXT_MAX], field[2 * IJ_ERR_FIELD_MAX];
    memset(text, 'x', sizeof text - 1);
    memset(field, 'f', sizeof field - 1);
    text[sizeof text - 1] = field[sizeof field - 1] = '\0';
    (void)IJ_ERR_FIELD(&err, IJ_IO, field, "%s", text);
    cr_assert_eq(strlen(err.text), IJ_ERR_TEXT_MAX - 1);
    cr_assert_eq(strlen(err.field), IJ_ERR_FIELD_MAX - 1);
    (void)IJ_ERR_SYS(&err, EIO, "", "%s", text);
    cr_assert_eq(strlen(err.text), IJ_ERR_TEXT_MAX - 1);
}

static enum ij_status tries(enum ij_status inner, int *reached)
{
    IJ_TRY(inner);
    ++*reached;
    return IJ_OK;
}

Test(status, try_returns_what_failed)
{
    int reached = 0;
    cr_assert_eq(tries(IJ_DATA, &reached), IJ_DATA);
    cr_assert_eq(reached, 0);
    cr_assert_eq(tries(IJ_OK, &reached), IJ_OK);
    cr_assert_eq(reached, 1);
}

Test(status, a_false_assertion_aborts, .signal = SIGABRT)
{
    IJ_ASSERT(1 + 1 == 2);
    IJ_ASSERT(1 + 1 == 3);
}
