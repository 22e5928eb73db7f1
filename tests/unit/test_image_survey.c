/* Looking at every image: what is found does not depend on threads, and it ends from any state. */
#include "tests/unit/loader_fixture.h"

#include "gpu/data/image_survey.h"

TestSuite(image_survey, .init = loader_set_up, .fini = loader_tear_down, .timeout = 60);

static struct image_survey *look_at_all(uint32_t threads, bool pixels)
{
    struct image_survey *survey = NULL;
    uint64_t done = 0;
    cr_assert_eq(image_survey_new(dataset, threads, pixels, &survey, &err), IJ_OK, "%s", err.text);
    while (done < dataset_count(dataset))
        cr_assert_eq(image_survey_wait(survey, 10000, &done, &err), IJ_OK, "%s", err.text);
    return survey;
}

static void spoil(const char *name, const char *text, size_t size)
{
    cr_assert_eq(file_write_durable(image_below(name), text, size, 0600, &err), IJ_OK);
}

Test(image_survey, sizes_and_bad_images_are_found)
{
    spoil("c1/04.jpg", "GIF89a", 6);
    mem_auto char *whole = NULL;
    size_t size;
    cr_assert_eq(file_read(image_below("c2/20.jpg"), 1 << 20, &whole, &size, &err), IJ_OK);
    spoil("c2/20.jpg", whole, size * 3 / 4);
    for (uint32_t threads = 1; threads <= 3; threads++)
        for (int pixels = 0; pixels < 2; pixels++) {
            struct image_survey *survey = look_at_all(threads, pixels);
            struct image_survey_view view = image_survey_get(survey);
            struct loader_bad bad;
            bad_images_list(image_survey_bad(survey), &bad);
            cr_expect_eq(bad.count, 1 + (uint64_t)pixels);
            cr_expect_eq(view.jpeg, IMAGES - bad.count);
            cr_expect_eq(view.png, 0);
            cr_expect_str_eq(bad.images[0].name, "c1/04.jpg");
            for (size_t i = 0; i < dataset_count(dataset); i++) {
                unsigned n = (unsigned)atoi(strchr(dataset_name(dataset, i), '/') + 1);
                bool good = n != 4 && (n != 20 || !pixels);
                cr_expect_eq(view.sizes[i].width, good ? 20 + n * 3 : 0);
                cr_expect_eq(view.sizes[i].height, good ? 70 - n * 2 : 0);
            }
            image_survey_free(survey);
        }
}

Test(image_survey, it_ends_before_it_is_done)
{
    for (int i = 0; i < 20; i++) {
        struct image_survey *survey = NULL;
        cr_assert_eq(image_survey_new(dataset, 2, true, &survey, &err), IJ_OK, "%s", err.text);
        image_survey_free(survey);
    }
}
