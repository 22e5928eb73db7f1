/* See submit_memory.h. */
#include "daemon/submit_memory.h"

#include <stdio.h>

#include "base/mem.h"
#include "daemon/device.h"

bool submit_memory_subject(const struct submit_lookup *lookup, struct engine_spec *spec)
{
    char path[ENGINE_PATH_MAX];
    const char *text = spec->eval.checkpoint;
    int64_t id;
    if (!text[0])
        return true;
    if (submit_parse_id(text, 'r', &id)) {
        mem_auto struct engine_spec *trained = mem_new(struct engine_spec);
        return trained && lookup && lookup->run_spec &&
               lookup->run_spec(lookup->user, id, trained) &&
               engine_subject_of(trained, spec, NULL) == IJ_OK;
    }
    if (submit_parse_id(text, 'c', &id)) {
        if (!lookup || !lookup->checkpoint_path ||
            !lookup->checkpoint_path(lookup->user, id, path, sizeof(path)))
            return false;
        text = path;
    }
    return engine_subject_read(text, spec, NULL) == IJ_OK;
}

bool submit_memory_check(const struct submit_lookup *lookup, struct submit_result *result,
                         struct submit_memory_problem *ret_problem)
{
    const double gib = 1 << 30;
    struct engine_plan plan;
    struct engine_fit fit;
    char text[160];
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return false;
    *spec = result->spec;
    if (!submit_memory_subject(lookup, spec) || engine_plan_memory(spec, &plan, NULL) != IJ_OK ||
        plan.bytes_total == 0)
        return false;
    uint64_t needed = plan.bytes_total + ENGINE_CONTEXT_BYTES;
    struct device_room room = device_table_room(lookup->devices, needed);
    if ((uint64_t)result->gpu_memory_bytes < needed && room.gpus > 0)
        result->gpu_memory_bytes = (int64_t)needed;
    if (room.gpus == 0 || room.large_enough > 0)
        return false;
    uint64_t usable =
        room.largest_bytes > ENGINE_CONTEXT_BYTES ? room.largest_bytes - ENGINE_CONTEXT_BYTES : 0;
    if (engine_fit(spec, usable, &fit, NULL) != IJ_OK)
        return false;
    engine_fit_text(&fit, text, sizeof(text));
    ret_problem->field = fit.field;
    snprintf(ret_problem->text, sizeof(ret_problem->text),
             "the run needs %.2f GiB of a GPU's memory and the largest GPU here has %.2f: %s",
             (double)needed / gib, (double)room.largest_bytes / gib, text);
    return true;
}
