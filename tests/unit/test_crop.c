/* Crops against Pillow's, from files to pixels, and the rules of the boxes. */
#include "tests/unit/image_fixture.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#define GOLDEN "tests/golden/images"

struct golden {
    char *data; /* the whole safetensors file */
    json_t *header;
    const uint8_t *blobs;
};

static bool golden_open(const char *path, struct golden *golden)
{
    size_t size;
    uint64_t length;
    if (file_read(path, 64u << 20, &golden->data, &size, NULL) != IJ_OK)
        return false;
    memcpy(&length, golden->data, 8);
    golden->header = json_loadb(golden->data + 8, length, 0, NULL);
    golden->blobs = (const uint8_t *)golden->data + 8 + length;
    cr_assert_not_null(golden->header);
    return true;
}

static uint32_t number(const json_t *object, const char *key, const char *other)
{
    const json_t *value = json_object_get(object, key);
    return (uint32_t)json_integer_value(value ? value : json_object_get(object, other));
}

static enum resize_filter filter_of(const json_t *crop)
{
    const char *name = json_string_value(json_object_get(crop, "filter"));
    return name && strcmp(name, "bicubic") == 0 ? RESIZE_BICUBIC : RESIZE_BILINEAR;
}

/* What the case asks for: a box and an output size, or the centre crop of a size. */
static struct crop_plan plan_of(const json_t *crop, const struct image_info *info)
{
    const json_t *center = json_object_get(crop, "center");
    if (center)
        return crop_center(info->width, info->height, (uint32_t)json_integer_value(center));
    uint32_t width = number(crop, "out_w", "size"), height = number(crop, "out_h", "size");
    struct image_box box = {number(crop, "x", ""), number(crop, "y", ""), number(crop, "w", ""),
                            number(crop, "h", "")};
    return (struct crop_plan){.box = box,
                              .x = {box.width, width, 0, width},
                              .y = {box.height, height, 0, height},
                              .filter = filter_of(crop)};
}

/* Makes the case's pixels; the caller frees. */
static uint8_t *make_pixels(const char *file, size_t size, const json_t *crop,
                            enum resize_level level, size_t *ret_bytes)
{
    struct image_reader *reader;
    struct resizer *resizer;
    struct image_info info;
    struct image_strip strip;
    cr_assert_eq(image_reader_new(&reader, NULL), IJ_OK);
    cr_assert_eq(resize_new(&resizer, NULL), IJ_OK);
    cr_assert(resize_use(resizer, level));
    cr_assert_eq(image_reader_open(reader, (const uint8_t *)file, size, &info, NULL), IJ_OK);
    struct crop_plan plan = plan_of(crop, &info);
    *ret_bytes = (size_t)plan.x.count * plan.y.count * 3;
    uint8_t *out = mem_array(uint8_t, *ret_bytes);
    cr_assert_not_null(out);
    cr_assert_eq(resize_start(resizer, &plan.x, &plan.y, plan.filter, false, out, NULL), IJ_OK);
    cr_assert_eq(image_reader_start(reader, &plan.box, NULL), IJ_OK);
    for (uint32_t row = 0; row < plan.box.height; row += strip.count) {
        cr_assert_eq(image_reader_rows(reader, &strip, NULL), IJ_OK);
        resize_feed(resizer, strip.pixels, strip.stride, strip.count);
    }
    image_reader_free(reader);
    resize_free(resizer);
    return out;
}

/* The largest difference to Pillow; all code that this machine can run must give the same. */
static int case_difference(const struct golden *golden, const char *root, const char *name,
                           const json_t *crop)
{
    char path[600];
    size_t size, bytes;
    mem_auto char *file = NULL;
    snprintf(path, sizeof(path), "%s/%s", root, json_string_value(json_object_get(crop, "file")));
    cr_assert_eq(file_read(path, 64u << 20, &file, &size, NULL), IJ_OK, "%s", path);
    const json_t *tensor = json_object_get(golden->header, name);
    const json_t *offset = json_array_get(json_object_get(tensor, "data_offsets"), 0);
    mem_auto uint8_t *portable = make_pixels(file, size, crop, RESIZE_PORTABLE, &bytes);
    for (int level = RESIZE_PORTABLE + 1; level < RESIZE_LEVELS; level++) {
        if (!resize_pass_get((enum resize_level)level))
            continue;
        mem_auto uint8_t *vector = make_pixels(file, size, crop, (enum resize_level)level, &bytes);
        cr_expect_arr_eq(portable, vector, bytes, "%s: code of level %d differs", path, level);
    }
    return image_largest_difference(portable, golden->blobs + json_integer_value(offset), bytes);
}

