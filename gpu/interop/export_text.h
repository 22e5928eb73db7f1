/* The text files of an exported folder. Private to gpu/interop. */
#ifndef GPU_INTEROP_EXPORT_TEXT_H
#define GPU_INTEROP_EXPORT_TEXT_H

#include <jansson.h>

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"
#include "gpu/model/vit_config.h"

struct export_text {
    const struct engine_export *options;
    const struct engine_spec *spec;
    const struct vit_config *config;
    const struct checkpoint *checkpoint;
    const json_t *result; /* an evaluation's result.json; NULL: none */
};

/* New references; NULL: no memory. */
json_t *export_text_hf_config(const struct export_text *text);
json_t *export_text_hf_preprocessor(const struct export_text *text);
json_t *export_text_timm_config(const struct export_text *text);
/* README.md, the model card: which encoder, data, recipe, results. Caller frees; NULL: no memory.
 */
char *export_text_card(const struct export_text *text);

#endif
