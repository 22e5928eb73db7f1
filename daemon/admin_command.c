/* See admin_command.h. */
#include "daemon/admin_command.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/token_verb.h"

#define LIST_MAX 1000

enum ij_status admin_command_first_token(struct store *store, const struct config *config,
                                         bool *ret_made, struct ij_err *reterr_err)
{
    mem_auto struct token_row *rows = NULL;
    struct token_row row;
    char text[TOKEN_VERB_TEXT_SIZE], path[CONFIG_PATH_MAX + 32];
    size_t count = 0;
    *ret_made = false;
    IJ_TRY(token_row_list(store, 1, &rows, &count, reterr_err));
    if (count)
        return IJ_OK;
    snprintf(path, sizeof(path), "%s/" ADMIN_COMMAND_TOKEN_FILE, config->state_dir);
    IJ_TRY(store_begin(store, reterr_err));
    enum ij_status status = token_verb_make(store, "admin", TOKEN_ROW_ADMIN, 0,
                                            "made at first start", &row, text, reterr_err);
    if (status == IJ_OK) {
        size_t size = strlen(text);
        text[size] = '\n';
        status = file_write_durable(path, text, size + 1, 0600, reterr_err);
    }
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status != IJ_OK)
        store_rollback(store);
    explicit_bzero(text, sizeof(text));
    *ret_made = status == IJ_OK;
    return status;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static enum ij_status open_writer(const struct config *config, struct store **ret_store,
                                  struct ij_err *reterr_err)
{
    enum ij_status status = store_open(config->state_dir, ret_store, reterr_err);
    if (status == IJ_BUSY)
        return IJ_ERR(reterr_err, IJ_BUSY,
                      "the daemon is running: use its API (POST /v1/tokens, DELETE "
                      "/v1/tokens/{id}) with a token of an administrator");
    return status;
}

static enum ij_status token_create(const struct admin_command *command, struct ij_err *reterr_err)
{
    enum token_row_role role;
    struct store *store = NULL;
    struct token_row row;
    char text[TOKEN_VERB_TEXT_SIZE];
    if (!command->user || !command->role)
        return IJ_ERR(reterr_err, IJ_INVALID, "token create needs --user NAME and --role ROLE");
    if (!token_row_role_from_name(command->role, &role))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "role",
                            "--role must be viewer, submitter, operator or admin, not \"%.60s\"",
                            command->role);
    int64_t expires_ms =
        command->expires_s ? clock_wall_ms() + (int64_t)command->expires_s * 1000 : 0;
    IJ_TRY(open_writer(command->config, &store, reterr_err));
    enum ij_status status =
        token_verb_make(store, command->user, role, expires_ms, "", &row, text, reterr_err);
    store_close(store);
    if (status == IJ_OK)
        printf("%s\n", text);
    explicit_bzero(text, sizeof(text));
    return status;
}

static enum ij_status token_revoke(const struct admin_command *command, const char *id,
                                   struct ij_err *reterr_err)
{
    struct store *store = NULL;
    IJ_TRY(open_writer(command->config, &store, reterr_err));
    enum ij_status status = token_row_revoke(store, id, clock_wall_ms(), reterr_err);
    store_close(store);
    if (status == IJ_NOT_FOUND)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no token %.60s", id);
    return status;
}

static void print_token(const struct token_row *row)
{
    char created[CLOCK_RFC3339_SIZE], expires[CLOCK_RFC3339_SIZE];
    clock_rfc3339(row->created_ms, created);
    clock_rfc3339(row->expires_ms, expires);
    printf("%-17s %-10s %-20s %s %s%s\n", row->id, token_row_role_name(row->role), row->user,
           created, row->expires_ms ? expires : "-", row->revoked_ms ? " revoked" : "");
}

static enum ij_status token_list(const struct admin_command *command, struct ij_err *reterr_err)
{
    struct store *store = NULL;
    mem_auto struct token_row *rows = NULL;
    size_t count = 0;
    IJ_TRY(store_reader_open(command->config->state_dir, &store, reterr_err));
    enum ij_status status = token_row_list(store, LIST_MAX, &rows, &count, reterr_err);
    store_close(store);
    IJ_TRY(status);
    for (size_t i = 0; i < count; i++)
        print_token(&rows[i]);
    return IJ_OK;
}

static enum ij_status backup(const struct admin_command *command, const char *path,
                             struct ij_err *reterr_err)
{
    struct store *store = NULL;
    IJ_TRY(store_reader_open(command->config->state_dir, &store, reterr_err));
    enum ij_status status = store_backup(store, false, path, reterr_err);
    store_close(store);
    return status;
}

static enum ij_status configuration(struct ij_err *reterr_err)
{
    struct buf page;
    buf_init(&page, 1 << 20);
    config_page(&page);
    enum ij_status status = buf_status(&page);
    if (status == IJ_OK)
        fputs(page.data, stdout);
    buf_done(&page);
    return status == IJ_OK ? IJ_OK : IJ_ERR(reterr_err, status, "no memory for the page");
}

enum ij_status admin_command_run(const struct admin_command *command, const char *const *places,
                                 size_t count, struct ij_err *reterr_err)
{
    static const char *const names[] = {"token", "backup", "configuration"};
    bool token = strcmp(places[0], "token") == 0;
    if (token && count == 2 && strcmp(places[1], "create") == 0)
        return token_create(command, reterr_err);
    if (token && count == 2 && strcmp(places[1], "list") == 0)
        return token_list(command, reterr_err);
    if (token && count == 3 && strcmp(places[1], "revoke") == 0)
        return token_revoke(command, places[2], reterr_err);
    if (token)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "expected: token create --user NAME --role ROLE, token list, or token revoke "
                      "ID");
    if (strcmp(places[0], "backup") == 0 && count == 2)
        return backup(command, places[1], reterr_err);
    if (strcmp(places[0], "configuration") == 0 && count == 1)
        return configuration(reterr_err);
    if (strcmp(places[0], "backup") == 0)
        return IJ_ERR(reterr_err, IJ_INVALID, "expected: backup FILE");
    const char *nearest = text_nearest(places[0], names, COUNT_OF(names));
    return IJ_ERR(reterr_err, IJ_INVALID, "unknown command \"%.60s\"%s%s%s", places[0],
                  nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}
