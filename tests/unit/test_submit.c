/* Submissions: every key, each refusal with its pointer, and what comes out resolved. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/device.h"
#include "daemon/params.h"
#include "daemon/submit.h"
#include "daemon/submit_plan.h"

static char images[64];

/* A dataset for looks at the file system: two class folders with a file named like an image. */
static void make_images(void)
{
    static const char *const parts[] = {"/a/1.jpg", "/b/1.jpg"};
    char path[128];
    snprintf(images, sizeof(images), "/tmp/ijepad-submit-XXXXXX");
    cr_assert_not_null(mkdtemp(images));
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s%.2s", images, parts[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%s%s", images, parts[i]);
        FILE *file = fopen(path, "w");
        cr_assert_not_null(file);
        fclose(file);
    }
}

static void remove_images(void)
{
    cr_assert_eq(file_remove_tree(images, NULL), IJ_OK);
}

TestSuite(submit, .init = make_images, .fini = remove_images);

static bool run_exists(void *user, int64_t run)
{
    return run <= *(int64_t *)user;
}

/* `rest` goes after the kind and the parameters. */
static enum ij_status check(const char *params, const char *rest, struct submit_result *result,
                            json_t *errors, struct ij_err *err)
{
    char text[8192];
    int64_t last = 5;
    struct submit_lookup lookup = {.user = &last, .run_exists = run_exists};
    snprintf(text, sizeof(text), "{\"kind\": \"pretrain\", \"params\": {\"dataset\": \"%s\"%s}%s}",
             images, params, rest);
    json_error_t error;
    json_t *body = json_loads(text, 0, &error);
    cr_assert_not_null(body, "%s: %s", text, error.text);
    enum ij_status status = submit_check(body, &lookup, result, errors, err);
    json_decref(body);
    return status;
}

static void expect_refusal(const char *params, const char *rest, const char *pointer,
                           const char *part)
{
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    json_t *errors = json_array();
    cr_assert_neq(check(params, rest, &result, errors, &err), IJ_OK, "%s%s", params, rest);
    const json_t *first = json_array_get(errors, 0);
    const char *at = json_string_value(json_object_get(first, "pointer"));
    const char *detail = json_string_value(json_object_get(first, "detail"));
    cr_assert(at && detail, "%s%s: no list of errors", params, rest);
    cr_assert_str_eq(at, pointer, "%s%s: pointer %s", params, rest, at);
    cr_assert_not_null(strstr(detail, part), "%s%s: \"%s\" lacks \"%s\"", params, rest, detail,
                       part);
    json_decref(errors);
}

