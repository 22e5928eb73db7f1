/* Scenes files as CLEVR publishes them, and ones that are wrong. */
#include "tests/unit/image_fixture.h"

#include "gpu/data/dataset.h"
#include "gpu/data/scene_labels.h"

static struct ij_err err;

TestSuite(scene_labels, .init = image_folder_make, .fini = image_folder_remove);

static enum ij_status read_text(const char *text, enum engine_labels labels,
                                struct scene_labels *scenes)
{
    err = (struct ij_err)IJ_ERR_INIT;
    image_write("scenes.json", text, strlen(text));
    return scene_labels_read(image_below("scenes.json"), labels, scenes, &err);
}

/* One scene with as many objects as depths, the way the published files spell it. */
static const char *scene_text(const char *file, const double *depths, int count)
{
    static char text[4000];
    int used = snprintf(text, sizeof(text), "{\"image_filename\": \"%s\", \"objects\": [", file);
    for (int i = 0; i < count; i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used,
                         "%s{\"color\": \"%s\", \"shape\": \"cube\", \"pixel_coords\": [1, 2, %g]}",
                         i ? ", " : "", i % 2 ? "red" : "blue", depths[i]);
    snprintf(text + used, sizeof(text) - (size_t)used, "]}");
    return text;
}

static enum ij_status read_one(const double *depths, int count, enum engine_labels labels,
                               struct scene_labels *scenes)
{
    char text[5000];
    snprintf(text, sizeof(text), "{\"info\": {\"date\": [1, {}]}, \"scenes\": [%s]}",
             scene_text("a.png", depths, count));
    return read_text(text, labels, scenes);
}

/* bisect_left: a depth on an edge belongs to the class below it. */
Test(scene_labels, distance_classes_have_closed_upper_edges)
{
    static const struct {
        double depth;
        int32_t label;
    } cases[] = {{5, 0},    {8.0, 0},  {8.001, 1}, {8.5, 1},  {9.0, 2},
                 {9.25, 3}, {9.75, 4}, {10.0, 4},  {10.5, 5}, {100, 5}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double depths[3] = {cases[i].depth + 3, cases[i].depth, 500};
        struct scene_labels scenes;
        cr_assert_eq(read_one(depths, 3, ENGINE_LABELS_DISTANCE, &scenes), IJ_OK, "%s", err.text);
        cr_expect_eq(scenes.entries[0].label, cases[i].label, "%g -> %d", cases[i].depth,
                     scenes.entries[0].label);
        mem_free(scenes.entries);
    }
    struct scene_labels scenes;
    cr_expect_eq(read_one((double[]){101, 102}, 2, ENGINE_LABELS_DISTANCE, &scenes), IJ_DATA);
}

Test(scene_labels, counts_run_from_three_to_ten)
{
    static const double depths[11] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    for (int n = 1; n <= 11; n++) {
        struct scene_labels scenes;
        enum ij_status status = read_one(depths, n, ENGINE_LABELS_COUNT, &scenes);
        cr_expect_eq(status, n >= 3 && n <= 10 ? IJ_OK : IJ_DATA, "%d objects", n);
        if (status != IJ_OK)
            continue;
        cr_expect_eq(scenes.entries[0].label, n - 3);
        mem_free(scenes.entries);
    }
}

Test(scene_labels, without_a_radius_the_nearest_object_names_the_color)
{
    struct scene_labels scenes;
    cr_assert_eq(read_one((double[]){9, 8, 10}, 3, ENGINE_LABELS_COLOR, &scenes), IJ_OK);
    cr_expect_str_eq(scenes.entries[0].name, "red");
    mem_free(scenes.entries);
}

Test(scene_labels, wrong_files_are_refused)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"scenes\": 3}",
        "{\"scenes\": []}",
        "{\"scenes\": [",
        "{\"scenes\": [{}]}",
        "{\"scenes\": [{\"image_filename\": \"a.png\"}]}",
        "{\"scenes\": [{\"image_filename\": \"a.png\", \"objects\": []}]}",
        "{\"scenes\": [{\"image_filename\": 1, \"objects\": [{}]}]}",
        "{\"scenes\": [{\"image_filename\": \"a.png\", \"objects\": [1, 2, 3]}]}",
        "{\"scenes\": [{\"image_filename\": \"a.png\", \"objects\": [{}, {}, {}]}",
        "{1: 2}",
        "{\"scenes\" []}",
        "\xff\xfe",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct scene_labels scenes;
        cr_expect_eq(read_text(texts[i], ENGINE_LABELS_DISTANCE, &scenes), IJ_DATA, "%s", texts[i]);
        cr_expect_str_eq(err.field, "data.labels");
    }
}

Test(scene_labels, a_published_layout_is_entered_by_itself)
{
    static const double depths[3] = {8.2, 9, 9};
    struct engine_data data = {.labels = ENGINE_LABELS_DISTANCE};
    struct dataset *dataset = NULL;
    char text[9000];
    int used = snprintf(text, sizeof(text), "{\"scenes\": [%s, ",
                        scene_text("CLEVR_train_000001.png", depths, 3));
    snprintf(text + used, sizeof(text) - (size_t)used, "%s]}",
             scene_text("CLEVR_train_000000.png", depths + 1, 2));
    image_write("C/scenes/CLEVR_train_scenes.json", text, strlen(text));
    image_write("C/images/train/CLEVR_train_000000.png", "x", 1);
    image_write("C/images/train/CLEVR_train_000001.png", "x", 1);
    image_write("C/images/val/CLEVR_val_000000.png", "x", 1);
    snprintf(text, sizeof(text), "{\"scenes\": [%s]}",
             scene_text("CLEVR_val_000000.png", depths, 1));
    image_write("C/scenes/CLEVR_val_scenes.json", text, strlen(text));
    snprintf(data.path, sizeof(data.path), "%s", image_below("C"));
    cr_assert_eq(dataset_open(&data, DATASET_TRAIN, &dataset, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(dataset_count(dataset), 2);
    cr_expect_eq(dataset_label(dataset, 0), 2);
    cr_expect_eq(dataset_label(dataset, 1), 1);
    cr_expect(dataset_is_scene(dataset));
    dataset_free(dataset);
    cr_assert_eq(dataset_open(&data, DATASET_EVAL, &dataset, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(dataset_label(dataset, 0), 1);
    dataset_free(dataset);
    dataset = NULL;
    image_write("C/images/train/unlisted.png", "x", 1);
    cr_expect_eq(dataset_open(&data, DATASET_TRAIN, &dataset, &err), IJ_DATA);
    cr_expect_not_null(strstr(err.text, "unlisted.png"), "%s", err.text);
}
