/* Tokens and backups by request, with everything failing in turn: a request that is refused has
 * changed nothing, and the daemon can go on. */
#include "tests/unit/daemon_fixture.h"

#include "daemon/token_verb.h"

TestSuite(token_verb, .init = fixture_open, .fini = fixture_close);

static struct control_reply reply;
static json_t *body;
static const char *key;
static int64_t version;
static char id[16];

static enum ij_status ask(enum control_verb verb)
{
    const struct control_request request = {
        .verb = verb, .body = body, .actor = "ann", .address = "::1", .idempotency_key = key};
    control_reply_done(&reply);
    reply = (struct control_reply){.status = IJ_OK};
    return token_verb_handle(&daemon_, &request, &reply);
}

static enum ij_status asked(enum control_verb verb, struct ij_err *ret_err)
{
    enum ij_status status = ask(verb);
    *ret_err = reply.err;
    return status;
}

static void set_body(const char *text)
{
    json_decref(body);
    body = json_loads(text, 0, NULL);
    cr_assert_not_null(body, "%s", text);
}

static void refused(enum control_verb verb, const char *text, const char *field)
{
    set_body(text);
    cr_expect_eq(ask(verb), IJ_INVALID, "%s", text);
    cr_expect_str_eq(reply.err.field, field, "%s: %s", text, reply.err.text);
}

static size_t count_tokens(void)
{
    mem_auto struct token_row *rows = NULL;
    size_t count;
    OK(token_row_list(daemon_.store, 1000000, &rows, &count, &err));
    return count;
}

/* ---- What is wrong in a request -------------------------------------------------------------- */

Test(token_verb, wrong_requests_name_their_field)
{
    refused(CONTROL_TOKEN_CREATE, "[]", "");
    refused(CONTROL_TOKEN_CREATE, "{}", "/user");
    refused(CONTROL_TOKEN_CREATE, "{\"user\": 3}", "/user");
    refused(CONTROL_TOKEN_CREATE, "{\"user\": \"a b\", \"role\": \"admin\"}", "/user");
    refused(CONTROL_TOKEN_CREATE, "{\"user\": \"ann\"}", "/role");
    refused(CONTROL_TOKEN_CREATE, "{\"user\": \"ann\", \"role\": \"root\"}", "/role");
    refused(CONTROL_TOKEN_CREATE, "{\"usr\": \"ann\"}", "/usr");
    refused(CONTROL_TOKEN_CREATE, "{\"qqqqqqqqqq\": 1}", "/qqqqqqqqqq");
    refused(CONTROL_TOKEN_CREATE, "{\"user\":\"a\",\"role\":\"viewer\",\"note\":1}", "/note");
    refused(CONTROL_TOKEN_CREATE, "{\"user\":\"a\",\"role\":\"viewer\",\"expires_s\":0}",
            "/expires_s");
    refused(CONTROL_TOKEN_CREATE, "{\"user\":\"a\",\"role\":\"viewer\",\"expires_s\":\"1\"}",
            "/expires_s");
    refused(CONTROL_TOKEN_CREATE, "{\"user\":\"a\",\"role\":\"viewer\",\"expires_s\":316224001}",
            "/expires_s");
    refused(CONTROL_TOKEN_REVOKE, "{}", "/id");
    refused(CONTROL_TOKEN_REVOKE, "{\"id\": \"x\", \"ids\": 1}", "/ids");
    refused(CONTROL_BACKUP, "{\"file\": \"here.db\"}", "/file");
    refused(CONTROL_BACKUP, "{\"file\": 1}", "/file");
    refused(CONTROL_BACKUP, "{\"path\": \"/x\"}", "/path");
    char note[200], text[300];
    memset(note, 'n', 129);
    note[129] = '\0';
    snprintf(text, sizeof text, "{\"user\":\"a\",\"role\":\"viewer\",\"note\":\"%s\"}", note);
    refused(CONTROL_TOKEN_CREATE, text, "/note");
    set_body("{\"id\": \"nobody1\"}");
    cr_expect_eq(ask(CONTROL_TOKEN_REVOKE), IJ_NOT_FOUND);
    cr_expect_eq(count_tokens(), 0);
}

