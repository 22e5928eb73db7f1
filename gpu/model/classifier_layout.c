/* See classifier_layout.h. */
#include "gpu/model/classifier_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define HEAD_TENSORS 4
#define ALIGN_FLOATS 16
#define NOT_TRAINED  (-1)

static int64_t add(struct classifier_layout *l, const char *name, int dims, int64_t rows,
                   int64_t columns, enum layout_init init)
{
    struct layout_tensor *t = &l->tensors[l->count++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->dims = dims;
    t->shape[0] = (uint64_t)rows;
    t->shape[1] = (uint64_t)columns;
    t->count = dims > 1 ? rows * columns : rows;
    t->offset = l->floats;
    t->init = init;
    t->decay = dims > 1;
    l->floats += (t->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    return t->offset;
}

static void add_head(struct classifier_layout *l, int64_t width)
{
    l->floats = l->encoder.encoder_floats;
    l->norm_weight = add(l, "fc_norm.weight", 1, width, 0, LAYOUT_INIT_ONE);
    l->norm_bias = add(l, "fc_norm.bias", 1, width, 0, LAYOUT_INIT_ZERO);
    l->head_weight = add(l, "head.weight", 2, l->classes, width, LAYOUT_INIT_NORMAL);
    l->head_bias = add(l, "head.bias", 1, l->classes, 0, LAYOUT_INIT_ZERO);
}

static int64_t layer_of(const struct classifier_layout *l, const struct layout_tensor *tensor)
{
    long long block;
    if (!tensor->encoder)
        return l->layers - 1;
    if (strncmp(tensor->name, "encoder.patch_embed.", 20) == 0)
        return 0;
    if (sscanf(tensor->name, "encoder.blocks.%lld.", &block) == 1)
        return block + 1;
    return NOT_TRAINED;
}

/* Tensors come in order of their layers. */
static void fill_segments(struct classifier_layout *l)
{
    size_t count = 0;
    for (int64_t layer = 0; layer < l->layers; layer++) {
        l->first[layer] = count;
        for (size_t i = 0; i < l->count; i++)
            if (layer_of(l, &l->tensors[i]) == layer)
                l->segments[count++] = (struct parameter_segment){.offset = l->tensors[i].offset,
                                                                  .count = l->tensors[i].count,
                                                                  .decay = l->tensors[i].decay,
                                                                  .ema_offset = -1};
    }
    l->first[l->layers] = count;
}

enum ij_status classifier_layout_init(struct classifier_layout *layout,
                                      const struct vit_config *config, int64_t classes,
                                      struct ij_err *reterr_err)
{
    memset(layout, 0, sizeof *layout);
    IJ_TRY(layout_init(&layout->encoder, config, reterr_err));
    layout->classes = classes;
    layout->layers = config->encoder.depth + 2;
    layout->tensors = mem_array(struct layout_tensor, layout->encoder.count + HEAD_TENSORS);
    layout->segments = mem_array(struct parameter_segment, layout->encoder.count + HEAD_TENSORS);
    layout->first = mem_array(size_t, (size_t)layout->layers + 1);
    if (!layout->tensors || !layout->segments || !layout->first) {
        classifier_layout_done(layout);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier's table");
    }
    while (layout->encoder.tensors[layout->count].encoder) {
        layout->tensors[layout->count] = layout->encoder.tensors[layout->count];
        layout->count++;
    }
    add_head(layout, config->encoder.width);
    fill_segments(layout);
    return IJ_OK;
}

void classifier_layout_done(struct classifier_layout *layout)
{
    layout_done(&layout->encoder);
    mem_free(layout->tensors);
    mem_free(layout->segments);
    mem_free(layout->first);
    memset(layout, 0, sizeof *layout);
}

double classifier_layout_rate(const struct classifier_layout *layout, double decay, int64_t layer)
{
    return pow(decay, (double)(layout->layers - 1 - layer));
}
