/* The renderer: layout, labels, the same bytes from the same seed. */
#include "tests/unit/image_fixture.h"

#include <jansson.h>
#include <math.h>
#include <sched.h>

#include "gpu/data/dataset.h"
#include "gpu/data/scene.h"

static void set_up(void)
{
    image_folder_make();
}

static json_t *documents[2]; /* what read_scenes has read; freed at the end of the test */

static void tear_down(void)
{
    json_decref(documents[0]);
    json_decref(documents[1]);
    image_folder_remove();
}

TestSuite(scene, .init = set_up, .fini = tear_down);

static json_t *read_scenes(const char *name)
{
    json_t *json = json_load_file(image_below(name), 0, NULL);
    cr_assert_not_null(json, "%s", name);
    documents[documents[0] ? 1 : 0] = json;
    return json_object_get(json, "scenes");
}

static void expect_same_file(const char *a, const char *b)
{
    mem_auto char *x = NULL, *y = NULL;
    size_t n, m;
    cr_assert_eq(file_read(image_below(a), 1u << 26, &x, &n, NULL), IJ_OK, "%s", a);
    cr_assert_eq(file_read(image_below(b), 1u << 26, &y, &m, NULL), IJ_OK, "%s", b);
    cr_assert_eq(n, m, "%s and %s differ in size", a, b);
    cr_assert_arr_eq(x, y, n);
}

Test(scene, objects_stand_apart_and_inside_the_picture)
{
    int counts[SCENE_OBJECTS_MAX + 1] = {0};
    for (uint64_t i = 0; i < 2000; i++) {
        struct scene scene;
        scene_make(&scene, 5, i);
        counts[scene.count]++;
        for (int a = 0; a < scene.count; a++) {
            const struct scene_object *x = &scene.objects[a];
            cr_assert(x->pixel[0] > x->pixel_radius && x->pixel[0] < 1 - x->pixel_radius);
            cr_assert(x->pixel[1] > x->pixel_radius && x->pixel[1] < 1 - x->pixel_radius);
            cr_assert(x->depth > 4 && x->depth < 16);
            for (int b = 0; b < a; b++) {
                const struct scene_object *y = &scene.objects[b];
                cr_assert_gt(hypotf(x->center.x - y->center.x, x->center.y - y->center.y),
                             x->radius + y->radius);
            }
        }
    }
    /* 2,000 / 8 = 250 each, standard deviation 15. */
    for (int n = SCENE_OBJECTS_MIN; n <= SCENE_OBJECTS_MAX; n++)
        cr_expect(counts[n] > 190 && counts[n] < 310, "%d objects: %d scenes", n, counts[n]);
}

/* The pixel at an object's centre has its colour: hue decides, light and gloss may vary. */
Test(scene, colors_are_where_the_labels_say)
{
    enum { SIZE = 96 };
    uint8_t pixels[SIZE * SIZE * 3];
    int right = 0, all = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct scene scene;
        scene_make(&scene, 9, i);
        scene_render(&scene, SIZE, pixels);
        for (int k = 0; k < scene.count; k++) {
            const struct scene_object *object = &scene.objects[k];
            const uint8_t *want = scene_color_rgb(object->color);
            const uint8_t *got = pixels + 3 * ((size_t)(object->pixel[1] * SIZE) * SIZE +
                                               (size_t)(object->pixel[0] * SIZE));
            double dot = 0, a = 0, b = 0;
            for (int c = 0; c < 3; c++) {
                dot += got[c] * want[c];
                a += got[c] * got[c];
                b += want[c] * want[c];
            }
            right += dot / sqrt(a * b) > 0.97;
            all++;
        }
    }
    cr_expect_geq(right, all * 9 / 10, "%d of %d centres have their colour", right, all);
}

Test(scene, folders_and_files_agree)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(engine_scenes(image_below("s"), 40, 32, 1, &err), IJ_OK, "%s", err.text);
    const json_t *train = read_scenes("s/scenes/train_scenes.json");
    const json_t *val = read_scenes("s/scenes/val_scenes.json");
    cr_assert_eq(json_array_size(train), 36);
    cr_assert_eq(json_array_size(val), 4);
    for (size_t i = 0; i < 36; i++) {
        const json_t *scene = json_array_get(train, i);
        const json_t *objects = json_object_get(scene, "objects");
        char path[300];
        snprintf(path, sizeof(path), "s/train/%s",
                 json_string_value(json_object_get(scene, "image_filename")));
        cr_expect_eq(access(image_below(path), R_OK), 0, "%s", path);
        cr_expect(json_array_size(objects) >= 3 && json_array_size(objects) <= 10);
        const json_t *first = json_array_get(objects, 0);
        cr_expect_eq(json_array_size(json_object_get(first, "pixel_coords")), 3);
        cr_expect_eq(json_array_size(json_object_get(first, "3d_coords")), 3);
        cr_expect(json_is_number(json_object_get(first, "pixel_radius")));
        cr_expect(json_is_string(json_object_get(first, "material")));
    }
}