Test(token_verb, a_key_gives_the_same_token_without_its_secret)
{
    key = "k1";
    set_body("{\"user\":\"ann\",\"role\":\"admin\",\"expires_s\":60,\"note\":\"n\"}");
    cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    cr_expect(json_is_string(json_object_get(reply.details, "token")));
    cr_expect(json_is_string(json_object_get(reply.details, "expires")));
    snprintf(id, sizeof id, "%s", json_string_value(json_object_get(reply.details, "id")));
    cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    cr_expect(reply.replayed);
    cr_expect_str_eq(json_string_value(json_object_get(reply.details, "id")), id);
    cr_expect(json_is_null(json_object_get(reply.details, "token")));
    cr_expect(json_is_string(json_object_get(reply.details, "expires")));
    cr_expect_eq(count_tokens(), 1);
    set_body("{\"user\":\"bob\",\"role\":\"admin\"}");
    cr_expect_eq(ask(CONTROL_TOKEN_CREATE), IJ_INVALID, "the key is another request's");
    key = "k2";
    cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    cr_expect(json_is_null(json_object_get(reply.details, "expires")));
    cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    cr_expect(json_is_null(json_object_get(reply.details, "expires")));
}

/* ---- Everything fails in turn ---------------------------------------------------------------- */

/* Refused: nothing was stored. */
static void unchanged_if_refused(enum ij_status status, enum failing_kind kind)
{
    cr_assert(!store_in_transaction(daemon_.store));
    if (status != IJ_OK && !failing_is_vague(kind))
        cr_assert_eq(fixture_version(), version, "%s: %s", failing_names[kind], reply.err.text);
}

static void another_key(void)
{
    static int number;
    static char name[16];
    snprintf(name, sizeof name, "key%d", number++);
    key = name;
    set_body("{\"user\":\"ann\",\"role\":\"viewer\",\"note\":\"n\"}");
    version = fixture_version();
}

static enum ij_status create(struct ij_err *ret_err)
{
    return asked(CONTROL_TOKEN_CREATE, ret_err);
}

static void made_if_told(enum ij_status status, enum failing_kind kind)
{
    unchanged_if_refused(status, kind);
    if (status == IJ_OK)
        cr_assert_neq(fixture_version(), version);
}

static void made_before(void)
{
    if (!key) {
        another_key();
        cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    }
    version = fixture_version();
}

static void made_to_be_revoked(void)
{
    another_key();
    cr_assert_eq(ask(CONTROL_TOKEN_CREATE), IJ_OK, "%s", reply.err.text);
    snprintf(id, sizeof id, "%s", json_string_value(json_object_get(reply.details, "id")));
    json_decref(body);
    body = json_pack("{s:s}", "id", id);
    version = fixture_version();
}

static enum ij_status revoke_it(struct ij_err *ret_err)
{
    return asked(CONTROL_TOKEN_REVOKE, ret_err);
}

static void revoked_if_told(enum ij_status status, enum failing_kind kind)
{
    struct token_row row;
    unchanged_if_refused(status, kind);
    OK(token_row_get(daemon_.store, id, &row, &err));
    if (!failing_is_vague(kind))
        cr_assert_eq(row.revoked_ms != 0, status == IJ_OK);
}

Test(token_verb, tokens_with_everything_failing)
{
    const struct failing_scene making = {"create", another_key, create, made_if_told};
    const struct failing_scene again = {"create again", made_before, create, unchanged_if_refused};
    const struct failing_scene revoking = {"revoke", made_to_be_revoked, revoke_it,
                                           revoked_if_told};
    cr_expect_gt(failing_sweep(&making), 50);
    key = NULL;
    cr_expect_gt(failing_sweep(&again), 5);
    cr_expect_gt(failing_sweep(&revoking), 20);
}

static void no_copy(void)
{
    (void)unlink(fixture_path("copy.db"));
}

static enum ij_status copy(struct ij_err *ret_err)
{
    return asked(CONTROL_BACKUP, ret_err);
}

static void there_if_told(enum ij_status status, enum failing_kind kind)
{
    cr_assert_eq(access(fixture_path("copy.db"), F_OK) == 0, status == IJ_OK, "%s",
                 failing_names[kind]);
}

Test(token_verb, copies_with_everything_failing)
{
    const struct failing_scene scene = {"backup", no_copy, copy, there_if_told};
    body = json_pack("{s:s}", "file", fixture_path("copy.db"));
    cr_expect_gt(failing_sweep(&scene), 50);
    cr_expect_eq(ask(CONTROL_BACKUP), IJ_CONFLICT, "%s is there: %s", "copy.db", reply.err.text);
    set_body("{}");
    cr_assert_eq(ask(CONTROL_BACKUP), IJ_OK);
    cr_expect(reply.pending);
}
