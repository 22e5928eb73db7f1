/* What the results of evaluations have in common: figures over repetitions, and what the host gets
 * of a long one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/eval_result.h"

Test(eval_result, mean_and_deviation)
{
    const double values[] = {0.5, 0.6, 0.7};
    double mean, std;
    eval_result_mean_std(values, 3, &mean, &std);
    cr_assert_float_eq(mean, 0.6, 1e-12);
    cr_assert_float_eq(std, 0.1, 1e-12);
    eval_result_mean_std(values, 1, &mean, &std);
    cr_assert(mean == 0.5 && isnan(std));
    json_t *object = eval_result_top1(values, 3, 96);
    cr_assert_float_eq(json_number_value(json_object_get(object, "top1_error")), 0.05, 1e-12);
    cr_assert_eq(json_array_size(json_object_get(object, "top1_by_seed")), 3);
    json_decref(object);
}

static char *heard;

static enum ij_status hear(void *user, const char *name, const char *json)
{
    (void)user;
    cr_assert_str_eq(name, "linear_probe");
    mem_free(heard);
    heard = mem_strdup(json);
    return IJ_OK;
}

/* An object whose compact text is `bytes` long, most of it in "per_class". */
static json_t *sized(size_t bytes)
{
    json_t *object = json_pack("{s:{s:s}, s:f}", "trained", "per_class", "", "top1", 0.5);
    char *text = json_dumps(object, JSON_COMPACT);
    size_t rest = bytes - strlen(text);
    free(text);
    mem_auto char *filler = mem_array(char, rest + 1);
    memset(filler, 'x', rest);
    json_object_set_new(json_object_get(object, "trained"), "per_class", json_string(filler));
    return object;
}

Test(eval_result, the_host_gets_what_fits_and_the_file_has_it_all)
{
    char directory[] = "/tmp/test_eval_result.XXXXXX", path[64], *data;
    size_t size;
    struct engine_spec spec = {.kind = ENGINE_LINEAR_PROBE};
    const struct engine_sink sink = {.result = hear};
    cr_assert_not_null(mkdtemp(directory));
    snprintf(spec.directory, sizeof spec.directory, "%s", directory);
    snprintf(path, sizeof path, "%s/result.json", directory);
    json_t *fits = sized(EVAL_RESULT_BYTES_MAX), *over = sized(EVAL_RESULT_BYTES_MAX + 1);
    json_incref(fits);
    json_incref(over);
    cr_assert_eq(eval_result_publish(fits, &spec, &sink, "linear_probe", NULL), IJ_OK);
    json_t *got = json_loads(heard, 0, NULL);
    cr_assert(json_equal(got, fits));
    json_decref(got);
    cr_assert_eq(eval_result_publish(over, &spec, &sink, "linear_probe", NULL), IJ_OK);
    got = json_loads(heard, 0, NULL);
    cr_assert_null(json_object_get(json_object_get(got, "trained"), "per_class"));
    cr_assert_eq(json_number_value(json_object_get(got, "top1")), 0.5);
    cr_assert_eq(json_array_size(json_object_get(got, "omitted")), 2, "the first two by length");
    json_decref(got);
    cr_assert_eq(file_read(path, 1 << 20, &data, &size, NULL), IJ_OK);
    got = json_loads(data, 0, NULL);
    cr_assert(json_equal(got, over), "the file is whole");
    json_decref(got);
    json_decref(fits);
    json_decref(over);
    mem_free(data);
    mem_free(heard);
    (void)!file_remove_tree(directory, NULL);
}
