/* Tokens, cookies, peers, sessions. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/auth.h"
#include "api/session.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#define SECRET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN-_0"
#define TOKEN  "ijp_a1_" SECRET

Test(auth, token_texts)
{
    char id[17] = "";
    cr_assert_eq(strlen(SECRET), 43);
    cr_assert(auth_parse_token(TOKEN, id));
    cr_expect_str_eq(id, "a1");
    cr_expect(auth_parse_token("ijp_abcdefghijklmnop_" SECRET, id), "an id of 16");
    static const char *const bad[] = {"",
                                      "ijp_",
                                      "ijp_a1",
                                      "ijp__" SECRET,
                                      "IJP_a1_" SECRET,
                                      "ijp_A1_" SECRET,
                                      "ijp_a1_" SECRET "x",
                                      "ijp_a.1_" SECRET,
                                      "ijp_abcdefghijklmnopq_" SECRET,
                                      "ijp_a1_bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN-_0",
                                      "ijp_a1_+bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN-_0",
                                      " " TOKEN,
                                      TOKEN " "};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(auth_parse_token(bad[i], id), "%s", bad[i]);
}

static struct token_row row_of(const char *text)
{
    struct token_row row = {
        .id = "a1", .user = "alice", .role = TOKEN_ROW_SUBMITTER, .created_ms = 1};
    hash_bytes(text, strlen(text), row.sha256);
    return row;
}

Test(auth, a_token_counts_until_it_expires_or_is_revoked)
{
    struct token_row row = row_of(TOKEN);
    cr_expect(auth_token_matches(TOKEN, &row, 100));
    row.expires_ms = 100;
    cr_expect(auth_token_matches(TOKEN, &row, 99));
    cr_expect_not(auth_token_matches(TOKEN, &row, 100));
    row.expires_ms = 0;
    row.revoked_ms = 50;
    cr_expect_not(auth_token_matches(TOKEN, &row, 100));
}

/* Each bit of the stored hash counts: also the first and the last. */
Test(auth, every_bit_of_the_hash_counts)
{
    for (size_t bit = 0; bit < 8 * HASH_SIZE; bit++) {
        struct token_row row = row_of(TOKEN);
        row.sha256[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_not(auth_token_matches(TOKEN, &row, 100), "bit %zu", bit);
    }
}

Test(auth, cookies)
{
    char secret[SESSION_SECRET_SIZE];
    cr_assert(auth_cookie_secret("ijepad_session=" SECRET, secret, sizeof secret));
    cr_expect_str_eq(secret, SECRET);
    cr_expect(auth_cookie_secret("a=b; ijepad_session=" SECRET "; c=d", secret, sizeof secret));
    static const char *const bad[] = {"",
                                      "a=b",
                                      "ijepad_session=",
                                      "ijepad_session=short",
                                      "xijepad_session=" SECRET,
                                      "ijepad_session=" SECRET "x",
                                      "ijepad_session=" SECRET "; ijepad_session=" SECRET,
                                      "ijepad_session=\"" SECRET "\""};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(auth_cookie_secret(bad[i], secret, sizeof secret), "%s", bad[i]);
}

Test(session, opens_finds_closes_ends)
{
    struct session_table *table;
    char secret[SESSION_SECRET_SIZE], other[SESSION_SECRET_SIZE], id[17] = "";
    cr_assert_eq(session_table_new(&table, NULL), IJ_OK);
    cr_assert_eq(session_open(table, "a1", 1000, secret, NULL), IJ_OK);
    cr_assert_eq(session_open(table, "b2", 1000, other, NULL), IJ_OK);
    cr_expect_str_neq(secret, other);
    cr_assert(session_find(table, secret, 2000, id, sizeof id));
    cr_expect_str_eq(id, "a1");
    cr_expect_not(session_find(table, SECRET, 2000, id, sizeof id));
    cr_expect(session_find(table, secret, 1000 + SESSION_TTL_MS - 1, id, sizeof id));
    cr_expect_not(session_find(table, secret, 1000 + SESSION_TTL_MS, id, sizeof id));
    session_close(table, secret);
    cr_expect_not(session_find(table, secret, 2000, id, sizeof id));
    cr_expect(session_find(table, other, 2000, id, sizeof id));
    session_table_free(table);
}

Test(session, the_oldest_makes_room)
{
    struct session_table *table;
    char first[SESSION_SECRET_SIZE], second[SESSION_SECRET_SIZE], any[SESSION_SECRET_SIZE], id[17];
    cr_assert_eq(session_table_new(&table, NULL), IJ_OK);
    cr_assert_eq(session_open(table, "first", 1, first, NULL), IJ_OK);
    cr_assert_eq(session_open(table, "second", 2, second, NULL), IJ_OK);
    for (int64_t i = 2; i < SESSION_MAX; i++)
        cr_assert_eq(session_open(table, "x", i + 1, any, NULL), IJ_OK);
    cr_expect(session_find(table, first, 1000, id, sizeof id), "the table is just full");
    cr_assert_eq(session_open(table, "x", 900, any, NULL), IJ_OK);
    cr_expect_not(session_find(table, first, 1000, id, sizeof id));
    cr_expect(session_find(table, second, 1000, id, sizeof id));
    session_table_free(table);
}

/* ---- auth_identify over a real store ---- */

struct bench {
    char folder[32];
    struct store *store;
    struct session_table *sessions;
    struct http_check_header headers[4];
    struct http_check_request request;
};

static void bench_open(struct bench *bench)
{
    struct ij_err err = IJ_ERR_INIT;
    struct token_row row = row_of(TOKEN);
    *bench = (struct bench){.folder = "/tmp/auth-XXXXXX"};
    cr_assert_not_null(mkdtemp(bench->folder));
    cr_assert_eq(store_open(bench->folder, &bench->store, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(token_row_insert(bench->store, &row, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(session_table_new(&bench->sessions, &err), IJ_OK);
    bench->request.headers = bench->headers;
}

static void bench_close(struct bench *bench)
{
    store_close(bench->store);
    session_table_free(bench->sessions);
    cr_expect_eq(file_remove_tree(bench->folder, NULL), IJ_OK);
}

static void set_header(struct bench *bench, const char *name, const char *value)
{
    bench->request.header_count = 1;
    bench->headers[0] = (struct http_check_header){
        .name = name, .value = value, .name_size = strlen(name), .value_size = strlen(value)};
}

static enum ij_status identify(struct bench *bench, const struct auth_peer *peer,
                               struct auth_identity *ret_identity)
{
    struct auth_policy policy = {.admin_uid = 54321};
    struct ij_err err = IJ_ERR_INIT;
    return auth_identify(&bench->request, peer, &policy, bench->sessions, bench->store, 1000,
                         ret_identity, &err);
}

Test(auth, who_it_is)
{
    struct bench bench;
    struct auth_identity who;
    struct auth_peer tcp = {.known = false}, owner = {.known = true, .uid = 54321},
                     root = {.known = true, .uid = 0}, other = {.known = true, .uid = 54322};
    char cookie[128], secret[SESSION_SECRET_SIZE];
    bench_open(&bench);
    cr_expect_eq(identify(&bench, &tcp, &who), IJ_UNAUTHORIZED);
    cr_assert_eq(identify(&bench, &owner, &who), IJ_OK);
    cr_expect_eq(who.role, TOKEN_ROW_ADMIN);
    cr_assert_eq(identify(&bench, &root, &who), IJ_OK);
    cr_expect_eq(who.role, TOKEN_ROW_ADMIN);
    cr_assert_eq(identify(&bench, &other, &who), IJ_OK);
    cr_expect_eq(who.role, TOKEN_ROW_VIEWER);
    set_header(&bench, "Authorization", "Bearer " TOKEN);
    cr_assert_eq(identify(&bench, &tcp, &who), IJ_OK);
    cr_expect_str_eq(who.user, "alice");
    cr_expect_eq(who.role, TOKEN_ROW_SUBMITTER);
    cr_expect_not(who.by_cookie);
    set_header(&bench, "Authorization", "Bearer ijp_zz_" SECRET);
    cr_expect_eq(identify(&bench, &owner, &who), IJ_UNAUTHORIZED, "a wrong token beats the peer");
    cr_assert_eq(session_open(bench.sessions, "a1", 900, secret, NULL), IJ_OK);
    snprintf(cookie, sizeof cookie, "ijepad_session=%s", secret);
    set_header(&bench, "Cookie", cookie);
    cr_assert_eq(identify(&bench, &tcp, &who), IJ_OK);
    cr_expect(who.by_cookie);
    cr_assert_eq(token_row_revoke(bench.store, "a1", 950, NULL), IJ_OK);
    cr_expect_eq(identify(&bench, &tcp, &who), IJ_UNAUTHORIZED, "revoked under its session");
    bench_close(&bench);
}
