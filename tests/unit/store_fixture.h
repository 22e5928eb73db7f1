/* A store in a temporary directory, for the tests of store/. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/run_row.h"
#include "store/store.h"

static char fixture_dir[128];
static struct store *store;
static struct ij_err err;

#define OK(call)          cr_assert_eq((call), IJ_OK, "%s: %s", #call, err.text)
#define GIVES(code, call) cr_assert_eq((call), (code), "%s: %s", #call, err.text)

/* In memory where possible: these tests sync often and none of them cuts the power. */
static inline void fixture_new_dir(void)
{
    snprintf(fixture_dir, sizeof fixture_dir, "%s/ijepad-store-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(fixture_dir));
}

static inline void fixture_open(void)
{
    fixture_new_dir();
    OK(store_open(fixture_dir, &store, &err));
}

static inline void fixture_reopen(void)
{
    store_close(store);
    store = NULL;
    OK(store_open(fixture_dir, &store, &err));
}

static inline void fixture_close(void)
{
    store_close(store);
    store = NULL;
    OK(file_remove_tree(fixture_dir, &err));
}

static inline const char *fixture_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fixture_dir, name);
    return path;
}

/* SQL by another connection, as an operator with the sqlite3 shell would. */
static inline void fixture_sql(const char *file, const char *sql)
{
    sqlite3 *db;
    char *text = NULL;
    cr_assert_eq(sqlite3_open(fixture_path(file), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &text), SQLITE_OK, "%s: %s", sql, text);
    sqlite3_close(db);
}

static inline int64_t fixture_value(const char *file, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    cr_assert_eq(sqlite3_open(fixture_path(file), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, "%s", sql);
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW, "%s", sql);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

/* A queued pretraining run; its id. */
static inline int64_t fixture_run(const char *name, int64_t created_ms)
{
    struct run_row row = {.kind = "pretrain",
                          .user = "ann",
                          .state = RUN_STATE_QUEUED,
                          .slots = 1,
                          .created_ms = created_ms,
                          .epoch = NAN};
    snprintf(row.name, sizeof row.name, "%s", name);
    OK(run_row_insert(store, &row, &err));
    return row.id;
}

static inline void fixture_set_state(int64_t id, enum run_state state)
{
    struct run_row row;
    OK(run_row_get(store, id, &row, &err));
    row.state = state;
    OK(run_row_update_state(store, &row, 5000, &err));
    run_row_done(&row);
}

#endif
