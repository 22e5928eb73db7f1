/* Parameter layout, position tables, initial weights: names, order and values of public
 * checkpoints. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/layout.h"
#include "gpu/model/positions.h"
#include "gpu/model/weights_init.h"
#include "tests/unit/spec_fixture.h"

static struct layout layout;
static struct vit_config config;

static void open_layout(void)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    config = vit_config_from_spec(&spec);
    cr_assert_eq(layout_init(&layout, &config, NULL), IJ_OK);
}

static void close_layout(void)
{
    layout_done(&layout);
}

TestSuite(layout, .init = open_layout, .fini = close_layout);

Test(layout, names_in_public_order)
{
    static const char *const first[] = {
        "encoder.patch_embed.proj.weight",   "encoder.patch_embed.proj.bias",
        "encoder.blocks.0.norm1.weight",     "encoder.blocks.0.norm1.bias",
        "encoder.blocks.0.attn.qkv.weight",  "encoder.blocks.0.attn.qkv.bias",
        "encoder.blocks.0.attn.proj.weight", "encoder.blocks.0.attn.proj.bias",
        "encoder.blocks.0.norm2.weight",     "encoder.blocks.0.norm2.bias",
        "encoder.blocks.0.mlp.fc1.weight",   "encoder.blocks.0.mlp.fc1.bias",
        "encoder.blocks.0.mlp.fc2.weight",   "encoder.blocks.0.mlp.fc2.bias",
        "encoder.blocks.1.norm1.weight"};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        cr_expect_str_eq(layout.tensors[i].name, first[i]);
    size_t encoder = 12 * 12 + 4;
    cr_expect_str_eq(layout.tensors[encoder - 1].name, "encoder.norm.bias");
    cr_expect_str_eq(layout.tensors[encoder].name, "predictor.mask_token");
    cr_expect_str_eq(layout.tensors[encoder + 1].name, "predictor.predictor_embed.weight");
    cr_expect_str_eq(layout.tensors[encoder + 3].name, "predictor.predictor_blocks.0.norm1.weight");
    cr_expect_str_eq(layout.tensors[layout.count - 1].name, "predictor.predictor_proj.bias");
    char name[LAYOUT_TARGET_NAME_MAX];
    layout_target_name(&layout.tensors[2], name);
    cr_expect_str_eq(name, "target_encoder.blocks.0.norm1.weight");
}

/* Decay: matrices, the patch kernel and the mask token; the moving average: the encoder alone. */
Test(layout, segments_do_not_overlap_and_carry_the_rules)
{
    int64_t end = 0;
    for (size_t i = 0; i < layout.count; i++) {
        const struct layout_tensor *t = &layout.tensors[i];
        const struct parameter_segment *s = &layout.segments[i];
        cr_assert(t->offset >= end && t->offset % 16 == 0 && s->offset == t->offset);
        end = t->offset + t->count;
        bool vector = strstr(t->name, "bias") || strstr(t->name, "norm");
        cr_expect_eq(s->decay, !vector, "%s", t->name);
        cr_expect_eq(s->ema_offset, strncmp(t->name, "encoder.", 8) == 0 ? t->offset : -1);
    }
    cr_assert(end <= layout.floats);
}

/* Width 384, grid 14: dimensions 0, 1, 95, 96, 97, 191, 192, 193, 288, 383 (reference values). */
Test(layout, position_table)
{
    static const int dims[] = {0, 1, 95, 96, 97, 191, 192, 193, 288, 383};
    static const struct {
        int token;
        double values[10];
    } rows[] = {
        {1, {.841471, .788593, .000110, .540302, .614915, 1, 0, 0, 1, 1}},
        {14, {0, 0, 0, 1, 1, 1, .841471, .788593, .540302, 1}},
        {195,
         {.420167, -.685756, .001431, .907447, .727831, .999999, .420167, -.685756, .907447,
          .999999}},
    };
    mem_auto float *table = mem_array(float, 196 * 384);
    positions_fill(14, 384, table);
    for (size_t r = 0; r < COUNT_OF(rows); r++)
        for (int i = 0; i < 10; i++) {
            double value = (double)table[rows[r].token * 384 + dims[i]];
            cr_expect(fabs(value - rows[r].values[i]) < 1e-6, "token %d dim %d: %g", rows[r].token,
                      dims[i], value);
        }
}

