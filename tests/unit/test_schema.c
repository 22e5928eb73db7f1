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
    OK(schema_look(&db, &schema_state, &version, &err));
    cr_assert_eq(version, 0);
    OK(schema_migrate(&db, &schema_state, version, &err));
    OK(schema_look(&db, &schema_state, &version, &err));
    cr_assert_eq(version, schema_state.version);
    GIVES(IJ_UNSUPPORTED, schema_look(&db, &schema_metrics, &version, &err));
    db_close(&db);
}

Test(schema, a_step_that_fails_leaves_nothing)
{
    struct db db;
    int version;
    fixture_sql("half.db", "CREATE TABLE token(theirs)");
    OK(db_open(&db, fixture_path("half.db"), DB_WRITER, &err));
    cr_assert_neq(schema_migrate(&db, &schema_state, 0, &err), IJ_OK);
    db_close(&db);
    cr_assert_eq(fixture_value("half.db", "SELECT count(*) FROM sqlite_schema"), 1);
    cr_assert_eq(fixture_value("half.db", "PRAGMA user_version"), 0);
    OK(db_open(&db, fixture_path("half.db"), DB_WRITER, &err));
    GIVES(IJ_UNSUPPORTED, schema_look(&db, &schema_state, &version, &err));
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

/* The next version of the state schema, as a later release would have it. */
static const struct schema *next_schema(const char *step)
{
    static const char *steps[32];
    static struct schema next;
    cr_assert_lt(schema_state.version, (int)COUNT_OF(steps));
    for (int i = 0; i < schema_state.version; i++)
        steps[i] = schema_state.steps[i];
    steps[schema_state.version] = step;
    next = schema_state;
    next.version = schema_state.version + 1;
    next.steps = steps;
    return &next;
}

Test(schema, an_older_file_is_copied_then_migrated)
{
    const struct schema *next = next_schema("ALTER TABLE run ADD COLUMN color TEXT DEFAULT 'red'");
    int64_t id = fixture_run("from before", 1);
    char copy[64];
    snprintf(copy, sizeof copy, "state.db.before-v%d", next->version);
    store_close(store);
    store = NULL;
    OK(store_open_as(fixture_dir, next, &schema_metrics, &store, &err));
    cr_assert_eq(fixture_value("state.db", "PRAGMA user_version"), next->version);
    cr_assert_eq(fixture_value("state.db", "SELECT id FROM run WHERE color='red'"), id);
    cr_assert_eq(fixture_value(copy, "PRAGMA user_version"), schema_state.version);
    cr_assert_eq(fixture_value(copy, "SELECT id FROM run"), id);
    store_close(store);
    store = NULL;
    GIVES(IJ_UNSUPPORTED, store_open(fixture_dir, &store, &err));
    OK(store_open_as(fixture_dir, next, &schema_metrics, &store, &err));
}

Test(schema, a_migration_that_fails_leaves_the_old_version_working)
{
    const struct schema *next =
        next_schema("CREATE TABLE extra(a) STRICT; INSERT INTO nowhere VALUES(1)");
    int64_t id = fixture_run("from before", 1);
    store_close(store);
    store = NULL;
    cr_assert_neq(store_open_as(fixture_dir, next, &schema_metrics, &store, &err), IJ_OK);
    cr_assert_null(store);
    cr_assert_eq(fixture_value("state.db", "PRAGMA user_version"), schema_state.version);
    OK(store_open(fixture_dir, &store, &err));
    struct run_row row;
    OK(run_row_get(store, id, &row, &err));
    run_row_done(&row);
}

/* A run of the version before devices: it waits since it was submitted and asks for nothing new. */
Test(schema, a_run_from_before_devices_keeps_its_age)
{
    struct schema old = schema_state;
    old.version = 3;
    store_close(store);
    store = NULL;
    OK(file_remove_tree(fixture_dir, &err));
    fixture_new_dir();
    OK(store_open_as(fixture_dir, &old, &schema_metrics, &store, &err));
    store_close(store);
    store = NULL;
    fixture_sql(
        "state.db",
        "INSERT INTO run VALUES(7,1,'old','pretrain','ann',NULL,'queued','run','',0,0,1.0,1,"
        "'host','',1,0,0,'',0,0,0,0,NULL,NULL,NULL,'',4711,4711,0,0,'b','[]','','','{}','{}',"
        "'{}','','{}','{}',0,NULL);"
        "INSERT INTO attempt VALUES(7,1,0,'',4712,0,-1,0,'','',0,0,'host')");
    OK(store_open(fixture_dir, &store, &err));
    struct run_row row;
    OK(run_row_get(store, 7, &row, &err));
    cr_assert_eq(row.queued_ms, 4711);
    cr_assert_not(row.preemptible);
    cr_assert_eq(row.gpu_memory_bytes, 0);
    cr_assert_str_eq(row.gpus, "[]");
    run_row_done(&row);
    cr_assert_eq(fixture_value("state.db", "SELECT count(*) FROM attempt WHERE gpus='[]'"), 1);
    char copy[64];
    snprintf(copy, sizeof copy, "state.db.before-v%d", schema_state.version);
    cr_assert_eq(fixture_value(copy, "SELECT created_ms FROM run"), 4711);
}
