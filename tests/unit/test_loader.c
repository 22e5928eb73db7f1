/* The loader: order, independence of threads, seeking, pixels, options, shutdown. */
#include "tests/unit/loader_fixture.h"

#include <math.h>

#include "gpu/data/sample_order.h"

TestSuite(loader, .init = loader_set_up, .fini = loader_tear_down, .timeout = 60);

/* ---- Order ----------------------------------------------------------------------------------- */

Test(loader, order_is_a_permutation_that_depends_on_seed_and_epoch)
{
    uint32_t a[1000], b[1000];
    bool seen[1000] = {false};
    int same_place = 0;
    sample_order_fill(a, 1000, 1, 0, true);
    for (int i = 0; i < 1000; i++) {
        cr_assert_lt(a[i], 1000);
        cr_assert_not(seen[a[i]]);
        seen[a[i]] = true;
        same_place += a[i] == (uint32_t)i;
    }
    cr_expect_lt(same_place, 10, "a shuffled list has one fixed point on average");
    sample_order_fill(b, 1000, 1, 1, true);
    cr_expect_arr_neq(a, b, sizeof(a));
    sample_order_fill(b, 1000, 2, 0, true);
    cr_expect_arr_neq(a, b, sizeof(a));
    sample_order_fill(b, 1000, 1, 0, false);
    cr_expect_eq(b[999], 999);
}

/* Each of the 24 orders of four samples is equally likely: chi-square with 23 degrees of freedom,
 * 99.9 % quantile 49.7. */
Test(loader, orders_are_equally_likely)
{
    int counts[256] = {0};
    double chi = 0;
    for (uint64_t epoch = 0; epoch < 4800; epoch++) {
        uint32_t order[4];
        sample_order_fill(order, 4, 3, epoch, true);
        counts[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
    }
    for (int i = 0; i < 256; i++)
        if (counts[i])
            chi += (counts[i] - 200.0) * (counts[i] - 200.0) / 200.0;
    cr_expect_lt(chi, 49.7, "chi-square %g", chi);
}

Test(loader, an_epoch_shows_each_sample_at_most_once)
{
    struct loader_options options = train_options();
    struct loader *loader = must_start(&options);
    int seen[IMAGES] = {0};
    cr_assert_eq(loader_batches(loader), IMAGES / BATCH);
    for (uint64_t i = 0; i < 4; i++) {
        const struct loader_batch *batch;
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
        cr_expect_eq(batch->batch, i);
        cr_expect_eq(batch->epoch, 0);
        cr_expect_eq(batch->count, BATCH);
        for (uint32_t k = 0; k < BATCH; k++) {
            seen[batch->samples[k]]++;
            cr_expect_eq(batch->labels[k], dataset_label(dataset, batch->samples[k]));
        }
        loader_release(loader);
    }
    for (int i = 0; i < IMAGES; i++)
        cr_expect_leq(seen[i], 1);
    const struct loader_batch *batch;
    cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
    cr_expect(batch->epoch == 1 && batch->batch == 0, "the next epoch follows");
    loader_free(loader); /* with a batch still held */
}

Test(loader, bytes_do_not_depend_on_threads_or_depth)
{
    static const uint32_t threads[] = {1, 2, 4, 7}, depths[] = {4, 1, 9, 2};
    uint8_t first[HASH_SIZE], other[HASH_SIZE];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        struct loader_options options = train_options();
        options.threads = threads[i];
        options.depth = depths[i];
        digest_of(&options, 13, i ? other : first);
        if (i)
            cr_expect_arr_eq(first, other, HASH_SIZE, "%u threads", threads[i]);
    }
    struct loader_options options = train_options();
    options.seed++;
    digest_of(&options, 13, other);
    cr_expect_arr_neq(first, other, HASH_SIZE, "another seed, other bytes");
}

Test(loader, seeking_and_starting_late_give_the_same_batches)
{
    uint8_t straight[HASH_SIZE], jumped[HASH_SIZE], late[HASH_SIZE];
    struct loader_options options = train_options();
    struct loader *loader = must_start(&options);
    struct hash hash, rest;
    for (int i = 0; i < 6; i++) {
        hash_init(&hash);
        next_digest(loader, &hash); /* keeps the last: epoch 1, batch 1 */
    }
    hash_init(&rest);
    for (int i = 0; i < 5; i++)
        next_digest(loader, &rest);
    hash_final(&rest, straight);
    loader_seek(loader, 3, 0);
    hash_init(&rest);
    next_digest(loader, &rest);
    const struct loader_batch *held;
    cr_assert_eq(loader_next(loader, &held, &err), IJ_OK);
    loader_seek(loader, 1, 2); /* with a batch held */
    hash_init(&rest);
    for (int i = 0; i < 5; i++)
        next_digest(loader, &rest);
    hash_final(&rest, jumped);
    cr_expect_arr_eq(straight, jumped, HASH_SIZE);
    loader_free(loader);
    options.epoch = 1;
    options.batch_first = 2;
    digest_of(&options, 5, late);
    cr_expect_arr_eq(straight, late, HASH_SIZE);
}

