/* The model that an evaluation is about. Part of the engine's questions: no backend. */
#include "base/mem.h"
#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"
#include "gpu/model/mask_sizes.h"
#include "gpu/model/spec_json.h"

/* As gpu/eval does once it has opened the checkpoint. */
static enum ij_status take_model(const char *parameters, struct engine_spec *spec,
                                 struct ij_err *reterr_err)
{
    if (spec->kind != ENGINE_VISUALIZE)
        return spec_json_read_eval(parameters, spec, reterr_err);
    IJ_TRY(spec_json_read_model(parameters, spec, reterr_err));
    spec_json_read_masks(parameters, &spec->masks);
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    return mask_sizes_check(&rules, reterr_err);
}

enum ij_status engine_subject_read(const char *directory, struct engine_spec *spec,
                                   struct ij_err *reterr_err)
{
    struct checkpoint *checkpoint = NULL;
    IJ_TRY(checkpoint_open(directory, CHECKPOINT_CHECK_SIZES, &checkpoint, reterr_err));
    enum ij_status status =
        take_model(checkpoint_get_state(checkpoint)->parameters, spec, reterr_err);
    checkpoint_free(checkpoint);
    return status;
}

enum ij_status engine_subject_of(const struct engine_spec *trained, struct engine_spec *spec,
                                 struct ij_err *reterr_err)
{
    mem_auto char *parameters = spec_json_write(trained);
    if (!parameters)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a model's parameters");
    return take_model(parameters, spec, reterr_err);
}
