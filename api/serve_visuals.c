/*
 * Pictures of a run: what runs of kind "visualize" made of its checkpoints, by training step and
 * kind.
 *
 * A visualisation tells of each checkpoint it looked at which files it wrote (docs/formats.md).
 * Where several looked at one step, the newest counts. The files are those of serve_files.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/show.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/submit.h"
#include "store/checkpoint_row.h"
#include "store/result_row.h"
#include "store/run_row.h"

#define KIND        "visualize" /* of run, and the name of its result */
#define RUNS_MAX    500         /* looked at: the newest ones that have succeeded */
#define RESULTS_MAX 100

/* Is `row` a visualisation of a checkpoint of `run`, or `run` itself? */
static bool is_about(struct store *store, const struct run_row *row, int64_t run)
{
    json_t *params = row->resolved ? json_loads(row->resolved, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(params, "checkpoint"));
    struct checkpoint_row checkpoint;
    int64_t id = 0;
    bool about = row->id == run;
    if (!about && text && submit_parse_id(text, 'r', &id))
        about = id == run;
    else if (!about && text && submit_parse_id(text, 'c', &id))
        about = checkpoint_row_get(store, id, &checkpoint, NULL) == IJ_OK && checkpoint.run == run;
    json_decref(params);
    return about;
}

/* "pca-000000000468.png" is of kind "pca". */
static json_t *kinds_of(const json_t *shot)
{
    json_t *kinds = json_object(), *files = json_object_get(shot, "files");
    const char *grids = json_string_value(json_object_get(shot, "grids"));
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *name = json_string_value(json_array_get(files, i));
        char kind[64];
        if (!name)
            continue;
        (void)snprintf(kind, sizeof kind, "%.*s", (int)strcspn(name, "-."), name);
        (void)json_object_set_new(kinds, kind, json_string(name));
    }
    if (grids)
        (void)json_object_set_new(kinds, "grids", json_string(grids));
    return kinds;
}

static bool has_step(const json_t *items, json_int_t step)
{
    for (size_t i = 0; i < json_array_size(items); i++)
        if (json_integer_value(json_object_get(json_array_get(items, i), "step")) == step)
            return true;
    return false;
}

static void add_shots(const struct result_row *result, json_t *items)
{
    json_t *about = result->json ? json_loads(result->json, 0, NULL) : NULL;
    const json_t *shots = json_object_get(about, "checkpoints");
    for (size_t i = 0; i < json_array_size(shots); i++) {
        const json_t *shot = json_array_get(shots, i);
        json_int_t step = json_integer_value(json_object_get(shot, "step"));
        if (!has_step(items, step))
            (void)json_array_append_new(
                items, json_pack("{s:I, s:O?, s:O?, s:o, s:o, s:o}", "step", step, "epoch",
                                 json_object_get(shot, "epochs"), "sha256",
                                 json_object_get(shot, "sha256"), "run",
                                 json_sprintf("r%" PRId64, result->run), "created",
                                 show_time(result->created_ms), "kinds", kinds_of(shot)));
    }
    json_decref(about);
}

static enum ij_status add_run(struct store *store, int64_t run, json_t *items,
                              struct ij_err *reterr_err)
{
    struct result_row_list list;
    IJ_TRY(result_row_list(store, run, RESULTS_MAX, &list, reterr_err));
    for (size_t i = list.count; i > 0; i--) /* newest first */
        if (strcmp(list.rows[i - 1].name, KIND) == 0)
            add_shots(&list.rows[i - 1], items);
    result_row_list_done(&list);
    return IJ_OK;
}

/* One object for each step that was looked at, of the newest visualisations first. New reference in
 * *ret_items. */
static enum ij_status collect(struct request *request, json_t **ret_items,
                              struct ij_err *reterr_err)
{
    struct run_row_filter filter = {
        .states = RUN_STATE_BIT(RUN_STATE_SUCCEEDED), .kind = KIND, .limit = RUNS_MAX};
    struct run_row_list list;
    struct run_row row;
    struct store *store;
    int64_t run;
    IJ_TRY(request_id(request, 0, 'r', &run, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    run_row_done(&row);
    IJ_TRY(run_row_list(store, &filter, &list, reterr_err));
    json_t *items = json_array();
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < list.count && status == IJ_OK; i++)
        if (is_about(store, &list.rows[i], run))
            status = add_run(store, list.rows[i].id, items, reterr_err);
    run_row_list_done(&list);
    if (status == IJ_OK)
        *ret_items = items;
    else
        json_decref(items);
    return status;
}

enum ij_status serve_visuals_list(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    json_t *items = NULL;
    IJ_TRY(collect(request, &items, reterr_err));
    return serve_runs_items(reply, items, reterr_err);
}

/* File and run of that step and kind; both are the caller's memory. */
static bool find_file(const json_t *items, uint64_t step, const char *kind,
                      char ret_name[ROUTER_ARG_MAX + 1], int64_t *ret_run)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *run = json_string_value(json_object_get(item, "run"));
        const char *name = json_string_value(json_object_get(json_object_get(item, "kinds"), kind));
        if ((uint64_t)json_integer_value(json_object_get(item, "step")) != step || !name)
            continue;
        (void)snprintf(ret_name, ROUTER_ARG_MAX + 1, "%s", name);
        return submit_parse_id(run, 'r', ret_run);
    }
    return false;
}

enum ij_status serve_visuals_content(struct request *request, struct reply *reply,
                                     struct ij_err *reterr_err)
{
    const char *step_text = request->match.args[1], *kind = request->match.args[2];
    char name[ROUTER_ARG_MAX + 1];
    json_t *items = NULL;
    uint64_t step;
    int64_t run = 0;
    if (!text_to_u64(step_text, &step))
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "%s is no step", step_text);
    IJ_TRY(collect(request, &items, reterr_err));
    bool found = find_file(items, step, kind, name, &run);
    json_decref(items);
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no picture \"%s\" of step %s", kind,
                      step_text);
    return serve_files_reply(request, run, name, reply, reterr_err);
}
