/* Rows of tokens: validity, revocation, and that only the hash is kept. */
#include "tests/unit/store_fixture.h"

#include "store/token_row.h"

TestSuite(token_row, .init = fixture_open, .fini = fixture_close);

static struct token_row make(const char *id, int64_t created_ms)
{
    struct token_row row = {.user = "ann",
                            .role = TOKEN_ROW_OPERATOR,
                            .note = "laptop",
                            .created_ms = created_ms,
                            .expires_ms = 5000};
    snprintf(row.id, sizeof row.id, "%s", id);
    hash_bytes("ijp_secret", 10, row.sha256);
    OK(token_row_insert(store, &row, &err));
    return row;
}

Test(token_row, round_trip)
{
    struct token_row row = make("t1", 1000), got;
    OK(token_row_get(store, "t1", &got, &err));
    cr_assert_arr_eq(got.sha256, row.sha256, HASH_SIZE);
    cr_assert_str_eq(got.id, "t1");
    cr_assert_str_eq(got.user, "ann");
    cr_assert_str_eq(got.note, "laptop");
    cr_assert_eq(got.role, TOKEN_ROW_OPERATOR);
    cr_assert(got.created_ms == 1000 && got.expires_ms == 5000);
    cr_assert(got.used_ms == 0 && got.revoked_ms == 0);
    GIVES(IJ_CONFLICT, token_row_insert(store, &row, &err));
    GIVES(IJ_NOT_FOUND, token_row_get(store, "t2", &got, &err));
    GIVES(IJ_NOT_FOUND, token_row_get(store, "' OR ''='", &got, &err));
}

Test(token_row, validity_ends_at_the_expiry_or_with_revocation)
{
    struct token_row row = make("t1", 1000), got;
    cr_assert(token_row_is_valid(&row, 4999));
    cr_assert(!token_row_is_valid(&row, 5000));
    row.expires_ms = 0;
    cr_assert(token_row_is_valid(&row, INT64_MAX));
    OK(token_row_revoke(store, "t1", 2000, &err));
    OK(token_row_revoke(store, "t1", 3000, &err));
    OK(token_row_get(store, "t1", &got, &err));
    cr_assert_eq(got.revoked_ms, 2000);
    cr_assert(!token_row_is_valid(&got, 1500));
    GIVES(IJ_NOT_FOUND, token_row_revoke(store, "t9", 1, &err));
}

Test(token_row, last_use_only_moves_forward)
{
    struct token_row got;
    make("t1", 1000);
    OK(token_row_touch(store, "t1", 2000, &err));
    OK(token_row_touch(store, "t1", 1500, &err));
    OK(token_row_get(store, "t1", &got, &err));
    cr_assert_eq(got.used_ms, 2000);
    GIVES(IJ_NOT_FOUND, token_row_touch(store, "t9", 1, &err));
}

Test(token_row, lists_oldest_first)
{
    struct token_row *rows;
    size_t count;
    make("b", 2000);
    make("c", 3000);
    make("a", 1000);
    OK(token_row_list(store, 2, &rows, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_str_eq(rows[0].id, "a");
    cr_assert_str_eq(rows[1].id, "b");
    mem_free(rows);
}

Test(token_row, role_names_go_both_ways)
{
    enum token_row_role role;
    for (int i = 0; i < TOKEN_ROW_ROLE_COUNT; i++) {
        cr_assert(token_row_role_from_name(token_row_role_name((enum token_row_role)i), &role));
        cr_assert_eq((int)role, i);
    }
    cr_assert(!token_row_role_from_name("root", &role));
    cr_assert_lt(TOKEN_ROW_VIEWER, TOKEN_ROW_ADMIN);
}