Test(scene, one_seed_one_dataset_whatever_the_threads)
{
    cpu_set_t one;
    cr_assert_eq(engine_scenes(image_below("a"), 30, 32, 7, NULL), IJ_OK);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    cr_assert_eq(engine_scenes(image_below("b"), 30, 32, 7, NULL), IJ_OK);
    cr_assert_eq(engine_scenes(image_below("c"), 30, 32, 8, NULL), IJ_OK);
    expect_same_file("a/scenes/train_scenes.json", "b/scenes/train_scenes.json");
    expect_same_file("a/scenes/val_scenes.json", "b/scenes/val_scenes.json");
    expect_same_file("a/train/train_000000.jpg", "b/train/train_000000.jpg");
    expect_same_file("a/train/train_000026.jpg", "b/train/train_000026.jpg");
    expect_same_file("a/val/val_000002.jpg", "b/val/val_000002.jpg");
    mem_auto char *x = NULL, *y = NULL;
    size_t n, m;
    cr_assert_eq(file_read(image_below("a/train/train_000000.jpg"), 1 << 20, &x, &n, NULL), IJ_OK);
    cr_assert_eq(file_read(image_below("c/train/train_000000.jpg"), 1 << 20, &y, &m, NULL), IJ_OK);
    cr_expect(n != m || memcmp(x, y, n) != 0, "another seed, another picture");
}

Test(scene, limits_and_conflicts_are_named)
{
    static const struct {
        uint32_t count, size;
        const char *field;
    } bad[] = {{9, 64, "count"}, {2000001, 64, "count"}, {10, 15, "size"}, {10, 1025, "size"}};
    struct ij_err err = IJ_ERR_INIT;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_expect_eq(engine_scenes(image_below("x"), bad[i].count, bad[i].size, 1, &err),
                     IJ_INVALID);
        cr_expect_str_eq(err.field, bad[i].field);
    }
    cr_expect_neq(access(image_below("x"), F_OK), 0, "nothing was written");
    cr_assert_eq(engine_scenes(image_below("x"), 10, 16, 1, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(engine_scenes(image_below("x"), 10, 16, 1, &err), IJ_CONFLICT);
    image_write("file", "x", 1);
    cr_expect_neq(engine_scenes(image_below("file/below"), 10, 16, 1, &err), IJ_OK);
}

/* ---- Labels of scenes ------------------------------------------------------------------------ */

static struct dataset *open_labels(const char *name, enum engine_labels labels,
                                   enum dataset_split split)
{
    struct engine_data data = {.labels = labels};
    struct dataset *dataset = NULL;
    struct ij_err err = IJ_ERR_INIT;
    snprintf(data.path, sizeof(data.path), "%s", image_below(name));
    cr_assert_eq(dataset_open(&data, split, &dataset, &err), IJ_OK, "%s", err.text);
    return dataset;
}

Test(scene, labels_are_those_of_the_scenes_file)
{
    cr_assert_eq(engine_scenes(image_below("s"), 60, 32, 3, NULL), IJ_OK);
    const json_t *train = read_scenes("s/scenes/train_scenes.json");
    struct dataset *count = open_labels("s", ENGINE_LABELS_COUNT, DATASET_TRAIN);
    struct dataset *distance = open_labels("s", ENGINE_LABELS_DISTANCE, DATASET_TRAIN);
    struct dataset *color = open_labels("s", ENGINE_LABELS_COLOR, DATASET_TRAIN);
    static const double edges[] = {8, 8.5, 9, 9.5, 10, 100};
    cr_assert_eq(dataset_count(count), 54);
    cr_expect(dataset_is_scene(count));
    cr_expect_eq(dataset_class_count(count), 8);
    cr_expect_eq(dataset_class_count(distance), 6);
    for (size_t i = 0; i < 54; i++) { /* names and scenes are both in order */
        const json_t *objects = json_object_get(json_array_get(train, i), "objects");
        double nearest = 1000, largest = 0;
        const char *name = NULL;
        for (size_t k = 0; k < json_array_size(objects); k++) {
            const json_t *object = json_array_get(objects, k);
            nearest =
                fmin(nearest,
                     json_number_value(json_array_get(json_object_get(object, "pixel_coords"), 2)));
            double radius = json_number_value(json_object_get(object, "pixel_radius"));
            if (radius > largest) {
                largest = radius;
                name = json_string_value(json_object_get(object, "color"));
            }
        }
        int class_index = 0;
        while (edges[class_index] < nearest)
            class_index++;
        cr_expect_eq(dataset_label(count, i), (int)json_array_size(objects) - 3);
        cr_expect_eq(dataset_label(distance, i), class_index);
        cr_expect_str_eq(dataset_class_name(color, (size_t)dataset_label(color, i)), name);
    }
    dataset_free(count);
    dataset_free(distance);
    dataset_free(color);
}

Test(scene, classes_agree_between_the_splits)
{
    cr_assert_eq(engine_scenes(image_below("s"), 50, 32, 3, NULL), IJ_OK);
    struct dataset *train = open_labels("s", ENGINE_LABELS_SHAPE, DATASET_TRAIN);
    struct dataset *val = open_labels("s", ENGINE_LABELS_SHAPE, DATASET_EVAL);
    cr_expect_eq(dataset_count(val), 5);
    cr_assert_eq(dataset_class_count(train), 3);
    cr_assert_eq(dataset_class_count(val), 3);
    for (size_t i = 0; i < 3; i++)
        cr_expect_str_eq(dataset_class_name(train, i), dataset_class_name(val, i));
    cr_expect_str_eq(dataset_class_name(train, 0), "cube");
    dataset_free(train);
    dataset_free(val);
}