Test(loader, ranks_share_an_epoch_without_overlap)
{
    uint64_t shown[2][2 * BATCH];
    struct loader_options options = train_options();
    struct loader *whole, *part;
    const struct loader_batch *batch;
    options.ranks = 2;
    for (options.rank = 0; options.rank < 2; options.rank++) {
        part = must_start(&options);
        cr_expect_eq(loader_batches(part), 2);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(loader_next(part, &batch, &err), IJ_OK);
            memcpy(shown[options.rank] + i * BATCH, batch->samples, sizeof(uint64_t) * BATCH);
            loader_release(part);
        }
        loader_free(part);
    }
    options = train_options();
    whole = must_start(&options);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(loader_next(whole, &batch, &err), IJ_OK);
        cr_expect_arr_eq(batch->samples, shown[i % 2] + i / 2 * BATCH, sizeof(uint64_t) * BATCH);
        loader_release(whole);
    }
    loader_free(whole);
}

Test(loader, evaluation_keeps_list_order_and_the_last_batch)
{
    struct loader_options options = loader_options_eval(&data, dataset);
    options.crop = CROP;
    options.batch = BATCH;
    cr_expect_eq(options.view, LOADER_CENTER_CROP);
    struct loader *loader = must_start(&options);
    uint64_t expected = 0;
    cr_assert_eq(loader_batches(loader), 5);
    for (int i = 0; i < 10; i++) {
        const struct loader_batch *batch;
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
        cr_expect_eq(batch->count, i % 5 == 4 ? 3 : BATCH);
        for (uint32_t k = 0; k < batch->count; k++)
            cr_expect_eq(batch->samples[k], expected++ % IMAGES);
        loader_release(loader);
    }
    loader_free(loader);
}

Test(loader, a_rank_may_have_an_empty_last_batch)
{
    struct loader_options options = train_options();
    options.keep_last = true;
    options.batch = 4;
    options.ranks = 2;
    options.rank = 1;
    data.limit = 10;
    reopen(); /* 10 samples: rank 0 has 4 and 2, rank 1 has 4 and 0 */
    struct loader *loader = must_start(&options);
    for (int i = 0; i < 6; i++) {
        const struct loader_batch *batch;
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
        cr_expect_eq(batch->count, i % 2 ? 0 : 4);
        loader_release(loader);
    }
    loader_free(loader);
}

/* ---- Pixels ---------------------------------------------------------------------------------- */

/* One image, once with and once without its mirror image. */
Test(loader, flipped_crops_are_mirror_images)
{
    struct loader_options options = train_options();
    const struct loader_batch *plain, *mirrored;
    int flips = 0;
    options.flip = false;
    struct loader *a = must_start(&options);
    options.flip = true;
    struct loader *b = must_start(&options);
    for (int i = 0; i < 12; i++) {
        cr_assert_eq(loader_next(a, &plain, &err), IJ_OK);
        cr_assert_eq(loader_next(b, &mirrored, &err), IJ_OK);
        for (uint32_t k = 0; k < BATCH; k++) {
            const uint8_t *x = plain->pixels + (size_t)k * CROP * CROP * 3;
            const uint8_t *y = mirrored->pixels + (size_t)k * CROP * CROP * 3;
            bool same = memcmp(x, y, CROP * CROP * 3) == 0;
            for (int p = 0; !same && p < CROP * CROP; p++)
                for (int c = 0; c < 3; c++)
                    cr_assert_eq(x[p * 3 + c], y[(p / CROP * CROP + CROP - 1 - p % CROP) * 3 + c]);
            flips += !same;
        }
        loader_release(a);
        loader_release(b);
    }
    cr_expect(flips > 15 && flips < 45, "%d of 60 are mirrored", flips);
    loader_free(a);
    loader_free(b);
}

