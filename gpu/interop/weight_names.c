/* See weight_names.h. */
#include "gpu/interop/weight_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ENCODER_PREFIX "encoder."
#define BLOCKS_PREFIX  "blocks."

/* `hf` with %s stands for three names. */
static const struct {
    const char *official, *hf;
} in_block[] =
    {
        {"norm1.weight", "layernorm_before.weight"},
        {"norm1.bias", "layernorm_before.bias"},
        {"attn.qkv.weight", "attention.attention.*.weight"},
        {"attn.qkv.bias", "attention.attention.*.bias"},
        {"attn.proj.weight", "attention.output.dense.weight"},
        {"attn.proj.bias", "attention.output.dense.bias"},
        {"norm2.weight", "layernorm_after.weight"},
        {"norm2.bias", "layernorm_after.bias"},
        {"mlp.fc1.weight", "intermediate.dense.weight"},
        {"mlp.fc1.bias", "intermediate.dense.bias"},
        {"mlp.fc2.weight", "output.dense.weight"},
        {"mlp.fc2.bias", "output.dense.bias"},
},
  outside[] = {
      {"patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"},
      {"patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias"},
      {"norm.weight", "layernorm.weight"},
      {"norm.bias", "layernorm.bias"},
};

static void set_hf(const char *prefix, const char *name, struct weight_names *ret)
{
    static const char *const parts[WEIGHT_NAMES_PARTS_MAX] = {"query", "key", "value"};
    const char *star = strchr(name, '*');
    ret->parts = star ? WEIGHT_NAMES_PARTS_MAX : 1;
    if (!star)
        snprintf(ret->names[0], WEIGHT_NAMES_MAX, "%s%s", prefix, name);
    for (int i = 0; star && i < WEIGHT_NAMES_PARTS_MAX; i++)
        snprintf(ret->names[i], WEIGHT_NAMES_MAX, "%s%.*s%s%s", prefix, (int)(star - name), name,
                 parts[i], star + 1);
}

static void set_hf_block(const char *name, struct weight_names *ret)
{
    char prefix[WEIGHT_NAMES_MAX / 2];
    char *rest = NULL;
    unsigned long index = strtoul(name, &rest, 10);
    snprintf(prefix, sizeof prefix, "encoder.layer.%lu.", index);
    for (size_t i = 0; i < COUNT_OF(in_block); i++)
        if (strcmp(rest + 1, in_block[i].official) == 0)
            set_hf(prefix, in_block[i].hf, ret);
}

void weight_names_encoder(enum weight_names_style style, const struct layout_tensor *tensor,
                          struct weight_names *ret_names)
{
    IJ_ASSERT(tensor->encoder && strncmp(tensor->name, ENCODER_PREFIX, 8) == 0);
    const char *name = tensor->name + strlen(ENCODER_PREFIX);
    *ret_names = (struct weight_names){.parts = 0};
    if (style == WEIGHT_NAMES_OFFICIAL) {
        ret_names->parts = 1;
        snprintf(ret_names->names[0], WEIGHT_NAMES_MAX, "%s", name);
    } else if (strncmp(name, BLOCKS_PREFIX, strlen(BLOCKS_PREFIX)) == 0) {
        set_hf_block(name + strlen(BLOCKS_PREFIX), ret_names);
    } else {
        for (size_t i = 0; i < COUNT_OF(outside); i++)
            if (strcmp(name, outside[i].official) == 0)
                set_hf("", outside[i].hf, ret_names);
    }
    IJ_ASSERT(ret_names->parts > 0);
}

void weight_names_part_shape(const struct weight_names *names, const struct layout_tensor *tensor,
                             uint64_t ret_shape[LAYOUT_DIMS_MAX])
{
    memcpy(ret_shape, tensor->shape, sizeof tensor->shape);
    ret_shape[0] /= (uint64_t)names->parts;
}

const char *weight_names_positions(enum weight_names_style style)
{
    return style == WEIGHT_NAMES_HF ? "embeddings.position_embeddings" : "pos_embed";
}
