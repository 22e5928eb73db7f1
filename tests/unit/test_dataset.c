/* Folder trees, splits and lists: what is found, in which order, with which labels, and what is
 * refused. */
#include "tests/unit/image_fixture.h"

#include <sys/stat.h>

#include "base/hash.h"
#include "gpu/data/dataset.h"

static struct engine_data data;
static struct ij_err err;

static void set_up(void)
{
    image_folder_make();
    snprintf(data.path, sizeof(data.path), "%s", image_folder);
}

TestSuite(dataset, .init = set_up, .fini = image_folder_remove);

static void touch(const char *name)
{
    image_write(name, name, strlen(name));
}

static struct dataset *must_open(enum dataset_split split)
{
    struct dataset *dataset = NULL;
    cr_assert_eq(dataset_open(&data, split, &dataset, &err), IJ_OK, "%s", err.text);
    return dataset;
}

static void expect_refused(enum dataset_split split, enum ij_status status, const char *field,
                           const char *part)
{
    struct dataset *dataset = NULL;
    err = (struct ij_err)IJ_ERR_INIT;
    cr_expect_eq(dataset_open(&data, split, &dataset, &err), status, "%s", err.text);
    cr_expect_null(dataset);
    cr_expect_str_eq(err.field, field, "field %s: %s", err.field, err.text);
    cr_expect_not_null(strstr(err.text, part), "wanted \"%s\": %s", part, err.text);
}

static void expect_names(const struct dataset *dataset, const char *const *names, size_t count)
{
    cr_assert_eq(dataset_count(dataset), count, "%zu images", dataset_count(dataset));
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(dataset_name(dataset, i), names[i]);
}

static void make_classes(const char *prefix, const char *const *classes, size_t count, int each)
{
    for (size_t c = 0; c < count; c++)
        for (int i = 0; i < each; i++) {
            char name[200];
            snprintf(name, sizeof(name), "%s%s/%02d.jpg", prefix, classes[c], i);
            touch(name);
        }
}

Test(dataset, finds_images_in_order_and_skips_the_rest)
{
    static const char *const wanted[] = {"B/1.JPEG", "a.png", "b/c/d/2.jpg", "b/x.Jpg", "c.jpeg"};
    for (size_t i = COUNT_OF(wanted); i-- > 0;)
        touch(wanted[i]);
    touch("notes.txt");
    touch("b/.hidden.jpg");
    touch(".git/3.jpg");
    touch("jpg");
    cr_assert_eq(symlink("missing.jpg", image_below("dangling.jpg")), 0);
    cr_assert_eq(symlink(".", image_below("b/loop")), 0);
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/b", image_folder);
    struct dataset *dataset = must_open(DATASET_TRAIN);
    expect_names(dataset, wanted, COUNT_OF(wanted));
    cr_expect_eq(dataset_class_count(dataset), 0);
    cr_expect_eq(dataset_label(dataset, 0), -1);
    dataset_free(dataset);
}

Test(dataset, follows_links_to_folders)
{
    touch("real/1.jpg");
    cr_assert_eq(symlink("real", image_below("link")), 0);
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/real", image_folder);
    struct dataset *dataset = must_open(DATASET_TRAIN);
    static const char *const wanted[] = {"link/1.jpg", "real/1.jpg"};
    expect_names(dataset, wanted, 2);
    dataset_free(dataset);
}