Test(loader, an_image_of_the_crop_size_is_left_alone)
{
    struct loader_options options = {.crop = 32, .batch = 1, .view = LOADER_CENTER_CROP};
    const struct loader_batch *batch;
    struct image_reader *reader;
    struct image_box box = {0, 0, 32, 32};
    struct dataset_buffer bytes = {0};
    uint8_t expected[32 * 32 * 3];
    cr_assert_eq(file_remove_tree(image_below("c0"), NULL), IJ_OK);
    cr_assert_eq(file_remove_tree(image_below("c1"), NULL), IJ_OK);
    cr_assert_eq(file_remove_tree(image_below("c2"), NULL), IJ_OK);
    image_write_jpeg("c/1.jpg", 32, 32, 5);
    reopen();
    cr_assert_eq(dataset_read(dataset, 0, &bytes, &err), IJ_OK);
    cr_assert_eq(image_reader_new(&reader, &err), IJ_OK);
    cr_assert_eq(image_decode(reader, bytes.data, bytes.size, &box, expected, &err), IJ_OK);
    for (int view = 0; view < 2; view++) {
        options.view = view ? LOADER_STRETCH : LOADER_CENTER_CROP;
        struct loader *loader = must_start(&options);
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK, "%s", err.text);
        cr_expect_arr_eq(batch->pixels, expected, sizeof(expected));
        loader_free(loader);
    }
    image_reader_free(reader);
    mem_free(bytes.data);
}

/* ---- Options and life ------------------------------------------------------------------------ */

static void expect_refused(struct loader_options options, enum ij_status status, const char *field)
{
    struct loader *loader = NULL;
    cr_expect_eq(loader_new(dataset, &options, &loader, &err), status, "%s: %s", field, err.text);
    cr_expect_str_eq(err.field, field);
    cr_expect_null(loader);
}

#define WITH(member, value)                                                                        \
    __extension__({                                                                                \
        struct loader_options with_ = train_options();                                             \
        with_.member = value;                                                                      \
        with_;                                                                                     \
    })

Test(loader, options_out_of_range_are_named)
{
    expect_refused(WITH(crop, 0), IJ_INVALID, "data.crop");
    expect_refused(WITH(crop, 4097), IJ_INVALID, "data.crop");
    expect_refused(WITH(batch, 0), IJ_INVALID, "optimizer.batch");
    expect_refused(WITH(batch, 65537), IJ_INVALID, "optimizer.batch");
    expect_refused(WITH(batch, IMAGES + 1), IJ_DATA, "optimizer.batch");
    expect_refused(WITH(threads, 257), IJ_INVALID, "data.loader_threads");
    expect_refused(WITH(depth, 257), IJ_INVALID, "depth");
    expect_refused(WITH(rank, 1), IJ_INVALID, "rank");
    expect_refused(WITH(scale[1], 1.5), IJ_INVALID, "data.crop_scale");
    expect_refused(WITH(ratio[1], -1), IJ_INVALID, "data.crop_ratio");
    expect_refused(WITH(bad_image_limit, 1.01), IJ_INVALID, "data.bad_image_limit");
    expect_refused(WITH(bad_image_limit, (double)NAN), IJ_INVALID, "data.bad_image_limit");
    struct loader_options whole = train_options();
    whole.batch = IMAGES;
    loader_free(must_start(&whole));
}

Test(loader, it_ends_from_any_state)
{
    struct loader_options options = train_options();
    loader_free(NULL);
    for (int i = 0; i < 60; i++) {
        const struct loader_batch *batch;
        options.threads = 1 + (uint32_t)i % 4;
        struct loader *loader = must_start(&options);
        for (int k = 0; k < i % 7; k++) {
            cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
            if (k + 1 < i % 7)
                loader_release(loader);
        }
        if (i % 5 == 4)
            loader_seek(loader, (uint64_t)i, 1);
        loader_free(loader);
    }
}

Test(loader, an_allocation_that_fails_at_the_start_is_reported)
{
    struct loader_options options = train_options();
    enum ij_status status = IJ_NO_MEMORY;
    for (long n = 0; status != IJ_OK; n++) {
        struct loader *loader = NULL;
        cr_assert_lt(n, 200);
        options.threads = 3;
        mem_fail_after(n);
        status = loader_new(dataset, &options, &loader, &err);
        const struct loader_batch *batch;
        if (status == IJ_OK && loader_next(loader, &batch, &err) != IJ_OK)
            status = IJ_NO_MEMORY; /* it struck in a thread */
        mem_fail_after(-1);
        loader_free(loader);
    }
}

Test(loader, bench_reports_its_measure)
{
    struct engine_spec spec = {.data = data, .optimizer = {.batch = 8}};
    char *json = NULL;
    spec.data.crop = CROP;
    cr_assert_eq(engine_bench_loader(&spec, 0.05, &json, &err), IJ_OK, "%s", err.text);
    cr_expect_not_null(strstr(json, "\"images_per_s\""));
    cr_expect_not_null(strstr(json, "\"files\": 23"), "%s", json);
    cr_expect_not_null(strstr(json, "\"build\""));
    mem_free(json);
}
