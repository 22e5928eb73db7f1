/* The three forms of a metric result, read back. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "api/metrics_out.h"

static float lows[] = {0.1f, -1.0f, NAN}, highs[] = {0.5f, 2.0f, NAN}, means[] = {0.3f, 0.5f, NAN},
             lasts[] = {0.4f, 1e-30f, INFINITY};
static uint64_t steps[] = {0, 64, 16777217};
static struct metric_series series[] = {
    {.key = "loss",
     .min = lows,
     .max = highs,
     .mean = means,
     .last = lasts,
     .count = 150,
     .nonfinite = 2},
    {.key = "lr", .min = highs, .max = highs, .mean = highs, .last = highs, .count = 150},
};
static struct metric_table table = {
    .run = 42, .stream = "train", .rows = 3, .columns = 2, .step = steps, .series = series};
static const struct metric_result result = {.tables = &table, .count = 1, .width = 64};

Test(metrics_out, json)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    metrics_out_json(&result, &buf);
    json_t *object = json_loadb(buf.data, buf.size, 0, NULL);
    cr_assert_not_null(object, "%s", buf.data);
    json_t *first = json_array_get(json_object_get(object, "tables"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(first, "run")), "r42");
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(first, "step"), 2)), 16777217);
    json_t *loss = json_array_get(json_object_get(first, "series"), 0);
    json_t *last = json_object_get(loss, "last");
    cr_expect_eq((float)json_real_value(json_array_get(last, 0)), 0.4f, "exactly");
    cr_expect_eq((float)json_real_value(json_array_get(last, 1)), 1e-30f, "exactly");
    cr_expect(json_is_null(json_array_get(last, 2)));
    cr_expect_eq(json_integer_value(json_object_get(loss, "nonfinite")), 2);
    json_decref(object);
    buf_done(&buf);
}

Test(metrics_out, csv)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    metrics_out_csv(&result, &buf);
    cr_expect_eq(strncmp(buf.data, "run,stream,step,key,min,max,mean,last\nr42,train,0,loss,", 55),
                 0, "%s", buf.data);
    cr_expect(strstr(buf.data, "r42,train,16777217,loss,nan,nan,nan,nan\n"), "%s", buf.data);
    size_t lines = 0;
    for (const char *c = buf.data; *c; c++)
        lines += *c == '\n';
    cr_expect_eq(lines, 1 + 2 * 3);
    buf_done(&buf);
}

/* Raw results have one column; the others are left out or empty. */
Test(metrics_out, raw)
{
    struct metric_series raw_series = {.key = "loss", .last = lasts, .count = 3};
    struct metric_table raw_table = {
        .run = 1, .stream = "train", .rows = 3, .columns = 1, .step = steps, .series = &raw_series};
    struct metric_result raw = {.tables = &raw_table, .count = 1, .width = 1};
    struct buf buf;
    buf_init(&buf, 1 << 20);
    metrics_out_json(&raw, &buf);
    cr_expect(strstr(buf.data, "\"last\":[") && !strstr(buf.data, "\"min\""), "%s", buf.data);
    buf_done(&buf);
    metrics_out_csv(&raw, &buf);
    cr_expect(strstr(buf.data, "\nr1,train,0,loss,,,,0.4"), "%s", buf.data);
    buf_done(&buf);
}

static json_int_t offset_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(object, key), "offset"));
}

Test(metrics_out, binary_columns_are_where_the_head_says)
{
    struct buf buf;
    uint32_t size;
    buf_init(&buf, 1 << 20);
    metrics_out_f32(&result, &buf);
    cr_assert_eq(buf_status(&buf), IJ_OK);
    cr_assert_eq(memcmp(buf.data, "IJF1", 4), 0);
    memcpy(&size, buf.data + 4, sizeof size);
    json_t *head = json_loadb(buf.data + 8, size, 0, NULL);
    cr_assert_not_null(head);
    json_t *first = json_array_get(json_object_get(head, "tables"), 0);
    json_int_t at = offset_of(first, "step");
    double step;
    cr_expect_eq(at, 8 + size);
    memcpy(&step, buf.data + at + 16, sizeof step);
    cr_expect_eq(step, 16777217.0);
    for (size_t s = 0; s < 2; s++) {
        json_t *each = json_array_get(json_object_get(first, "series"), s);
        const float *expected[] = {series[s].min, series[s].max, series[s].mean, series[s].last};
        const char *const keys[] = {"min", "max", "mean", "last"};
        for (size_t c = 0; c < 4; c++) {
            at = offset_of(each, keys[c]);
            cr_expect_eq(at % 8, 0);
            cr_assert_leq((size_t)at + 12, buf.size);
            cr_expect_eq(memcmp(buf.data + at, expected[c], 12), 0, "%zu %s", s, keys[c]);
        }
    }
    cr_expect_eq((size_t)at + 16, buf.size, "nothing after the last column but its padding");
    json_decref(head);
    buf_done(&buf);
}

Test(metrics_out, no_tables)
{
    struct metric_result none = {.tables = NULL, .count = 0, .width = 64};
    struct buf buf;
    buf_init(&buf, 4096);
    metrics_out_json(&none, &buf);
    cr_expect_str_eq(buf.data, "{\"width\":64,\"tables\":[]}");
    buf_done(&buf);
    metrics_out_f32(&none, &buf);
    cr_expect_eq(buf.size % 8, 0);
    buf_done(&buf);
}

Test(metrics_out, too_large_is_noticed)
{
    struct buf buf;
    buf_init(&buf, 64);
    metrics_out_f32(&result, &buf);
    cr_expect_eq(buf_status(&buf), IJ_TOO_LARGE);
    buf_done(&buf);
}