Test(submit, defaults_are_filled_in)
{
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(check("", "", &result, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_str_eq(result.name, "pretrain");
    cr_assert_eq(result.priority, 0);
    cr_assert_not(result.hold);
    const json_t *params = json_object_get(result.resolved, "params");
    cr_assert_eq(json_integer_value(json_object_get(params, "batch")), 128);
    submit_result_done(&result);
}

Test(submit, what_it_will_take)
{
    struct submit_result result;
    struct submit_lookup nobody = {.user = NULL};
    cr_assert_eq(check("", "", &result, NULL, NULL), IJ_OK);
    json_t *plan = submit_plan(&nobody, &result);
    cr_assert_gt(json_integer_value(json_object_get(plan, "parameters_encoder")), 0);
    cr_assert_gt(json_integer_value(json_object_get(plan, "bytes_total")),
                 json_integer_value(json_object_get(plan, "bytes_resident")));
    cr_assert_null(json_object_get(plan, "steps"), "the dataset's size is not known");
    json_decref(plan);
    submit_result_done(&result);
    cr_assert_eq(check(", \"limit\": 1280", "", &result, NULL, NULL), IJ_OK);
    plan = submit_plan(&nobody, &result);
    cr_assert_gt(json_integer_value(json_object_get(plan, "steps")), 0);
    json_decref(plan);
    submit_result_done(&result);
}

Test(submit, all_keys_are_taken)
{
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(
        check(", \"batch\": 4",
              ", \"name\": \"x.1\", \"priority\": -1000, \"tags\": [\"a\"], \"hold\": true,"
              " \"notes\": \"n\", \"after\": [\"r1\", {\"run\": \"r2\", \"on\": \"any\"}]",
              &result, NULL, &err),
        IJ_OK, "%s", err.text);
    cr_assert_str_eq(result.name, "x.1");
    cr_assert_eq(result.priority, -1000);
    cr_assert(result.hold);
    cr_assert_eq(result.after_count, 2);
    cr_assert_eq(result.after[0].run, 1);
    cr_assert_not(result.after[0].any);
    cr_assert(result.after[1].any);
    submit_result_done(&result);
}

Test(submit, refusals_point_at_the_key)
{
    expect_refusal("", ", \"nmae\": \"x\"", "/nmae", "did you mean \"name\"");
    expect_refusal("", ", \"name\": \"../x\"", "/name", "letters");
    expect_refusal("", ", \"name\": 7", "/name", "letters");
    expect_refusal("", ", \"priority\": 1001", "/priority", "-1000 to 1000");
    expect_refusal("", ", \"priority\": 1.5", "/priority", "whole number");
    expect_refusal("", ", \"tags\": [\"ok\", \"no space\"]", "/tags/1", "tag");
    expect_refusal("", ", \"hold\": 1", "/hold", "true or false");
    expect_refusal("", ", \"notes\": []", "/notes", "text");
    expect_refusal("", ", \"after\": \"r1\"", "/after", "array");
    expect_refusal("", ", \"after\": [\"1\"]", "/after/0", "expected \"r1\"");
    expect_refusal("", ", \"after\": [\"r01\"]", "/after/0", "expected \"r1\"");
    expect_refusal("", ", \"after\": [{\"run\": \"r1\", \"on\": \"never\"}]", "/after/0", "any");
    expect_refusal("", ", \"after\": [\"r6\"]", "/after/0", "no run r6");
    expect_refusal(", \"bacth\": 4", "", "/params/bacth", "did you mean \"batch\"");
    expect_refusal(", \"dataset\": \"/nonexistent\"", "", "/params/dataset", "/nonexistent");
}

Test(submit, limits_are_exact)
{
    char notes[SUBMIT_NOTES_MAX + 64];
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    for (int extra = 0; extra <= 1; extra++) {
        int n = snprintf(notes, sizeof(notes), ", \"notes\": \"");
        memset(notes + n, 'x', SUBMIT_NOTES_MAX + (size_t)extra);
        strcpy(notes + n + SUBMIT_NOTES_MAX + extra, "\"");
        if (extra) {
            expect_refusal("", notes, "/notes", "4096");
        } else {
            cr_assert_eq(check("", notes, &result, NULL, &err), IJ_OK, "%s", err.text);
            submit_result_done(&result);
        }
    }
}

Test(submit, several_problems_are_told_together)
{
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    json_t *errors = json_array();
    cr_assert_neq(check(", \"batch\": 0, \"lr\": \"x\"", ", \"priority\": \"x\", \"nots\": 1",
                        &result, errors, &err),
                  IJ_OK);
    cr_assert_eq(json_array_size(errors), 4);
    json_decref(errors);
}

Test(submit, a_checkpoint_of_a_run_waits_for_it)
{
    char text[256];
    struct submit_result result;
    struct ij_err err = IJ_ERR_INIT;
    snprintf(text, sizeof(text),
             "{\"kind\": \"knn\", \"params\": {\"dataset\": \"%s\", \"labels\": \"folder\", "
             "\"checkpoint\": \"r3\"}}",
             images);
    json_t *body = json_loads(text, 0, NULL);
    cr_assert_eq(submit_check(body, NULL, &result, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(result.after_count, 1);
    cr_assert_eq(result.after[0].run, 3);
    cr_assert(result.after[0].any);
    submit_result_done(&result);
    json_decref(body);
}

Test(submit, ids)
{
    int64_t id = 0;
    cr_assert(submit_parse_id("r42", 'r', &id));
    cr_assert_eq(id, 42);
    static const char *const bad[] = {"",    "r",  "r0", "r-1",
                                      "r1x", "c1", "42", "r99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_not(submit_parse_id(bad[i], 'r', &id), "%s", bad[i]);
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

static struct device_table *gpus_of(uint64_t first_gib, uint64_t second_gib, const char *unusable)
{
    static struct gpu_report report;
    struct device_table *table = NULL;
    memset(&report, 0, sizeof(report));
    report.state = GPU_REPORT_OK;
    report.gpu_count = 2;
    snprintf(report.unusable, sizeof(report.unusable), "%s", unusable);
    for (int i = 0; i < 2; i++) {
        struct gpu_report_gpu *gpu = &report.gpus[i];
        snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%d", i);
        gpu->compute_major = 9;
        gpu->memory_total_bytes = (i ? second_gib : first_gib) << 30;
    }
    cr_assert_eq(device_table_new(NULL, 0, &table, NULL), IJ_OK);
    (void)device_table_update(table, &report);
    return table;
}

static enum ij_status check_on(struct device_table *table, const char *params,
                               struct submit_result *result, json_t *errors, struct ij_err *err)
{
    char text[1024];
    struct submit_lookup lookup = {.devices = table};
    snprintf(text, sizeof(text), "{\"kind\": \"pretrain\", \"params\": {\"dataset\": \"%s\"%s}}",
             images, params);
    json_t *body = json_loads(text, 0, NULL);
    cr_assert_not_null(body);
    enum ij_status status = submit_check(body, &lookup, result, errors, err);
    json_decref(body);
    return status;
}

Test(submit, a_run_that_fits_no_gpu_is_refused_with_what_would)
{
    static const char *const huge =
        ", \"device\": \"cuda\", \"model\": \"vit_huge\", \"patch\": 14, "
        "\"batch\": 512, \"precision\": \"bfloat16\"";
    struct ij_err err = IJ_ERR_INIT;
    struct submit_result result;
    struct device_table *table = gpus_of(24, 80, "");
    json_t *errors = json_array();
    cr_assert_eq(check_on(table, huge, &result, errors, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "/params/batch");
    cr_assert_eq(json_array_size(errors), 1);
    cr_assert(strstr(err.text, "the largest GPU here has 80.00"), "%s", err.text);
    unsigned fits = 0;
    const char *at = strstr(err.text, "a batch of ");
    cr_assert(at && sscanf(at, "a batch of %u would fit", &fits) == 1, "%s", err.text);
    cr_assert(fits > 128 && fits < 512, "%s", err.text);
    cr_assert(strstr(err.text, "batch 128 with accumulate 4"), "%s", err.text);
    char params[256];
    for (unsigned more = 0; more < 2; more++) {
        snprintf(params, sizeof(params), "%.*s\"batch\": %u, \"precision\": \"bfloat16\"",
                 (int)(strstr(huge, "\"batch\"") - huge), huge, fits + more);
        enum ij_status status = check_on(table, params, &result, errors, &err);
        cr_assert_eq(status, more ? IJ_INVALID : IJ_OK, "batch %u", fits + more);
        if (status == IJ_OK) {
            cr_assert_gt(result.gpu_memory_bytes, (int64_t)24 << 30, "not on the small one");
            submit_result_done(&result);
        }
    }
    json_decref(errors);
    device_table_free(table);
}

/* Run 7 is a pretraining of the huge model; of no other is anything known. */
static bool huge_run(void *user, int64_t run, struct engine_spec *ret_spec)
{
    (void)user;
    json_t *params = json_loads("{\"model\": \"vit_huge\", \"patch\": 14}", 0, NULL);
    json_object_set_new(params, "dataset", json_string(images));
    enum ij_status status =
        params_from_json(ENGINE_PRETRAIN, params, "/params", ret_spec, NULL, NULL);
    json_decref(params);
    return run == 7 && status == IJ_OK;
}

static enum ij_status check_kind_on(struct device_table *table, const char *kind,
                                    const char *checkpoint, const char *params,
                                    struct submit_result *result, struct ij_err *err)
{
    struct submit_lookup lookup = {.devices = table, .run_spec = huge_run};
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"kind\": \"%s\", \"params\": {\"dataset\": \"%s\", \"device\": \"cuda\"%s%s%s%s}}",
             kind, images, checkpoint[0] ? ", \"checkpoint\": \"" : "", checkpoint,
             checkpoint[0] ? "\"" : "", params);
    json_t *body = json_loads(text, 0, NULL);
    cr_assert_not_null(body, "%s", text);
    enum ij_status status = submit_check(body, &lookup, result, NULL, err);
    json_decref(body);
    return status;
}

/* The model is the checkpoint's, which need not be there yet. What is refused on a GPU of 4 GiB
 * runs on one of 80, or fits as the answer says. */
Test(submit, of_every_kind_that_fits_no_gpu_is_refused)
{
    static const struct {
        const char *kind, *checkpoint, *params, *field, *fits;
    } rows[] = {
        {"knn", "r7", "", "/params/eval_batch", ", \"eval_batch\": %u"},
        {"features", "r7", "", "/params/eval_batch", ", \"eval_batch\": %u"},
        {"linear_probe", "r7", ", \"eval_batch\": 4096", "/params/eval_batch",
         ", \"eval_batch\": %u"},
        {"low_shot", "r7", "", "/params/eval_batch", ", \"eval_batch\": %u"},
        {"finetune", "r7", ", \"batch\": 64", "/params/batch", NULL},
        {"visualize", "r7", "", "/params/images", NULL},
        {"benchmark", "", ", \"model\": \"vit_base\", \"batch\": 512", "/params/batch",
         ", \"model\": \"vit_base\", \"batch\": %u"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ij_err err = IJ_ERR_INIT;
        struct submit_result result;
        struct device_table *table = gpus_of(4, 3, "");
        const char *kind = rows[i].kind, *checkpoint = rows[i].checkpoint;
        enum ij_status status =
            check_kind_on(table, kind, checkpoint, rows[i].params, &result, &err);
        cr_assert_eq(status, IJ_INVALID, "%s", kind);
        cr_assert_str_eq(err.field, rows[i].field, "%s: %s", kind, err.text);
        cr_assert(strstr(err.text, "the largest GPU here has 4.00"), "%s", err.text);
        const char *at = strstr(err.text, "a batch of ");
        unsigned fits = 0;
        if (rows[i].fits) {
            char params[128];
            cr_assert(at && sscanf(at, "a batch of %u would fit", &fits) == 1, "%s", err.text);
            snprintf(params, sizeof(params), rows[i].fits, fits);
            status = check_kind_on(table, kind, checkpoint, params, &result, &err);
            cr_assert_eq(status, IJ_OK, "%s of %u: %s", kind, fits, err.text);
            cr_assert_gt(result.gpu_memory_bytes, (int64_t)3 << 30, "%s: not on the other", kind);
            submit_result_done(&result);
        } else {
            cr_assert(strstr(err.text, "not even"), "%s: %s", kind, err.text);
        }
        device_table_free(table);
        table = gpus_of(4, 80, "");
        status = check_kind_on(table, kind, checkpoint, rows[i].params, &result, &err);
        cr_assert_eq(status, IJ_OK, "%s: %s", kind, err.text);
        cr_assert_gt(result.gpu_memory_bytes, (int64_t)4 << 30, "%s", kind);
        submit_result_done(&result);
        device_table_free(table);
    }
}

/* A model that nobody knows yet is left to the worker, and so is a kind that needs no device. */
Test(submit, what_is_not_known_is_not_refused)
{
    struct ij_err err = IJ_ERR_INIT;
    struct submit_result result;
    struct device_table *table = gpus_of(1, 1, "");
    cr_assert_eq(check_kind_on(table, "knn", "r8", "", &result, &err), IJ_OK, "%s", err.text);
    struct submit_lookup nobody = {.devices = table};
    json_t *plan = submit_plan(&nobody, &result);
    cr_assert(json_is_null(plan) && result.gpu_memory_bytes == 0);
    submit_result_done(&result);
    cr_assert_eq(check_kind_on(table, "benchmark", "", ", \"what\": \"loader\"", &result, &err),
                 IJ_OK, "%s", err.text);
    plan = submit_plan(&nobody, &result);
    cr_assert_eq(json_integer_value(json_object_get(plan, "bytes_total")), 0);
    json_decref(plan);
    submit_result_done(&result);
    device_table_free(table);
}

/* The pointers of a submission's errors, one after the other. */
static void pointers_of(const char *text, const char *roots, char *ret_pointers, size_t size)
{
    struct submit_result result;
    struct submit_lookup lookup = {.data_roots = roots};
    json_t *body = json_loads(text, 0, NULL), *errors = json_array();
    cr_assert_not_null(body, "%s", text);
    if (submit_check(body, &lookup, &result, errors, NULL) == IJ_OK)
        submit_result_done(&result);
    ret_pointers[0] = '\0';
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const json_t *pointer = json_object_get(json_array_get(errors, i), "pointer");
        size_t used = strlen(ret_pointers);
        snprintf(ret_pointers + used, size - used, "%s ", json_string_value(pointer));
    }
    json_decref(body);
    json_decref(errors);
}

Test(submit, every_text_that_names_files_stays_within_the_roots)
{
    static const char *const rows[][3] = {
        {"pretrain", "dataset", ""},      {"pretrain", "eval_dataset", ""},
        {"pretrain", "init_from", ""},    {"features", "checkpoint", ""},
        {"low_shot", "split_list", ""},   {"visualize", "reference", ""},
        {"features", "dataset", "r7"},    {"features", "eval_dataset", "c7"},
        {"pretrain", "init_from", "set"},
    };
    char text[1024], pointers[256], expected[64], inside[sizeof images + 2];
    snprintf(inside, sizeof(inside), "%s/a", images);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path = rows[i][2][0] ? rows[i][2] : "/etc";
        bool dataset = strcmp(rows[i][1], "dataset") == 0;
        bool visualize = strcmp(rows[i][0], "visualize") == 0; /* needs a checkpoint */
        snprintf(text, sizeof(text), "{\"kind\": \"%s\", \"params\": {%s%s%s%s\"%s\": \"%s\"}}",
                 rows[i][0], visualize ? "\"checkpoint\": \"r7\", " : "",
                 dataset ? "" : "\"dataset\": \"", dataset ? "" : inside, dataset ? "" : "\", ",
                 rows[i][1], path);
        pointers_of(text, inside, pointers, sizeof(pointers));
        snprintf(expected, sizeof(expected), "/params/%s ", rows[i][1]);
        cr_expect(strncmp(pointers, expected, strlen(expected)) == 0, "%s: \"%s\"", text, pointers);
    }
}

Test(submit, auto_is_a_gpu_where_workers_can_compute_on_one)
{
    struct ij_err err = IJ_ERR_INIT;
    struct submit_result result;
    struct device_table *table = gpus_of(24, 80, "");
    unsetenv("IJEPAD_DEVICE");
    cr_assert_eq(check_on(table, "", &result, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert(result.on_gpu);
    submit_result_done(&result);
    setenv("IJEPAD_DEVICE", "host", 1);
    cr_assert_eq(check_on(table, "", &result, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_not(result.on_gpu);
    submit_result_done(&result);
    unsetenv("IJEPAD_DEVICE");
    cr_assert_eq(check_on(table, ", \"device\": \"host\"", &result, NULL, &err), IJ_OK);
    cr_assert_not(result.on_gpu);
    submit_result_done(&result);
    device_table_free(table);
    table = gpus_of(24, 80, "this build has no CUDA backend");
    cr_assert_eq(check_on(table, "", &result, NULL, &err), IJ_OK, "%s", err.text);
    cr_assert_not(result.on_gpu);
    submit_result_done(&result);
    device_table_free(table);
}
