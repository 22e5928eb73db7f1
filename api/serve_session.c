/* Browser sessions: a token is traded for a cookie that scripts cannot read. */
#include <string.h>

#include "api/handlers.h"
#include "api/show.h"
#include "base/clock.h"

static json_t *show_caller(const struct request *request)
{
    return json_pack("{s:s, s:s, s:o, s:b}", "user", request->who.user, "role",
                     token_row_role_name(request->who.role), "token",
                     show_text(request->who.token_id), "by_cookie", request->who.by_cookie);
}

enum ij_status serve_session_show(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    return reply_take_json(reply, show_caller(request), reterr_err);
}

enum ij_status serve_session_open(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    char secret[SESSION_SECRET_SIZE];
    if (!request->who.token_id[0] || request->who.by_cookie)
        return IJ_ERR(reterr_err, IJ_UNAUTHORIZED,
                      "a session is opened with a token: Authorization: Bearer ijp_...");
    IJ_TRY(session_open(request->api->sessions, request->who.token_id, clock_wall_ms(), secret,
                        reterr_err));
    reply_header(reply, "Set-Cookie", "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict",
                 SESSION_COOKIE, secret, SESSION_TTL_MS / 1000);
    return reply_take_json(reply, show_caller(request), reterr_err);
}

enum ij_status serve_session_close(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    char secret[SESSION_SECRET_SIZE];
    const char *cookie = request_header(request, "cookie");
    if (cookie && auth_cookie_secret(cookie, secret, sizeof secret))
        session_close(request->api->sessions, secret);
    reply_header(reply, "Set-Cookie", "%s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict",
                 SESSION_COOKIE);
    return reply_take_json(reply, json_pack("{s:b}", "closed", 1), reterr_err);
}
