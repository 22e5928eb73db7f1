/* One connection: values in and out, error mapping, statements kept. */
#include "tests/unit/store_fixture.h"

#include "store/handle.h"

static struct db db;

static void open_db(void)
{
    fixture_new_dir();
    fixture_sql("x.db", "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL, c REAL, d BLOB,"
                        " CHECK(a<100)) STRICT;"
                        "CREATE TABLE child(a INTEGER REFERENCES t(a)) STRICT");
    OK(db_open(&db, fixture_path("x.db"), DB_WRITER, &err));
}

static void close_db(void)
{
    db_close(&db);
    fixture_close();
}

TestSuite(db, .init = open_db, .fini = close_db);

static enum ij_status insert(int64_t a, const char *b)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    OK(db_start(&db, "INSERT INTO t(a,b)VALUES(?,?)", &q, &err));
    db_put_int(&q, a);
    db_put_text(&q, b);
    return db_run(&q, NULL, &err);
}

Test(db, values_go_in_and_out)
{
    bool row;
    size_t size;
    {
        db_auto struct db_query q = DB_QUERY_INIT;
        OK(db_start(&db, "INSERT INTO t VALUES(?,?,?,?)", &q, &err));
        db_put_int(&q, -7);
        db_put_text(&q, "t\xc3\xa9xt");
        db_put_real(&q, 0.1);
        db_put_blob(&q, "a\0b", 3);
        int64_t changes;
        OK(db_run(&q, &changes, &err));
        cr_assert_eq(changes, 1);
        cr_assert_eq(db_last_id(&db), -7);
    }
    db_auto struct db_query q = DB_QUERY_INIT;
    char text[16];
    OK(db_start(&db, "SELECT * FROM t", &q, &err));
    OK(db_next(&q, &row, &err));
    cr_assert_eq(db_int(&q), -7);
    db_text(&q, text, sizeof text);
    cr_assert_str_eq(text, "t\xc3\xa9xt");
    cr_assert_eq(db_real(&q), 0.1);
    cr_assert_eq(memcmp(db_blob(&q, &size), "a\0b", 3), 0);
    cr_assert_eq(size, 3);
    OK(db_next(&q, &row, &err));
    cr_assert(!row);
}

Test(db, nan_and_null_meet)
{
    bool row;
    size_t size = 9;
    char text[4] = "xxx";
    OK(insert(1, "b"));
    db_auto struct db_query q = DB_QUERY_INIT;
    OK(db_start(&db, "SELECT c,c,d,d,coalesce(?,5) FROM t", &q, &err));
    db_put_real(&q, NAN);
    OK(db_next(&q, &row, &err));
    cr_assert(isnan(db_real(&q)));
    cr_assert_eq(db_int(&q), 0);
    cr_assert_null(db_blob(&q, &size));
    cr_assert_eq(size, 0);
    db_text(&q, text, sizeof text);
    cr_assert_str_eq(text, "");
    cr_assert_eq(db_int(&q), 5, "NaN was bound as NULL");
}

Test(db, text_is_cut_between_characters)
{
    bool row;
    char text[4];
    OK(insert(1, "ab\xc3\xa9"));
    db_auto struct db_query q = DB_QUERY_INIT;
    OK(db_start(&db, "SELECT b FROM t", &q, &err));
    OK(db_next(&q, &row, &err));
    db_text(&q, text, sizeof text);
    cr_assert_str_eq(text, "ab");
}

Test(db, constraints_are_told_apart)
{
    OK(insert(1, "b"));
    GIVES(IJ_CONFLICT, insert(1, "b"));
    cr_assert(strstr(err.text, "x.db") && strstr(err.text, "t.a"), "%s", err.text);
    GIVES(IJ_INVALID, insert(100, "b"));
    GIVES(IJ_INVALID, insert(2, NULL));
    GIVES(IJ_NOT_FOUND, db_exec(&db, "INSERT INTO child VALUES(55)", &err));
    GIVES(IJ_INVALID, db_exec(&db, "INSERT INTO t(a,b,c)VALUES(3,'b','not a number')", &err));
    GIVES(IJ_INTERNAL, db_exec(&db, "SELEKT", &err));
}

Test(db, another_writer_makes_busy)
{
    sqlite3 *other;
    cr_assert_eq(sqlite3_open(fixture_path("x.db"), &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db.handle, 1);
    GIVES(IJ_BUSY, db_begin(&db, &err));
    sqlite3_close(other);
    OK(db_begin(&db, &err));
    db_rollback(&db);
}

Test(db, a_file_that_is_no_database_is_corrupt)
{
    struct db other;
    OK(file_write_durable(fixture_path("junk.db"),
                          "this is not a database at all, not in the least", 47, 0600, &err));
    GIVES(IJ_CORRUPT, db_open(&other, fixture_path("junk.db"), DB_WRITER, &err));
    cr_assert(strstr(err.text, "junk.db is damaged"), "%s", err.text);
    cr_assert_neq(db_open(&other, fixture_path("absent.db"), DB_WRITER, &err), IJ_OK);
}

Test(db, a_statement_is_prepared_once_and_free_again_after_its_scope)
{
    for (int i = 0; i < 50; i++)
        OK(insert(i, "b"));
    size_t kept = 0;
    for (size_t i = 0; i < DB_STATEMENTS_MAX; i++)
        kept += db.kept[i].sql != NULL;
    cr_assert_eq(kept, 1);
}

/* A failed statement is reset too: nothing keeps a lock. */
/* More connections than the daemon ever has, each reading a file that is larger than all caches. */
Test(db, all_page_caches_together_are_bounded)
{
    struct db readers[24];
    fixture_sql("large.db",
                "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<6000)"
                "INSERT INTO t SELECT i, randomblob(3000) FROM n");
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        bool row;
        OK(db_open(&readers[i], fixture_path("large.db"), DB_READER, &err));
        db_auto struct db_query q = DB_QUERY_INIT;
        OK(db_start(&readers[i], "SELECT sum(length(b)) FROM t", &q, &err));
        OK(db_next(&q, &row, &err));
        cr_assert_eq(db_int(&q), 18000000);
    }
    cr_expect_lt(sqlite3_memory_used(), 10 * 1024 * 1024, "%lld", sqlite3_memory_used());
    for (size_t i = 0; i < COUNT_OF(readers); i++)
        db_close(&readers[i]);
}

Test(db, a_failed_statement_leaves_no_lock)
{
    OK(insert(1, "b"));
    GIVES(IJ_CONFLICT, insert(1, "b"));
    fixture_sql("x.db", "BEGIN IMMEDIATE; INSERT INTO t(a,b)VALUES(2,'b'); COMMIT");
    OK(insert(3, "b"));
}
