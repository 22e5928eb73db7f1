/* A spec's model as JSON: round trip, damage, conflicts. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/spec_json.h"
#include "tests/unit/spec_fixture.h"

Test(spec_json, round_trip_keeps_the_model)
{
    struct engine_spec spec = spec_fixture("vit_giant", 224, 14), read = {.seed = 9};
    spec.model.pred_heads = 8;
    mem_auto char *text = spec_json_write(&spec);
    cr_assert_eq(spec_json_read_model(text, &read, NULL), IJ_OK);
    cr_expect_eq(read.seed, 9);
    cr_expect_eq(read.model.mlp_ratio, 48.0 / 11.0);
    cr_expect(read.data.crop == 224 && read.data.mean[2] == 0.406 && read.data.std[0] == 0.229);
    cr_expect(read.model.patch == 14 && read.model.width == 1408 && read.model.depth == 40);
    cr_expect(read.model.heads == 16 && read.model.pred_width == 384);
    cr_expect(read.model.pred_depth == 16 && read.model.pred_heads == 8);
    cr_expect_eq(spec_json_check_model(text, &spec, NULL), IJ_OK);
}

Test(spec_json, damage_is_named)
{
    static const struct {
        const char *from, *to, *field;
    } rows[] = {{"\"width\"", "\"wodth\"", "width"},
                {"\"depth\":12", "\"depth\":-2", "depth"},
                {"\"depth\":12", "\"depth\":\"\"", "depth"},
                {"\"patch\":16", "\"patch\":99999", "patch"}};
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    mem_auto char *text = spec_json_write(&spec);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ij_err err = IJ_ERR_INIT;
        struct engine_spec read = spec;
        char *at = strstr(text, rows[i].from);
        cr_assert(at, "%s", rows[i].from);
        mem_auto char *damaged =
            mem_printf("%.*s%s%s", (int)(at - text), text, rows[i].to, at + strlen(rows[i].from));
        cr_expect_eq(spec_json_read_model(damaged, &read, &err), IJ_CORRUPT, "%s", damaged);
        cr_expect_str_eq(err.field, rows[i].field);
        cr_expect_arr_eq(&read, &spec, sizeof spec, "left as it was");
    }
    struct engine_spec read = spec;
    cr_expect_eq(spec_json_read_model("[1]", &read, NULL), IJ_CORRUPT);
    cr_expect_eq(spec_json_read_model("", &read, NULL), IJ_CORRUPT);
}

Test(spec_json, conflicts_name_the_parameter)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct ij_err err = IJ_ERR_INIT;
    mem_auto char *text = spec_json_write(&spec);
    spec.optimizer.lr = 5e-4;  /* the recipe may change */
    spec.model.pred_heads = 3; /* as many as the encoder: what 0 means */
    cr_expect_eq(spec_json_check_model(text, &spec, &err), IJ_OK);
    spec.model.pred_heads = 6;
    cr_expect_eq(spec_json_check_model(text, &spec, &err), IJ_CONFLICT);
    cr_expect_str_eq(err.field, "model.pred_heads");
    spec.model.pred_heads = 0;
    spec.data.mean[1] = 0.5;
    cr_expect_eq(spec_json_check_model(text, &spec, &err), IJ_CONFLICT);
    cr_expect_str_eq(err.field, "data.mean");
}

Test(spec_json, a_model_at_another_size)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 64, 16), read = spec;
    struct ij_err err = IJ_ERR_INIT;
    char *text = spec_json_write(&spec);
    read.eval.crop = 32; /* 2 x 2 patches, the least */
    cr_assert_eq(spec_json_read_eval(text, &read, &err), IJ_OK, "%s", err.text);
    cr_expect(read.data.crop == 32 && read.eval.trained_crop == 64);
    read.eval.crop = 31;
    cr_assert_eq(spec_json_read_eval(text, &read, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "eval.crop");
    read.eval.crop = 0;
    cr_assert_eq(spec_json_read_eval(text, &read, NULL), IJ_OK);
    cr_expect(read.data.crop == 64 && read.eval.trained_crop == 64);
    mem_free(text);
}

Test(spec_json, masks_come_back)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 64, 16);
    struct engine_masks read;
    spec.masks.masking = ENGINE_MASKING_RANDOM;
    spec.masks.target_at = ENGINE_TARGET_AT_INPUT;
    spec.masks.sampler = ENGINE_MASKS_UNBIASED;
    spec.masks.masked_share = 0.45;
    char *text = spec_json_write(&spec);
    spec_json_read_masks(text, &read);
    cr_expect(read.masking == spec.masks.masking && read.target_at == spec.masks.target_at);
    cr_expect(read.sampler == spec.masks.sampler && read.masked_share == 0.45);
    cr_expect(read.targets == 4 && read.min_keep == 10 && read.target_scale[0] == 0.15);
    mem_free(text);
    spec_json_read_masks("{\"masking\":\"unheard of\"}", &read);
    cr_expect(read.masking == ENGINE_MASKING_MULTI_BLOCK && read.targets == 4);
    cr_expect(read.masked_share == 0.6 && read.min_keep == 0);
}
