/* POST /v1/preview/masks: the masks of one sample for a set of parameters; needs no run, no data.
 */
#include "api/handlers.h"
#include "api/json_in.h"
#include "base/mem.h"
#include "daemon/params.h"

#define DRAWS_MAX 1000 /* of a request: some milliseconds */

static json_t *indices(const uint16_t *patches, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_integer(patches[i]));
    return list;
}

static json_t *show_masks(const struct engine_mask_preview *preview)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < preview->blocks; i++)
        (void)json_array_append_new(list, indices(preview->targets[i], preview->target_count[i]));
    return json_pack("{s:i, s:o, s:o}", "grid", (int)preview->grid, "context",
                     indices(preview->context, preview->context_count), "targets", list);
}

/* {"draws": n, "counts": [[patches, draws that keep so many], ...]}, ascending. */
static enum ij_status show_kept(const struct engine_spec *spec, uint32_t draws, json_t *object,
                                struct ij_err *reterr_err)
{
    mem_auto uint32_t *counts = mem_array(uint32_t, ENGINE_PATCHES_MAX + 1);
    if (!counts)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the preview");
    IJ_TRY(engine_preview_kept(spec, draws, counts, reterr_err));
    json_t *list = json_array();
    for (uint32_t n = 0; n <= ENGINE_PATCHES_MAX; n++)
        if (counts[n])
            (void)json_array_append_new(list, json_pack("[i, i]", (int)n, (int)counts[n]));
    json_t *kept = json_pack("{s:i, s:o}", "draws", (int)draws, "counts", list);
    if (json_object_set_new(object, "kept", kept) < 0)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the preview");
    return IJ_OK;
}

/* The parameters, with a stand-in for the dataset, which masks do not depend on. */
static enum ij_status read_params(struct request *request, struct engine_spec *spec,
                                  struct ij_err *reterr_err)
{
    json_t *given = json_object_get(request->json, "params");
    if (given && !json_is_object(given))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/params", "must be an object");
    json_t *params = given ? json_copy(given) : json_object();
    json_t *errors = json_array();
    if (params && !json_object_get(params, "dataset"))
        (void)json_object_set_new(params, "dataset", json_string("/"));
    enum ij_status status =
        params_from_json(ENGINE_PRETRAIN, params, "/params", spec, errors, reterr_err);
    json_decref(params);
    if (status == IJ_OK)
        json_decref(errors);
    else
        request->problem.errors = errors;
    return status;
}

enum ij_status serve_masks_preview(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    static const char *const keys[] = {"params", "sample", "draws"};
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    mem_auto struct engine_mask_preview *preview = mem_new(struct engine_mask_preview);
    json_int_t sample = 0, draws = 0;
    if (!spec || !preview)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the preview");
    if (request->json)
        IJ_TRY(
            json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_integer(request->json, "sample", 0, INT64_MAX, &sample, reterr_err));
    IJ_TRY(json_in_integer(request->json, "draws", 0, DRAWS_MAX, &draws, reterr_err));
    IJ_TRY(read_params(request, spec, reterr_err));
    IJ_TRY(engine_preview_masks(spec, (uint64_t)sample, preview, reterr_err));
    json_t *object = show_masks(preview);
    enum ij_status status =
        object && draws ? show_kept(spec, (uint32_t)draws, object, reterr_err) : IJ_OK;
    if (status == IJ_OK)
        return reply_take_json(reply, object, reterr_err);
    json_decref(object);
    return status;
}