static double deviation_of(const float *arena, const char *name)
{
    const struct layout_tensor *t = &layout.tensors[layout_find(&layout, name)];
    double mean = 0, square = 0;
    for (int64_t i = 0; i < t->count; i++) {
        double value = (double)arena[t->offset + i];
        mean += value / (double)t->count;
        square += value * value / (double)t->count;
    }
    cr_expect(fabs(mean) < 1e-3, "%s: mean %g", name, mean);
    return sqrt(square - mean * mean);
}

Test(layout, initial_weights)
{
    mem_auto float *arena = mem_array(float, (size_t)layout.floats);
    weights_init_fill(&layout, &config, 3, arena);
    for (size_t i = 0; i < layout.count; i++) {
        const struct layout_tensor *t = &layout.tensors[i];
        bool norm = strstr(t->name, "norm") != NULL, bias = strstr(t->name, "bias") != NULL;
        for (int64_t j = 0; (norm || bias) && j < t->count; j++)
            cr_assert_eq(arena[t->offset + j], bias ? 0.0f : 1.0f, "%s", t->name);
    }
    cr_expect(fabs(deviation_of(arena, "encoder.blocks.11.mlp.fc2.weight") / 0.02 - 1) < 0.02);
    cr_expect(fabs(deviation_of(arena, "encoder.patch_embed.proj.weight") / 0.02 - 1) < 0.02);
    config.init_rescale = true;
    weights_init_fill(&layout, &config, 3, arena);
    double last = 0.02 / sqrt(24);
    cr_expect(fabs(deviation_of(arena, "encoder.blocks.11.mlp.fc2.weight") / last - 1) < 0.02);
    cr_expect(fabs(deviation_of(arena, "encoder.blocks.11.attn.proj.weight") / last - 1) < 0.02);
    cr_expect(fabs(deviation_of(arena, "encoder.blocks.11.mlp.fc1.weight") / 0.02 - 1) < 0.02);
}

Test(layout, initial_weights_are_keyed_by_the_seed)
{
    mem_auto float *a = mem_array(float, (size_t)layout.floats);
    mem_auto float *b = mem_array(float, (size_t)layout.floats);
    weights_init_fill(&layout, &config, 3, a);
    weights_init_fill(&layout, &config, 3, b);
    cr_expect_arr_eq(a, b, (size_t)layout.floats * sizeof(float));
    weights_init_fill(&layout, &config, 4, b);
    cr_expect(memcmp(a, b, (size_t)layout.floats * sizeof(float)) != 0);
}

/* tests/golden/positions.py */
Test(positions, stretched_as_torch_does)
{
    json_t *root = json_load_file("tests/golden/positions.json", 0, NULL);
    json_t *cases = json_object_get(root, "cases"), *c;
    size_t i;
    cr_assert_geq(json_array_size(cases), 4, "run the tests from the root of the repository");
    json_array_foreach(cases, i, c)
    {
        int64_t from = json_integer_value(json_object_get(c, "from"));
        int64_t to = json_integer_value(json_object_get(c, "to"));
        int64_t width = json_integer_value(json_object_get(c, "width"));
        json_t *values = json_object_get(c, "values");
        float trained[36 * 8], table[49 * 8];
        cr_assert(from * from * width <= 36 * 8 && to * to * width <= 49 * 8);
        cr_assert_eq(json_array_size(values), (size_t)(to * to * width));
        positions_fill(from, width, trained);
        positions_stretch(from, trained, to, width, table);
        for (size_t v = 0; v < json_array_size(values); v++)
            cr_expect_float_eq((double)table[v], json_number_value(json_array_get(values, v)), 2e-7,
                               "case %zu value %zu", i, v);
    }
    json_decref(root);
}

/* The trained grid's own table where nothing changes; the new grid's where it is computed. */
Test(positions, of_a_model)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 64, 16);
    float wanted[25 * 192], table[25 * 192];
    spec.data.crop = 80;
    spec.eval.trained_crop = 64;
    struct vit_config at_80 = vit_config_from_spec(&spec);
    positions_fill(5, 192, wanted);
    cr_assert_eq(positions_encoder(&at_80, table, NULL), IJ_OK);
    cr_expect_arr_eq(table, wanted, sizeof table);
    spec.eval.positions = ENGINE_POSITIONS_BICUBIC;
    at_80 = vit_config_from_spec(&spec);
    cr_assert_eq(positions_encoder(&at_80, table, NULL), IJ_OK);
    cr_expect(memcmp(table, wanted, sizeof table) != 0);
    spec.eval.trained_crop = 80;
    at_80 = vit_config_from_spec(&spec);
    cr_assert_eq(positions_encoder(&at_80, table, NULL), IJ_OK);
    cr_expect_arr_eq(table, wanted, sizeof table);
}