static void check_golden(const char *file, const char *root, size_t least)
{
    struct golden golden;
    size_t cases = 0;
    const char *name;
    json_t *text;
    cr_assert(golden_open(file, &golden), "cannot read %s", file);
    json_object_foreach(json_object_get(golden.header, "__metadata__"), name, text)
    {
        json_t *crop = json_loads(json_string_value(text), 0, NULL);
        if (!json_is_object(crop))
            continue;
        int difference = case_difference(&golden, root, name, crop);
        cr_expect_leq(difference, 1, "%s %s: differs by %d", name,
                      json_string_value(json_object_get(crop, "file")), difference);
        json_decref(crop);
        cases++;
    }
    cr_assert_geq(cases, least);
    json_decref(golden.header);
    mem_free(golden.data);
}

Test(crop, small_images_equal_pillow)
{
    check_golden(GOLDEN "/crops.safetensors", GOLDEN, 60);
}

Test(crop, photos_equal_pillow)
{
    const char *data = getenv("IJEPAD_TEST_DATA");
    char golden[600], command[1200];
    if (!data)
        cr_skip_test("IJEPAD_TEST_DATA is not set");
    snprintf(golden, sizeof(golden), "%s/../golden/crops.safetensors", data);
    if (access(golden, R_OK) < 0)
        cr_skip_test("no crops.safetensors beside IJEPAD_TEST_DATA");
    image_folder_make();
    snprintf(command, sizeof(command), "tar -xzf %s/imagenet-sample.tar.gz -C %s", data,
             image_folder);
    cr_assert_eq(system(command), 0); /* NOLINT: the test's own archive */
    check_golden(golden, image_folder, 11);
    image_folder_remove();
}

/* ---- Boxes ----------------------------------------------------------------------------------- */

Test(crop, random_boxes_keep_the_rules)
{
    const double scale[2] = {0.3, 1.0}, ratio[2] = {3.0 / 4, 4.0 / 3};
    double area_sum = 0;
    bool right = false, bottom = false;
    for (uint64_t i = 0; i < 4000; i++) {
        struct rng rng;
        rng_init(&rng, 7, RNG_CROP, 0, i);
        struct image_box box = crop_random_box(60, 45, scale, ratio, &rng);
        double share = box.width * box.height / (60.0 * 45.0);
        double aspect = (double)box.width / box.height;
        cr_assert(box.width >= 1 && box.x + box.width <= 60);
        cr_assert(box.height >= 1 && box.y + box.height <= 45);
        cr_assert(share > 0.27 && share <= 1.0, "share %g", share);
        cr_assert(aspect > 0.70 && aspect < 1.40, "aspect %g", aspect);
        right |= box.x + box.width == 60 && box.x > 0;
        bottom |= box.y + box.height == 45 && box.y > 0;
        area_sum += share;
    }
    cr_expect(right && bottom, "boxes reach the last column and row");
    /* Large boxes are rejected more often, so the mean lies below 0.65. */
    cr_expect(area_sum / 4000 > 0.5 && area_sum / 4000 < 0.65, "mean share %g", area_sum / 4000);
}

Test(crop, fallback_is_the_central_box_of_the_allowed_ratio)
{
    const double scale[2] = {0.9, 1.0}, ratio[2] = {3.0 / 4, 4.0 / 3};
    struct rng rng;
    rng_init(&rng, 1, RNG_CROP, 0, 0);
    struct image_box wide = crop_random_box(1000, 30, scale, ratio, &rng);
    cr_expect(wide.width == 40 && wide.height == 30 && wide.x == 480 && wide.y == 0);
    struct image_box tall = crop_random_box(30, 1000, scale, ratio, &rng);
    cr_expect(tall.width == 30 && tall.height == 40 && tall.x == 0 && tall.y == 480);
    struct image_box dot = crop_random_box(1, 1, scale, ratio, &rng);
    cr_expect(dot.width == 1 && dot.height == 1 && dot.x == 0 && dot.y == 0);
}

Test(crop, center_takes_the_middle_of_the_shorter_side)
{
    /* 500 x 375 at 224: 341 x 256, then columns 58.5 -> 58 and rows 16. */
    struct crop_plan plan = crop_center(500, 375, 224);
    cr_expect(plan.x.out == 341 && plan.y.out == 256);
    cr_expect(plan.x.first == 58 && plan.y.first == 16);
    cr_expect(plan.x.count == 224 && plan.y.count == 224);
    cr_expect(plan.box.x > 0 && plan.box.x + plan.box.width < 500);
    struct crop_plan same = crop_center(96, 96, 96);
    cr_expect(same.x.out == 96 && same.x.first == 0 && same.box.width == 96);
}

Test(crop, stretch_shows_everything)
{
    struct crop_plan plan = crop_stretch(480, 320, 64);
    cr_expect(plan.box.width == 480 && plan.box.height == 320);
    cr_expect(plan.x.out == 64 && plan.y.out == 64);
}
