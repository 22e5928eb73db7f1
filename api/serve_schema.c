/* The API's description of itself: OpenAPI, parameter schemas, presets, problem codes. */
#include "api/handlers.h"
#include "api/openapi.h"
#include "base/text.h"
#include "daemon/params.h"

enum ij_status serve_schema_openapi(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    (void)request;
    return reply_take_json(reply, openapi_document(), reterr_err);
}

enum ij_status serve_schema_kind(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    const char *name = request->match.args[0], *names[ENGINE_KIND_COUNT];
    enum engine_kind kind;
    if (params_kind_from_name(name, &kind))
        return reply_take_json(reply, params_schema(kind), reterr_err);
    for (int i = 0; i < ENGINE_KIND_COUNT; i++)
        names[i] = params_kind_name((enum engine_kind)i);
    const char *near = text_nearest(name, names, ENGINE_KIND_COUNT);
    if (near)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND,
                      "there is no kind of run \"%s\"; did you mean \"%s\"?", name, near);
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no kind of run \"%s\"", name);
}

enum ij_status serve_schema_presets(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    (void)request;
    return serve_runs_items(reply, params_presets(), reterr_err);
}

enum ij_status serve_schema_problem(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    unsigned http;
    const char *code = request->match.args[0], *title = problem_explain(code, &http);
    if (!title)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no problem code \"%s\"", code);
    return reply_take_json(
        reply, json_pack("{s:s, s:s, s:i}", "code", code, "title", title, "status", (int)http),
        reterr_err);
}
