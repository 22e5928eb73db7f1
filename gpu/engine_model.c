/* Named encoder shapes. Part of the engine's questions: no backend. See engine.h. */
#include <string.h>

#include "base/mem.h"
#include "gpu/engine.h"

/* Predictor depths: the I-JEPA paper, appendix A.1; tiny and small are not in it. */
static const struct {
    const char *name;
    uint32_t width, depth, heads;
    double mlp_ratio;
    uint32_t pred_depth;
} shapes[] = {
    {"vit_tiny", 192, 12, 3, 4.0, 6},    {"vit_small", 384, 12, 6, 4.0, 6},
    {"vit_base", 768, 12, 12, 4.0, 6},   {"vit_large", 1024, 24, 16, 4.0, 12},
    {"vit_huge", 1280, 32, 16, 4.0, 12}, {"vit_giant", 1408, 40, 16, 48.0 / 11.0, 16},
};

bool engine_model_by_name(const char *name, struct engine_model *model)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0) {
            model->width = shapes[i].width;
            model->depth = shapes[i].depth;
            model->heads = shapes[i].heads;
            model->mlp_ratio = shapes[i].mlp_ratio;
            model->pred_depth = shapes[i].pred_depth;
            return true;
        }
    return false;
}
