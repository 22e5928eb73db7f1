/* Places left out: where each step reads, what a second rewind makes of the first, the file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "gpu/train/train_rewind.h"

static char directory[] = "/tmp/ijepad-rewind-XXXXXX";

static void make(void)
{
    cr_assert_not_null(mkdtemp(directory));
}

static void release(void)
{
    cr_assert_eq(file_remove_tree(directory, NULL), IJ_OK);
}

TestSuite(train_rewind, .init = make, .fini = release);

Test(train_rewind, nothing_left_out_reads_in_order)
{
    struct train_rewind rewind = {0};
    for (uint64_t step = 0; step < 10; step++)
        cr_assert_eq(train_rewind_place(&rewind, step), step);
}

Test(train_rewind, what_was_read_since_the_checkpoint_and_more_is_left_out)
{
    struct train_rewind rewind = {0};
    struct train_rewind_window window;
    cr_assert_eq(train_rewind_add(&rewind, 10, 14, 3, &window, NULL), IJ_OK);
    cr_assert(window.first == 10 && window.count == 5 + 3, "the step that failed read place 14");
    cr_assert_eq(train_rewind_place(&rewind, 9), 9);
    cr_assert_eq(train_rewind_place(&rewind, 10), 18);
    cr_assert_eq(train_rewind_place(&rewind, 11), 19);
}

Test(train_rewind, a_step_that_fails_right_after_its_checkpoint_leaves_out_itself)
{
    struct train_rewind rewind = {0};
    cr_assert_eq(train_rewind_add(&rewind, 0, 0, 0, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_place(&rewind, 0), 1);
}

Test(train_rewind, a_second_time_from_a_later_checkpoint)
{
    struct train_rewind rewind = {0};
    cr_assert_eq(train_rewind_add(&rewind, 10, 14, 3, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_add(&rewind, 20, 22, 0, NULL, NULL), IJ_OK);
    cr_assert_eq(rewind.window_count, 2);
    cr_assert_eq(train_rewind_place(&rewind, 19), 27);
    cr_assert_eq(train_rewind_place(&rewind, 20), 28 + 3);
}

Test(train_rewind, a_second_time_from_the_same_checkpoint_is_one_window)
{
    struct train_rewind rewind = {0};
    struct train_rewind_window window;
    cr_assert_eq(train_rewind_add(&rewind, 10, 14, 3, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_add(&rewind, 10, 12, 0, &window, NULL), IJ_OK);
    cr_assert(window.first == 18 && window.count == 3, "what was read the second time");
    cr_assert(rewind.window_count == 1 && rewind.windows[0].first == 10 &&
              rewind.windows[0].count == 11);
    cr_assert_eq(train_rewind_place(&rewind, 10), 21);
}

Test(train_rewind, a_second_time_from_an_older_checkpoint_takes_the_first_in)
{
    struct train_rewind rewind = {0};
    cr_assert_eq(train_rewind_add(&rewind, 10, 14, 0, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_add(&rewind, 8, 12, 1, NULL, NULL), IJ_OK);
    cr_assert_eq(rewind.window_count, 1);
    cr_assert_eq(train_rewind_place(&rewind, 7), 7);
    cr_assert_eq(train_rewind_place(&rewind, 8), 19, "place 17 failed, and one more");
}

Test(train_rewind, a_third_time_is_refused_and_changes_nothing)
{
    struct train_rewind rewind = {0}, before;
    struct ij_err err = IJ_ERR_INIT;
    for (int i = 0; i < TRAIN_REWIND_MAX; i++)
        cr_assert_eq(train_rewind_add(&rewind, 5, 6, 0, NULL, NULL), IJ_OK);
    before = rewind;
    cr_assert_eq(train_rewind_add(&rewind, 5, 6, 0, NULL, &err), IJ_CONFLICT);
    cr_assert_eq(memcmp(&before, &rewind, sizeof rewind), 0);
}

/* No place is read twice, and a place is read if and only if it is not left out. */
Test(train_rewind, every_place_is_read_once_or_left_out)
{
    struct rng rng;
    rng_init(&rng, 1, RNG_TEST, 0, 0);
    for (int round = 0; round < 200; round++) {
        struct train_rewind rewind = {0};
        for (int i = 0; i < TRAIN_REWIND_MAX; i++) {
            uint64_t back_to = rng_below(&rng, 30);
            cr_assert_eq(train_rewind_add(&rewind, back_to, back_to + rng_below(&rng, 10),
                                          rng_below(&rng, 5), NULL, NULL),
                         IJ_OK);
        }
        uint64_t place = 0;
        for (uint64_t step = 0; step < 60; step++) {
            uint64_t read = train_rewind_place(&rewind, step);
            for (; place < read; place++) {
                bool out = false;
                for (uint32_t w = 0; w < rewind.window_count; w++)
                    out = out || (place >= rewind.windows[w].first &&
                                  place < rewind.windows[w].first + rewind.windows[w].count);
                cr_assert(out, "place %llu is neither read nor left out",
                          (unsigned long long)place);
            }
            cr_assert_eq(read, place);
            place++;
        }
    }
}

Test(train_rewind, the_file_gives_back_what_was_saved)
{
    struct train_rewind rewind = {0}, loaded;
    cr_assert_eq(train_rewind_load(directory, &loaded, NULL), IJ_OK);
    cr_assert_eq(loaded.count, 0);
    cr_assert_eq(train_rewind_add(&rewind, 10, 14, 3, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_add(&rewind, 40, 41, 3, NULL, NULL), IJ_OK);
    cr_assert_eq(train_rewind_save(directory, &rewind, NULL), IJ_OK);
    cr_assert_eq(train_rewind_load(directory, &loaded, NULL), IJ_OK);
    cr_assert_eq(memcmp(&rewind, &loaded, sizeof rewind), 0);
}

Test(train_rewind, a_wrong_file_is_refused)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"rewinds\": 0, \"left_out\": []}",
        "{\"rewinds\": 3, \"left_out\": [{\"first\": 1, \"count\": 1}]}",
        "{\"rewinds\": 1, \"left_out\": [{\"first\": -1, \"count\": 1}]}",
        "{\"rewinds\": 1, \"left_out\": [{\"first\": 1, \"count\": 0}]}",
        "{\"rewinds\": 1, \"left_out\": [{\"first\": 1, \"count\": 1}, {\"first\": 9, \"count\": "
        "1}]}",
        "{\"rewinds\": 2, \"left_out\": [{\"first\": 5, \"count\": 4}, {\"first\": 6, \"count\": "
        "1}]}",
        "{\"rewinds\": 1, \"left_out\": [{\"first\": 9223372036854775807, \"count\": 1}]}"};
    char path[128];
    snprintf(path, sizeof path, "%s/rewind.json", directory);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct train_rewind loaded;
        struct ij_err err = IJ_ERR_INIT;
        cr_assert_eq(file_write_durable(path, wrong[i], strlen(wrong[i]), 0600, NULL), IJ_OK);
        cr_assert_eq(train_rewind_load(directory, &loaded, &err), IJ_CORRUPT, "%s", wrong[i]);
        cr_assert_not_null(strstr(err.text, "rewind.json"));
    }
}
