/* The parameter layout. See layout.h. */
#include "gpu/model/layout.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define TENSORS_PER_BLOCK 12
#define TENSORS_OUTSIDE   11 /* patch embedding, norm; mask token, embedding, norm, projection */
#define ALIGN_FLOATS      16

/* Appends a tensor of shape (rows, ...) and returns its offset. Tensors of one dimension and biases
 * do not decay. */
static int64_t add(struct layout *l, const char *prefix, const char *name, int dims,
                   const int64_t *shape, enum layout_init init)
{
    struct layout_tensor *t = &l->tensors[l->count++];
    snprintf(t->name, sizeof t->name, "%s%s", prefix, name);
    t->dims = dims;
    t->count = 1;
    for (int i = 0; i < dims; i++) {
        t->shape[i] = (uint64_t)shape[i];
        t->count *= shape[i];
    }
    t->offset = l->floats;
    t->init = init;
    t->decay = dims > 1;
    t->encoder = strncmp(prefix, "encoder.", 8) == 0;
    l->floats += (t->count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    *(t->encoder ? &l->parameters_encoder : &l->parameters_predictor) += (uint64_t)t->count;
    return t->offset;
}

static int64_t add_vector(struct layout *l, const char *prefix, const char *name, int64_t count,
                          enum layout_init init)
{
    return add(l, prefix, name, 1, &count, init);
}

static int64_t add_matrix(struct layout *l, const char *prefix, const char *name, int64_t out,
                          int64_t in)
{
    return add(l, prefix, name, 2, (const int64_t[]){out, in}, LAYOUT_INIT_NORMAL);
}

static void add_block(struct layout *l, const char *stack, int64_t index,
                      const struct vit_stack *shape, struct layout_block *b)
{
    char p[LAYOUT_NAME_MAX / 2];
    int64_t d = shape->width, h = shape->hidden;
    snprintf(p, sizeof p, "%s.%lld.", stack, (long long)index);
    b->norm1_weight = add_vector(l, p, "norm1.weight", d, LAYOUT_INIT_ONE);
    b->norm1_bias = add_vector(l, p, "norm1.bias", d, LAYOUT_INIT_ZERO);
    b->qkv_weight = add_matrix(l, p, "attn.qkv.weight", 3 * d, d);
    b->qkv_bias = add_vector(l, p, "attn.qkv.bias", 3 * d, LAYOUT_INIT_ZERO);
    b->proj_weight = add_matrix(l, p, "attn.proj.weight", d, d);
    l->tensors[l->count - 1].rescale = index + 1;
    b->proj_bias = add_vector(l, p, "attn.proj.bias", d, LAYOUT_INIT_ZERO);
    b->norm2_weight = add_vector(l, p, "norm2.weight", d, LAYOUT_INIT_ONE);
    b->norm2_bias = add_vector(l, p, "norm2.bias", d, LAYOUT_INIT_ZERO);
    b->fc1_weight = add_matrix(l, p, "mlp.fc1.weight", h, d);
    b->fc1_bias = add_vector(l, p, "mlp.fc1.bias", h, LAYOUT_INIT_ZERO);
    b->fc2_weight = add_matrix(l, p, "mlp.fc2.weight", d, h);
    l->tensors[l->count - 1].rescale = index + 1;
    b->fc2_bias = add_vector(l, p, "mlp.fc2.bias", d, LAYOUT_INIT_ZERO);
}

static void add_encoder(struct layout *l, const struct vit_config *c)
{
    const char *p = "encoder.";
    int64_t d = c->encoder.width;
    l->patch_weight = add(l, p, "patch_embed.proj.weight", 4,
                          (const int64_t[]){d, 3, c->patch, c->patch}, LAYOUT_INIT_NORMAL);
    l->patch_bias = add_vector(l, p, "patch_embed.proj.bias", d, LAYOUT_INIT_ZERO);
    for (int64_t i = 0; i < c->encoder.depth; i++)
        add_block(l, "encoder.blocks", i, &c->encoder, &l->encoder_blocks[i]);
    l->norm_weight = add_vector(l, p, "norm.weight", d, LAYOUT_INIT_ONE);
    l->norm_bias = add_vector(l, p, "norm.bias", d, LAYOUT_INIT_ZERO);
    l->encoder_floats = l->floats;
}

static void add_predictor(struct layout *l, const struct vit_config *c)
{
    const char *p = "predictor.";
    int64_t d = c->encoder.width, w = c->predictor.width;
    l->mask_token = add(l, p, "mask_token", 3, (const int64_t[]){1, 1, w}, LAYOUT_INIT_NORMAL);
    l->embed_weight = add_matrix(l, p, "predictor_embed.weight", w, d);
    l->embed_bias = add_vector(l, p, "predictor_embed.bias", w, LAYOUT_INIT_ZERO);
    for (int64_t i = 0; i < c->predictor.depth; i++)
        add_block(l, "predictor.predictor_blocks", i, &c->predictor, &l->predictor_blocks[i]);
    l->pred_norm_weight = add_vector(l, p, "predictor_norm.weight", w, LAYOUT_INIT_ONE);
    l->pred_norm_bias = add_vector(l, p, "predictor_norm.bias", w, LAYOUT_INIT_ZERO);
    l->pred_proj_weight = add_matrix(l, p, "predictor_proj.weight", d, w);
    l->pred_proj_bias = add_vector(l, p, "predictor_proj.bias", d, LAYOUT_INIT_ZERO);
}

static void fill_segments(struct layout *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        l->segments[i] = (struct parameter_segment){.offset = t->offset,
                                                    .count = t->count,
                                                    .decay = t->decay,
                                                    .ema_offset = t->encoder ? t->offset : -1};
    }
}

enum ij_status layout_init(struct layout *layout, const struct vit_config *config,
                           struct ij_err *reterr_err)
{
    memset(layout, 0, sizeof *layout);
    size_t blocks = (size_t)(config->encoder.depth + config->predictor.depth);
    size_t tensors = blocks * TENSORS_PER_BLOCK + TENSORS_OUTSIDE;
    layout->tensors = mem_array(struct layout_tensor, tensors);
    layout->segments = mem_array(struct parameter_segment, tensors);
    layout->encoder_blocks = mem_array(struct layout_block, (size_t)config->encoder.depth);
    layout->predictor_blocks = mem_array(struct layout_block, (size_t)config->predictor.depth);
    if (!layout->tensors || !layout->segments || !layout->encoder_blocks ||
        !layout->predictor_blocks) {
        layout_done(layout);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the table of %zu parameters",
                      tensors);
    }
    add_encoder(layout, config);
    add_predictor(layout, config);
    IJ_ASSERT(layout->count == tensors);
    fill_segments(layout);
    return IJ_OK;
}

void layout_done(struct layout *layout)
{
    mem_free(layout->tensors);
    mem_free(layout->segments);
    mem_free(layout->encoder_blocks);
    mem_free(layout->predictor_blocks);
    memset(layout, 0, sizeof *layout);
}

size_t layout_find(const struct layout *layout, const char *name)
{
    size_t i = 0;
    while (i < layout->count && strcmp(layout->tensors[i].name, name) != 0)
        i++;
    return i;
}

void layout_target_name(const struct layout_tensor *tensor, char ret_name[LAYOUT_TARGET_NAME_MAX])
{
    IJ_ASSERT(tensor->encoder);
    snprintf(ret_name, LAYOUT_TARGET_NAME_MAX, "target_%s", tensor->name);
}
