/* Rows of tokens and checkpoints on a database that refuses: a table that is gone (nothing can be
 * prepared), a step that is interrupted (nothing can be read or written). Each call says so. */
#include "tests/unit/store_fixture.h"

#include "store/checkpoint_row.h"
#include "store/handle.h"
#include "store/store_recover.h"
#include "store/token_row.h"

TestSuite(row_errors, .init = fixture_open, .fini = fixture_close);

static struct token_row token = {
    .id = "abc", .user = "ada", .role = TOKEN_ROW_ADMIN, .created_ms = 1700000000000};
static struct checkpoint_row checkpoint = {.attempt = 1,
                                           .step = 8,
                                           .path = "/state/runs/1/step-8",
                                           .hash = "ab12",
                                           .state = CHECKPOINT_ROW_VALID,
                                           .score = NAN,
                                           .created_ms = 1700000000000};

static enum ij_status token_insert(void)
{
    return token_row_insert(store, &token, &err);
}
static enum ij_status token_get(void)
{
    struct token_row got;
    return token_row_get(store, "abc", &got, &err);
}
static enum ij_status token_list(void)
{
    mem_auto struct token_row *rows = NULL;
    size_t count;
    return token_row_list(store, 10, &rows, &count, &err);
}
static enum ij_status token_revoke(void)
{
    return token_row_revoke(store, "abc", 5, &err);
}
static enum ij_status token_touch(void)
{
    return token_row_touch(store, "abc", 5, &err);
}
static enum ij_status checkpoint_put(void)
{
    return checkpoint_row_put(store, &checkpoint, &err);
}
static enum ij_status checkpoint_get(void)
{
    struct checkpoint_row got;
    return checkpoint_row_get(store, 1, &got, &err);
}
static enum ij_status checkpoint_newest(void)
{
    struct checkpoint_row got;
    return checkpoint_row_newest(store, checkpoint.run, &got, &err);
}
static enum ij_status checkpoint_set_state(void)
{
    return checkpoint_row_set_state(store, 1, CHECKPOINT_ROW_VALID, &err);
}
static enum ij_status checkpoint_set_pinned(void)
{
    return checkpoint_row_set_pinned(store, 1, false, &err);
}
static enum ij_status checkpoint_set_score(void)
{
    static double score = 1;
    return checkpoint_row_set_score(store, 1, score++, &err);
}
static enum ij_status checkpoint_retire(void)
{
    enum ij_status status = checkpoint_row_retire(store, 1, &err);
    if (status != IJ_CONFLICT)
        return status;
    err = (struct ij_err)IJ_ERR_INIT; /* as it should be: it is the only one */
    return IJ_OK;
}
static enum ij_status checkpoint_reader(void)
{
    int64_t run;
    return checkpoint_row_reader(store, &checkpoint, &run, &err);
}
static enum ij_status checkpoint_surplus(void)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    return checkpoint_row_surplus(store, 1, 10, &rows, &count, &err);
}
static enum ij_status checkpoint_list(void)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    return checkpoint_row_list(store, checkpoint.run, 0, 0, 10, &rows, &count, &err);
}
static enum ij_status checkpoint_list_on(void)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count;
    return checkpoint_row_list(store, 0, 1u << CHECKPOINT_ROW_VALID, 1, 10, &rows, &count, &err);
}

static const struct {
    const char *name;
    enum ij_status (*call)(void);
} calls[] = {{"token insert", token_insert},
             {"token get", token_get},
             {"token list", token_list},
             {"token revoke", token_revoke},
             {"token touch", token_touch},
             {"checkpoint put", checkpoint_put},
             {"checkpoint get", checkpoint_get},
             {"checkpoint newest", checkpoint_newest},
             {"checkpoint set_state", checkpoint_set_state},
             {"checkpoint set_pinned", checkpoint_set_pinned},
             {"checkpoint set_score", checkpoint_set_score},
             {"checkpoint retire", checkpoint_retire},
             {"checkpoint reader", checkpoint_reader},
             {"checkpoint surplus", checkpoint_surplus},
             {"checkpoint list", checkpoint_list},
             {"checkpoint list on", checkpoint_list_on}};

static void expect(bool good, const char *when)
{
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        err = (struct ij_err)IJ_ERR_INIT;
        enum ij_status status = calls[i].call();
        cr_expect_eq(status == IJ_OK, good, "%s, %s: %s", calls[i].name, when, err.text);
        cr_expect_eq(err.text[0] != '\0', status != IJ_OK, "%s", calls[i].name);
    }
}

static void make_rows(void)
{
    checkpoint.run = fixture_run("r", 1);
    expect(true, "as it should be");
    cr_assert_eq(token_row_get(store, "other", &token, &err), IJ_NOT_FOUND);
    strcpy(token.id, "def"); /* each insertion needs another one */
}

Test(row_errors, tables_that_are_gone)
{
    make_rows();
    cr_assert_eq(sqlite3_exec(store->state.handle,
                              "PRAGMA foreign_keys=OFF; DROP TABLE token; DROP TABLE checkpoint;"
                              "DROP TABLE run",
                              NULL, NULL, NULL),
                 SQLITE_OK);
    expect(false, "without tables");
}

/* The same before anything was prepared. */
Test(row_errors, tables_that_never_were)
{
    checkpoint.run = fixture_run("r", 1);
    cr_assert_eq(sqlite3_exec(store->state.handle,
                              "PRAGMA foreign_keys=OFF; DROP TABLE token; DROP TABLE checkpoint;"
                              "DROP TABLE run",
                              NULL, NULL, NULL),
                 SQLITE_OK);
    expect(false, "without tables");
}

static int interrupt(void *user)
{
    (void)user;
    return 1;
}

Test(row_errors, steps_that_are_interrupted)
{
    make_rows();
    sqlite3_progress_handler(store->state.handle, 1, interrupt, NULL);
    expect(false, "interrupted");
    sqlite3_progress_handler(store->state.handle, 0, NULL, NULL);
    expect(true, "afterwards");
}

Test(row_errors, lists_without_memory)
{
    make_rows();
    for (int i = 0; i < 40; i++) {
        checkpoint.step = 100 + (uint64_t)i;
        snprintf(checkpoint.path, sizeof checkpoint.path, "/state/runs/1/step-%d", 100 + i);
        OK(checkpoint_put());
        snprintf(token.id, sizeof token.id, "t%d", i);
        OK(token_insert());
    }
    enum ij_status (*const lists[])(void) = {token_list, checkpoint_list, checkpoint_surplus};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        enum ij_status status = IJ_NO_MEMORY;
        for (long n = 0; n < 100 && status == IJ_NO_MEMORY; n++) {
            mem_fail_after(n);
            status = lists[i]();
            mem_fail_after(-1);
        }
        GIVES(IJ_OK, status);
    }
}
