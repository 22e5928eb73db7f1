/* Rows of idempotency keys. */
#include "tests/unit/store_fixture.h"

#include "store/idem_row.h"

TestSuite(idem_row, .init = fixture_open, .fini = fixture_close);

static enum ij_status claim(const char *user, const char *key, int64_t ts_ms)
{
    struct idem_row row = {.ts_ms = ts_ms};
    snprintf(row.user, sizeof row.user, "%s", user);
    snprintf(row.key, sizeof row.key, "%s", key);
    hash_bytes("body", 4, row.body_sha256);
    return idem_row_insert(store, &row, &err);
}

Test(idem_row, a_key_is_claimed_once_per_user)
{
    struct idem_row got;
    uint8_t digest[HASH_SIZE];
    OK(claim("ann", "k1", 10));
    GIVES(IJ_CONFLICT, claim("ann", "k1", 20));
    OK(claim("bob", "k1", 30));
    OK(idem_row_get(store, "ann", "k1", &got, &err));
    hash_bytes("body", 4, digest);
    cr_assert_arr_eq(got.body_sha256, digest, HASH_SIZE);
    cr_assert(got.status == 0 && !got.response && got.ts_ms == 10);
    idem_row_done(&got);
    GIVES(IJ_NOT_FOUND, idem_row_get(store, "eve", "k1", &got, &err));
}

/* The claim and what it guards may share one transaction. */
Test(idem_row, a_conflict_does_not_end_the_transaction)
{
    OK(claim("ann", "k1", 10));
    OK(store_begin(store, &err));
    int64_t id = fixture_run("in the same transaction", 1);
    GIVES(IJ_CONFLICT, claim("ann", "k1", 20));
    OK(store_commit(store, &err));
    struct run_row row;
    OK(run_row_get(store, id, &row, &err));
    run_row_done(&row);
}

Test(idem_row, the_answer_is_kept)
{
    struct idem_row got;
    OK(claim("ann", "k1", 10));
    OK(idem_row_finish(store, "ann", "k1", 201, "{\"id\":\"r1\"}", &err));
    OK(idem_row_get(store, "ann", "k1", &got, &err));
    cr_assert_eq(got.status, 201);
    cr_assert_str_eq(got.response, "{\"id\":\"r1\"}");
    idem_row_done(&got);
    GIVES(IJ_NOT_FOUND, idem_row_finish(store, "ann", "k2", 201, "", &err));
}

Test(idem_row, deleted_and_trimmed_keys_are_free_again)
{
    int64_t removed;
    OK(claim("ann", "old", 10));
    OK(idem_row_finish(store, "ann", "old", 201, "", &err));
    OK(claim("ann", "new", 20));
    OK(idem_row_finish(store, "ann", "new", 201, "", &err));
    OK(claim("ann", "unfinished", 30));
    OK(idem_row_trim(store, 20, false, &removed, &err));
    cr_assert_eq(removed, 1);
    OK(idem_row_trim(store, 20, true, &removed, &err));
    cr_assert_eq(removed, 1);
    OK(claim("ann", "old", 40));
    OK(claim("ann", "unfinished", 40));
    GIVES(IJ_CONFLICT, claim("ann", "new", 40));
    OK(idem_row_delete(store, "ann", "new", &err));
    OK(claim("ann", "new", 40));
}