Test(dataset, reads_the_bytes_of_an_image)
{
    struct dataset_buffer buffer = {0};
    touch("a/long_name.jpg");
    touch("b.jpg");
    snprintf(data.eval_path, sizeof(data.eval_path), "%s", image_folder);
    struct dataset *dataset = must_open(DATASET_TRAIN);
    cr_assert_eq(dataset_read(dataset, 0, &buffer, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(buffer.size, strlen("a/long_name.jpg"));
    cr_expect_arr_eq(buffer.data, "a/long_name.jpg", buffer.size);
    cr_assert_eq(dataset_read(dataset, 1, &buffer, &err), IJ_OK);
    cr_expect_eq(buffer.size, 5);
    cr_assert_eq(unlink(image_below("b.jpg")), 0);
    cr_expect_eq(dataset_read(dataset, 1, &buffer, &err), IJ_NOT_FOUND);
    cr_assert_eq(truncate(image_below("a/long_name.jpg"), DATASET_FILE_BYTES_MAX), 0);
    cr_expect_eq(dataset_read(dataset, 0, &buffer, &err), IJ_OK, "at the limit");
    cr_assert_eq(truncate(image_below("a/long_name.jpg"), DATASET_FILE_BYTES_MAX + 1), 0);
    cr_expect_eq(dataset_read(dataset, 0, &buffer, &err), IJ_TOO_LARGE);
    mem_free(buffer.data);
    dataset_free(dataset);
}

Test(dataset, every_tenth_image_is_held_out)
{
    static const char *const one[] = {"x"};
    make_classes("", one, 1, 25);
    struct dataset *train = must_open(DATASET_TRAIN), *eval = must_open(DATASET_EVAL);
    static const char *const held_out[] = {"x/09.jpg", "x/19.jpg"};
    expect_names(eval, held_out, 2);
    cr_expect_eq(dataset_count(train), 23);
    cr_expect_str_eq(dataset_name(train, 9), "x/10.jpg");
    dataset_free(train);
    dataset_free(eval);
}

Test(dataset, too_few_to_hold_out_is_an_error)
{
    static const char *const one[] = {"x"};
    make_classes("", one, 1, 9);
    expect_refused(DATASET_EVAL, IJ_DATA, "data.path", "9 images");
    dataset_free(must_open(DATASET_TRAIN));
    touch("x/99.jpg");
    dataset_free(must_open(DATASET_EVAL));
}

Test(dataset, split_folders_are_recognised)
{
    static const char *const names[] = {"test", "val", "validation"};
    touch("train/a/1.jpg");
    touch("train/b/2.jpg");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char file[100];
        snprintf(file, sizeof(file), "%s/a/9.jpg", names[i]);
        touch(file);
        data.labels = ENGINE_LABELS_FOLDER;
        struct dataset *train = must_open(DATASET_TRAIN), *eval = must_open(DATASET_EVAL);
        static const char *const wanted[] = {"a/1.jpg", "b/2.jpg"}, *const held[] = {"a/9.jpg"};
        expect_names(train, wanted, 2);
        expect_names(eval, held, 1);
        dataset_free(train);
        dataset_free(eval);
        cr_assert_eq(file_remove_tree(image_below(names[i]), NULL), IJ_OK);
    }
}

Test(dataset, eval_path_wins_over_the_split_folder)
{
    touch("d/train/a/1.jpg");
    touch("d/val/a/2.jpg");
    touch("other/a/3.jpg");
    snprintf(data.path, sizeof(data.path), "%s/d/", image_folder);
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/other//", image_folder);
    struct dataset *train = must_open(DATASET_TRAIN), *eval = must_open(DATASET_EVAL);
    static const char *const wanted[] = {"a/1.jpg"}, *const held[] = {"a/3.jpg"};
    expect_names(train, wanted, 1);
    expect_names(eval, held, 1);
    dataset_free(train);
    dataset_free(eval);
}

Test(dataset, class_indices_agree_between_splits)
{
    touch("train/bird/1.jpg");
    touch("train/dog/1.jpg");
    touch("test/cat/1.jpg");
    touch("test/dog/1.jpg");
    data.labels = ENGINE_LABELS_FOLDER;
    struct dataset *train = must_open(DATASET_TRAIN), *eval = must_open(DATASET_EVAL);
    cr_assert_eq(dataset_class_count(train), 3);
    cr_assert_eq(dataset_class_count(eval), 3);
    cr_expect_str_eq(dataset_class_name(train, 1), "cat");
    cr_expect_str_eq(dataset_class_name(eval, 1), "cat");
    cr_expect_eq(dataset_label(train, 0), 0);
    cr_expect_eq(dataset_label(train, 1), 2);
    cr_expect_eq(dataset_label(eval, 0), 1);
    cr_expect_eq(dataset_label(eval, 1), 2);
    dataset_free(train);
    dataset_free(eval);
}

Test(dataset, limits_take_samples_at_even_distances)
{
    static const char *const classes[] = {"a", "b", "c", "d"};
    int per_class[4] = {0};
    make_classes("train/", classes, 4, 10);
    make_classes("val/", classes, 4, 5);
    data.labels = ENGINE_LABELS_FOLDER;
    data.limit = 8;
    data.eval_limit = 4;
    struct dataset *train = must_open(DATASET_TRAIN), *eval = must_open(DATASET_EVAL);
    cr_assert_eq(dataset_count(train), 8);
    for (size_t i = 0; i < 8; i++)
        per_class[dataset_label(train, i)]++;
    for (int c = 0; c < 4; c++)
        cr_expect_eq(per_class[c], 2);
    cr_expect_str_eq(dataset_name(train, 1), "a/05.jpg");
    cr_expect_eq(dataset_count(eval), 4);
    dataset_free(train);
    data.limit = 41; /* more than there are */
    train = must_open(DATASET_TRAIN);
    cr_expect_eq(dataset_count(train), 40);
    dataset_free(train);
    dataset_free(eval);
}

Test(dataset, fingerprint_depends_on_names_and_sizes_of_the_split)
{
    char first[HASH_HEX_SIZE];
    touch("train/a/1.jpg");
    touch("val/a/1.jpg");
    struct dataset *dataset = must_open(DATASET_TRAIN);
    strcpy(first, dataset_fingerprint(dataset));
    dataset_free(dataset);
    cr_expect_eq(strlen(first), 64);
    touch("val/a/2.jpg");
    dataset = must_open(DATASET_TRAIN);
    cr_expect_str_eq(dataset_fingerprint(dataset), first, "the other split does not matter");
    dataset_free(dataset);
    image_write("train/a/1.jpg", "longer than before", 18);
    dataset = must_open(DATASET_TRAIN);
    cr_expect_str_neq(dataset_fingerprint(dataset), first);
    dataset_free(dataset);
}

Test(dataset, missing_empty_and_unlabelled_are_named)
{
    data.labels = ENGINE_LABELS_FOLDER;
    expect_refused(DATASET_TRAIN, IJ_DATA, "data.path", "holds no images");
    touch("1.jpg");
    expect_refused(DATASET_TRAIN, IJ_DATA, "data.labels", "1.jpg");
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/absent", image_folder);
    expect_refused(DATASET_EVAL, IJ_NOT_FOUND, "data.eval_path", "absent");
    snprintf(data.path, sizeof(data.path), "%s/absent", image_folder);
    expect_refused(DATASET_TRAIN, IJ_NOT_FOUND, "data.path", "absent");
    snprintf(data.path, sizeof(data.path), "%s/1.jpg", image_folder);
    expect_refused(DATASET_TRAIN, IJ_INVALID, "data.path", "neither a folder");
    touch("x.tar.gz");
    snprintf(data.path, sizeof(data.path), "%s/x.tar.gz", image_folder);
    expect_refused(DATASET_TRAIN, IJ_UNSUPPORTED, "data.path", "compressed");
    data.path[0] = '\0';
    expect_refused(DATASET_TRAIN, IJ_INVALID, "data.path", "must be a path");
}

Test(dataset, unreadable_folders_are_named)
{
    if (geteuid() == 0)
        cr_skip_test("root reads everything");
    touch("a/1.jpg");
    touch("locked/2.jpg");
    cr_assert_eq(chmod(image_below("locked"), 0), 0);
    expect_refused(DATASET_TRAIN, IJ_FORBIDDEN, "data.path", "locked");
    cr_assert_eq(chmod(image_below("locked"), 0755), 0);
}

Test(dataset, nesting_has_a_limit)
{
    char name[200] = "";
    for (int i = 0; i < 16; i++)
        strcat(name, "d/");
    strcat(name, "1.jpg");
    touch(name);
    dataset_free(must_open(DATASET_TRAIN));
    memmove(name + 2, name, strlen(name) + 1);
    memcpy(name, "d/", 2);
    touch(name);
    expect_refused(DATASET_TRAIN, IJ_DATA, "data.path", "deeper than 16");
}

Test(dataset, one_of_each_allocation_may_fail)
{
    make_classes("train/", (const char *const[]){"a", "b"}, 2, 3);
    make_classes("val/", (const char *const[]){"a", "b"}, 2, 3);
    data.labels = ENGINE_LABELS_FOLDER;
    enum ij_status status = IJ_NO_MEMORY;
    for (long n = 0; status != IJ_OK; n++) {
        struct dataset *dataset = NULL;
        cr_assert_lt(n, 100);
        mem_fail_after(n);
        status = dataset_open(&data, DATASET_TRAIN, &dataset, &err);
        mem_fail_after(-1);
        cr_assert(status == IJ_OK || status == IJ_NO_MEMORY, "%ld: %s", n, err.text);
        dataset_free(dataset);
    }
}

/* ---- File lists ------------------------------------------------------------------------------ */

Test(dataset, lists_give_paths_and_labels)
{
    char text[1500];
    touch("pics/b/1.jpg");
    touch("pics/a/2.jpg");
    touch("elsewhere.img");
    snprintf(text, sizeof(text), "pics/b/1.jpg\tzebra\r\n\n%s/elsewhere.img\tant\npics/a/2.jpg",
             image_folder);
    image_write("list.txt", text, strlen(text));
    snprintf(data.path, sizeof(data.path), "%s/list.txt", image_folder);
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/list.txt", image_folder);
    data.labels = ENGINE_LABELS_FOLDER;
    struct dataset *dataset = must_open(DATASET_TRAIN);
    struct dataset_buffer buffer = {0};
    cr_assert_eq(dataset_count(dataset), 3);
    cr_expect_str_eq(dataset_name(dataset, 1), "pics/a/2.jpg");
    cr_expect_str_eq(dataset_class_name(dataset, (size_t)dataset_label(dataset, 0)), "ant");
    cr_expect_str_eq(dataset_class_name(dataset, (size_t)dataset_label(dataset, 1)), "a");
    cr_expect_str_eq(dataset_class_name(dataset, (size_t)dataset_label(dataset, 2)), "zebra");
    cr_assert_eq(dataset_read(dataset, 0, &buffer, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(buffer.size, strlen("elsewhere.img"));
    mem_free(buffer.data);
    dataset_free(dataset);
}

Test(dataset, lists_name_the_line_at_fault)
{
    touch("1.jpg");
    image_write("list.txt", "1.jpg\nabsent.jpg\n", 17);
    snprintf(data.path, sizeof(data.path), "%s/list.txt", image_folder);
    expect_refused(DATASET_TRAIN, IJ_NOT_FOUND, "data.path", "line 2");
    image_write("list.txt", "1.jpg\0x", 7);
    expect_refused(DATASET_TRAIN, IJ_DATA, "data.path", "not a text file");
    image_write("list.txt", "\n\n", 2);
    expect_refused(DATASET_TRAIN, IJ_DATA, "data.path", "holds no images");
}

/* ---- engine_check_data ----------------------------------------------------------------------- */

static enum ij_status check(void)
{
    struct engine_spec spec = {.kind = ENGINE_LINEAR_PROBE, .data = data};
    err = (struct ij_err)IJ_ERR_INIT;
    return engine_check_data(&spec, &err);
}

Test(dataset, pretraining_needs_no_labels)
{
    touch("1.jpg");
    touch("2.jpg");
    data.labels = ENGINE_LABELS_FOLDER;
    struct engine_spec spec = {.kind = ENGINE_PRETRAIN, .data = data};
    struct dataset *dataset = NULL;
    cr_expect_eq(engine_check_data(&spec, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(dataset_open(&data, DATASET_TRAIN, &dataset, &err), IJ_DATA);
    cr_assert_eq(dataset_open_any(&data, DATASET_TRAIN, &dataset, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(dataset_count(dataset), 2);
    cr_expect_eq(dataset_class_count(dataset), 0);
    cr_expect_eq(dataset_label(dataset, 0), -1);
    dataset_free(dataset);
}

Test(dataset, check_finds_what_opening_would)
{
    cr_expect_eq(check(), IJ_DATA);
    cr_expect_str_eq(err.field, "data.path");
    touch("deep/er/1.jpg");
    cr_expect_eq(check(), IJ_OK, "%s", err.text);
    data.labels = ENGINE_LABELS_COUNT;
    cr_expect_eq(check(), IJ_DATA);
    cr_expect_str_eq(err.field, "data.labels");
    data.labels = ENGINE_LABELS_FOLDER;
    cr_expect_eq(check(), IJ_OK, "%s", err.text);
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/absent", image_folder);
    cr_expect_eq(check(), IJ_NOT_FOUND);
    cr_expect_str_eq(err.field, "data.eval_path");
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/deep/er", image_folder);
    cr_expect_eq(check(), IJ_DATA, "no class folders there");
    cr_expect_str_eq(err.field, "data.labels");
}
