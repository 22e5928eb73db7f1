/* See submit_plan.h. */
#include "daemon/submit_plan.h"

#include <math.h>

#include "base/mem.h"
#include "daemon/submit_memory.h"

static json_t *plan_json(const struct engine_plan *plan)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "parameters_encoder",
        (json_int_t)plan->parameters_encoder, "parameters_predictor",
        (json_int_t)plan->parameters_predictor, "bytes_parameters",
        (json_int_t)plan->bytes_parameters, "bytes_optimizer", (json_int_t)plan->bytes_optimizer,
        "bytes_activations", (json_int_t)plan->bytes_activations, "bytes_input",
        (json_int_t)plan->bytes_input, "bytes_scratch", (json_int_t)plan->bytes_scratch,
        "bytes_total", (json_int_t)plan->bytes_total, "bytes_resident",
        (json_int_t)plan->bytes_resident, "bytes_checkpoint", (json_int_t)plan->bytes_checkpoint,
        "flop_per_image", isfinite(plan->flop_per_image) ? plan->flop_per_image : 0.0, "steps",
        (json_int_t)plan->steps);
}

json_t *submit_plan(const struct submit_lookup *lookup, const struct submit_result *result)
{
    struct engine_plan plan;
    const struct engine_data *data = &result->spec.data;
    uint64_t images = data->limit ? data->limit : result->spec.optimizer.batch;
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return NULL;
    *spec = result->spec;
    spec->device = result->on_gpu ? ENGINE_DEVICE_CUDA : ENGINE_DEVICE_HOST;
    if (!submit_memory_subject(lookup, spec) || engine_plan(spec, images, &plan, NULL) != IJ_OK)
        return json_null();
    json_t *object = plan_json(&plan);
    if (!data->limit)
        (void)json_object_del(object, "steps");
    return object;
}
