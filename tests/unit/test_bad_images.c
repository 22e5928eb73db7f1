/* Bad images in the loader: replaced, counted, named; and the limit that stops a run. */
#include "tests/unit/loader_fixture.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

TestSuite(bad_images, .init = loader_set_up, .fini = loader_tear_down, .timeout = 60);

static void spoil(int count)
{
    static const char *const causes[] = {"not an image", "\xff\xd8\xff", "", "GIF89a....",
                                         "\x89PNG\r\n\x1a\n"};
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "c%d/%02d.jpg", i % 3, i);
        image_write(name, causes[i % 5], strlen(causes[i % 5]));
    }
    reopen();
}

Test(bad_images, bad_images_are_replaced_named_and_counted_once)
{
    struct loader_options options = train_options();
    struct loader_bad bad;
    const struct loader_batch *batch;
    spoil(4);
    options.bad_image_limit = 0.5;
    struct loader *loader = must_start(&options);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK, "%s", err.text);
        for (uint32_t k = 0; k < batch->count; k++) {
            const char *name = dataset_name(dataset, batch->samples[k]);
            cr_expect_geq(strtol(name + 3, NULL, 10), 4, "%s is bad", name);
            cr_expect_eq(batch->labels[k], dataset_label(dataset, batch->samples[k]));
        }
        loader_release(loader);
    }
    loader_bad(loader, &bad);
    cr_expect_eq(bad.count, 4, "%llu", (unsigned long long)bad.count);
    cr_assert_eq(bad.listed, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_expect(i == 0 || bad.images[i].sample > bad.images[i - 1].sample);
        cr_expect_str_eq(bad.images[i].name, dataset_name(dataset, bad.images[i].sample));
        cr_expect_gt(strlen(bad.images[i].cause), 5);
    }
    loader_free(loader);
}

Test(bad_images, each_is_named_in_the_file)
{
    struct loader_options options = train_options();
    const struct loader_batch *batch;
    char path[128], *text = NULL;
    size_t size = 0, lines = 0;
    spoil(20); /* more than the short list holds */
    options.bad_image_limit = 1;
    struct loader *loader = must_start(&options);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK, "%s", err.text);
        loader_release(loader);
    }
    snprintf(path, sizeof(path), "%s/bad.csv", image_folder);
    cr_assert_eq(loader_bad_write(loader, path, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(file_read(path, 1 << 16, &text, &size, &err), IJ_OK);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    cr_expect_eq(lines, 21, "a header and each image once: %zu", lines);
    cr_expect(strncmp(text, "name,cause\n\"c", 13) == 0, "%.40s", text);
    for (int i = 0; i < 20; i++) {
        char quoted[32];
        snprintf(quoted, sizeof(quoted), "\n\"c%d/%02d.jpg\",\"", i % 3, i);
        cr_expect(strstr(text, quoted), "%s is named", quoted);
    }
    mem_free(text);
    unlink(path);
    loader_free(loader);
}

Test(bad_images, substitutes_do_not_depend_on_threads)
{
    uint8_t first[HASH_SIZE], other[HASH_SIZE];
    struct loader_options options = train_options();
    spoil(9);
    options.bad_image_limit = 1;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        options.threads = threads;
        digest_of(&options, 16, threads > 1 ? other : first);
        if (threads > 1)
            cr_expect_arr_eq(first, other, HASH_SIZE, "%u threads", threads);
    }
}

static enum ij_status run_through(double limit)
{
    struct loader_options options = train_options();
    enum ij_status status = IJ_OK;
    options.bad_image_limit = limit;
    struct loader *loader = must_start(&options);
    for (int i = 0; i < 60 && status == IJ_OK; i++) {
        const struct loader_batch *batch;
        status = loader_next(loader, &batch, &err);
        if (status == IJ_OK)
            loader_release(loader);
    }
    if (status != IJ_OK) { /* the failure stays, and seeking does not hide it */
        const struct loader_batch *batch;
        loader_seek(loader, 0, 0);
        cr_expect_eq(loader_next(loader, &batch, NULL), status);
    }
    loader_free(loader);
    return status;
}

Test(bad_images, over_the_limit_the_first_bad_images_are_listed)
{
    spoil(4);
    cr_expect_eq(run_through(4.0 / IMAGES), IJ_OK, "at the limit: %s", err.text);
    cr_expect_eq(run_through(3.0 / IMAGES), IJ_DATA, "one more than the limit");
    cr_expect_str_eq(err.field, "data.bad_image_limit");
    cr_expect_not_null(strstr(err.text, "4 of 23 images are bad"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "c0/00.jpg (neither JPEG nor PNG)"), "%s", err.text);
    cr_expect_eq(run_through(0.001), IJ_DATA, "a small share still allows one");
    cr_expect_eq(run_through(0), IJ_DATA);
    spoil(0);
}

Test(bad_images, one_bad_image_is_allowed_by_any_limit_above_zero)
{
    spoil(1);
    cr_expect_eq(run_through(0.001), IJ_OK, "%s", err.text);
    cr_expect_eq(run_through(0), IJ_DATA);
}

Test(bad_images, nothing_good_at_all_is_an_error)
{
    spoil(IMAGES);
    cr_expect_eq(run_through(1), IJ_DATA);
    cr_expect_not_null(strstr(err.text, "no good image"), "%s", err.text);
}

Test(bad_images, a_file_that_vanishes_is_a_bad_image)
{
    cr_assert_eq(unlink(image_below("c1/01.jpg")), 0); /* after the dataset was opened */
    cr_expect_eq(run_through(0.1), IJ_OK, "%s", err.text);
    cr_expect_eq(run_through(0), IJ_DATA);
    cr_expect_not_null(strstr(err.text, "c1/01.jpg"), "%s", err.text);
}
