/* Migrations: from nothing, and by name what they refuse. */
#include "tests/unit/store_fixture.h"

#include "store/handle.h"
#include "store/schema.h"

TestSuite(schema, .init = fixture_open, .fini = fixture_close);

Test(schema, an_empty_file_is_version_zero)
{
    struct db db;
    int version = -1;
    fixture_sql("empty.db", "PRAGMA page_count");
    FILE *file = fopen(fixture_path("empty.db"), "a");
    cr_assert_not_null(file);
    fclose(file);
    OK(db_open(&db, fixture_path("empty.db"), DB_WRITER, &err));
    OK(schema_look(&db, SCHEMA_STATE, &version, &err));
    cr_assert_eq(version, 0);
    OK(schema_migrate(&db, SCHEMA_STATE, version, &err));
    OK(schema_look(&db, SCHEMA_STATE, &version, &err));
    cr_assert_eq(version, schema_version(SCHEMA_STATE));
    GIVES(IJ_UNSUPPORTED, schema_look(&db, SCHEMA_METRICS, &version, &err));
    db_close(&db);
}

Test(schema, a_step_that_fails_leaves_nothing)
{
    struct db db;
    int version;
    fixture_sql("half.db", "CREATE TABLE token(theirs)");
    OK(db_open(&db, fixture_path("half.db"), DB_WRITER, &err));
    cr_assert_neq(schema_migrate(&db, SCHEMA_STATE, 0, &err), IJ_OK);
    db_close(&db);
    cr_assert_eq(fixture_value("half.db", "SELECT count(*) FROM sqlite_schema"), 1);
    cr_assert_eq(fixture_value("half.db", "PRAGMA user_version"), 0);
    OK(db_open(&db, fixture_path("half.db"), DB_WRITER, &err));
    GIVES(IJ_UNSUPPORTED, schema_look(&db, SCHEMA_STATE, &version, &err));
    db_close(&db);
}

Test(schema, every_table_is_strict)
{
    const char *const files[] = {"state.db", "metrics.db"};
    for (int i = 0; i < 2; i++) {
        cr_assert_gt(fixture_value(files[i], "SELECT count(*) FROM pragma_table_list"
                                             " WHERE type='table' AND name NOT LIKE 'sqlite_%'"),
                     2);
        cr_assert_eq(fixture_value(files[i], "SELECT count(*) FROM pragma_table_list"
                                             " WHERE type='table' AND strict=0"
                                             " AND name NOT LIKE 'sqlite_%'"),
                     0);
    }
}

/* The names in the CHECK constraint and in the code are the same. */
Test(schema, every_state_of_the_code_is_allowed)
{
    int64_t id = fixture_run("all states", 1);
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        fixture_set_state(id, (enum run_state)i);
    for (int i = 0; i < RUN_STATE_DESIRE_COUNT; i++) {
        struct run_row row;
        OK(run_row_get(store, id, &row, &err));
        row.desired = (enum run_state_desire)i;
        OK(run_row_update_state(store, &row, 1, &err));
        run_row_done(&row);
    }
}

Test(schema, an_unknown_kind_is_refused)
{
    struct run_row row = {.kind = "shell", .slots = 1};
    GIVES(IJ_INVALID, run_row_insert(store, &row, &err));
    cr_assert(strstr(err.text, "kind"), "%s", err.text);
}

Test(schema, json_columns_hold_json)
{
    struct run_row row = {.kind = "knn", .slots = 1, .params = "not json"};
    cr_assert_neq(run_row_insert(store, &row, &err), IJ_OK);
    row.params = "[]";
    GIVES(IJ_INVALID, run_row_insert(store, &row, &err));
    row.params = "{\"a\":1}";
    OK(run_row_insert(store, &row, &err));
}
