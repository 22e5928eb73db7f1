/* The parameter table: defaults, layers, every kind of refusal, and the documents made from it. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/params.h"
#include "daemon/params_table.h"

static enum ij_status parse(enum engine_kind kind, const char *text, struct engine_spec *spec,
                            json_t *errors, struct ij_err *err)
{
    json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(object, "test JSON: %s", text);
    enum ij_status status = params_from_json(kind, object, "/params", spec, errors, err);
    json_decref(object);
    return status;
}

static void expect_refusal(const char *text, const char *field, const char *part)
{
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    json_t *errors = json_array();
    cr_assert_neq(parse(ENGINE_PRETRAIN, text, &spec, errors, &err), IJ_OK, "%s", text);
    cr_assert_str_eq(err.field, field, "%s: field %s", text, err.field);
    cr_assert_not_null(strstr(err.text, part), "%s: \"%s\" lacks \"%s\"", text, err.text, part);
    cr_assert_geq(json_array_size(errors), 1);
    char pointer[200];
    snprintf(pointer, sizeof pointer, "/params/%s", field);
    cr_assert_str_eq(
        json_string_value(json_object_get(json_array_get(errors, 0), "pointer")), pointer);
    json_decref(errors);
}

Test(params, defaults_are_the_published_recipe)
{
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(parse(ENGINE_PRETRAIN, "{\"dataset\": \"/d\"}", &spec, NULL, &err), IJ_OK, "%s",
                 err.text);
    cr_assert_eq(spec.model.width, 384);
    cr_assert_eq(spec.masks.targets, 4);
    cr_assert_float_eq(spec.optimizer.ema_start, 0.996, 1e-12);
    cr_assert_float_eq(spec.optimizer.final_weight_decay, 0.4, 1e-12);
    cr_assert_eq(spec.loss, ENGINE_SMOOTH_L1);
    cr_assert_float_eq(spec.data.mean[1], 0.456, 1e-12);
}

Test(params, model_name_is_set_before_its_members)
{
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    const char *text = "{\"depth\": 6, \"dataset\": \"/d\", \"model\": \"vit_tiny\"}";
    cr_assert_eq(parse(ENGINE_PRETRAIN, text, &spec, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(spec.model.width, 192);
    cr_assert_eq(spec.model.depth, 6, "the explicit value wins, whatever the order");
}

Test(params, preset_below_own_values)
{
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    const char *text = "{\"dataset\": \"/d\", \"preset\": \"in1k_vith14_ep300\", \"epochs\": 70}";
    cr_assert_eq(parse(ENGINE_PRETRAIN, text, &spec, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(spec.model.width, 1280);
    cr_assert_eq(spec.model.patch, 14);
    cr_assert_eq(spec.optimizer.accumulate, 16);
    cr_assert_float_eq(spec.optimizer.epochs, 70, 1e-12);
}

Test(params, every_preset_is_valid)
{
    for (size_t i = 0; i < params_preset_count; i++) {
        struct engine_spec spec;
        struct ij_err err = IJ_ERR_INIT;
        char text[200];
        snprintf(text, sizeof text, "{\"dataset\": \"/d\", \"preset\": \"%s\"}",
                 params_preset_rows[i].name);
        cr_assert_eq(parse(params_preset_rows[i].kind, text, &spec, NULL, &err), IJ_OK, "%s: %s",
                     params_preset_rows[i].name, err.text);
        cr_assert_gt(strlen(params_preset_rows[i].source), 10);
    }
}

Test(params, refusals_name_the_key)
{
    expect_refusal("{\"dataset\": \"/d\", \"lrr\": 1}", "lrr", "did you mean \"lr\"");
    expect_refusal("{\"dataset\": \"/d\", \"bacth\": 1}", "bacth", "did you mean \"batch\"");
    expect_refusal("{\"dataset\": \"/d\", \"batch\": \"8\"}", "batch", "must be a number");
    expect_refusal("{\"dataset\": \"/d\", \"batch\": 1.5}", "batch", "whole number");
    expect_refusal("{\"dataset\": \"/d\", \"batch\": 0}", "batch", "between 1 and 65536");
    expect_refusal("{\"dataset\": \"/d\", \"batch\": 65537}", "batch", "got 65537");
    expect_refusal("{\"dataset\": \"/d\", \"flip\": 1}", "flip", "true or false");
    expect_refusal("{\"dataset\": \"/d\", \"crop_scale\": [1, 0.5]}", "crop_scale", "above");
    expect_refusal("{\"dataset\": \"/d\", \"crop_scale\": [1]}", "crop_scale", "array of 2");
    expect_refusal("{\"dataset\": \"/d\", \"sampler\": \"unbaised\"}", "sampler",
                   "did you mean \"unbiased\"");
    expect_refusal("{\"dataset\": \"/d\", \"model\": \"vit_smal\"}", "model",
                   "did you mean \"vit_small\"");
    expect_refusal("{\"dataset\": \"/d\", \"preset\": \"in1k_vith14_ep30\"}", "preset",
                   "did you mean \"in1k_vith14_ep300\"");
    expect_refusal("{\"dataset\": \"a\\nb\"}", "dataset", "control characters");
    expect_refusal("{}", "dataset", "required");
    expect_refusal("{\"dataset\": \"/d\", \"neighbors\": 3}", "neighbors", "for pretrain");
}

Test(params, masks_that_could_never_end_name_the_users_key)
{
    expect_refusal("{\"dataset\": \"/d\", \"crop\": 32, \"patch\": 4}", "min_keep", "");
}

Test(params, all_errors_are_listed)
{
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    json_t *errors = json_array();
    const char *text = "{\"dataset\": \"/d\", \"batch\": 0, \"nope\": 1, \"lr\": \"x\"}";
    cr_assert_neq(parse(ENGINE_PRETRAIN, text, &spec, errors, &err), IJ_OK);
    cr_assert_eq(json_array_size(errors), 3);
    json_decref(errors);
}

Test(params, to_json_reads_back_equal)
{
    struct engine_spec spec, again;
    struct ij_err err = IJ_ERR_INIT;
    const char *text = "{\"dataset\": \"/d\", \"model\": \"vit_tiny\", \"patch\": 8, \"lr\": 0.1,"
                       " \"seed\": 9007199254740991, \"mean\": [0.1, 0.2, 0.3]}";
    cr_assert_eq(parse(ENGINE_PRETRAIN, text, &spec, NULL, &err), IJ_OK, "%s", err.text);
    json_t *object = params_to_json(ENGINE_PRETRAIN, &spec);
    cr_assert_str_eq(json_string_value(json_object_get(object, "model")), "vit_tiny");
    cr_assert_eq(params_from_json(ENGINE_PRETRAIN, object, "", &again, NULL, &err), IJ_OK, "%s",
                 err.text);
    cr_assert_arr_eq(&spec, &again, sizeof spec);
    json_decref(object);
}

Test(params, schema_has_every_row_of_the_kind)
{
    json_t *schema = params_schema(ENGINE_KNN);
    json_t *properties = json_object_get(schema, "properties");
    cr_assert_not_null(json_object_get(properties, "neighbors"));
    cr_assert_null(json_object_get(properties, "lr"));
    cr_assert_eq(json_is_false(json_object_get(schema, "additionalProperties")), 1);
    json_t *patch = json_object_get(properties, "patch");
    cr_assert_eq(json_integer_value(json_object_get(patch, "default")), 16);
    json_decref(schema);
}

Test(params, markdown_names_every_parameter)
{
    mem_auto char *text = params_markdown();
    cr_assert_not_null(text);
    for (size_t i = 0; i < params_row_count; i++)
        cr_assert_not_null(strstr(text, params_rows[i].name), "%s", params_rows[i].name);
}
