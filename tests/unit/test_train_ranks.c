/* Pretraining by several ranks on the host backend: the same run as one rank with the whole batch,
 * exact resumes, one end for all. */
#include "gpu/data/loader.h"
#include "gpu/train/train_ranks.h"
#include "tests/unit/ranks_fixture.h"
#include "tests/unit/train_fixture.h"

/* A child's host hears nothing that counts. */
static int follow(const struct engine_ranks *ranks, void *user)
{
    struct engine_spec spec = *(const struct engine_spec *)user;
    struct ij_err err;
    spec.ranks = *ranks;
    return (int)train_go(&spec, &err);
}

/* Runs `spec` on `count` ranks; the last one's status goes to *ret_other. */
static enum ij_status go(struct engine_spec spec, uint32_t count, enum ij_status *ret_other,
                         struct ij_err *err)
{
    struct engine_ranks ranks;
    ranks_start(count, 30, follow, &spec, &ranks);
    spec.ranks = ranks;
    enum ij_status status = train_go(&spec, err);
    int other = ranks_end(&ranks, count - 1);
    if (ret_other)
        *ret_other = (enum ij_status)other;
    return status;
}

static void expect_near(const float *a, const float *b, unsigned steps, double tolerance)
{
    for (unsigned s = 1; s <= steps; s++)
        cr_expect(fabs((double)a[s] - b[s]) <= tolerance * fabs((double)b[s]),
                  "step %u: %.9g and %.9g", s, (double)a[s], (double)b[s]);
}

/* The same 20 steps with `count` ranks of `batch` and with one rank of `single`. */
static void expect_same_run(struct engine_spec spec, uint32_t count, struct engine_optimizer single)
{
    struct ij_err err;
    enum ij_status other;
    float losses[TRAIN_STEPS_MAX], rates[TRAIN_STEPS_MAX];
    cr_assert_eq(go(spec, count, &other, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(other, IJ_OK);
    memcpy(losses, host.loss, sizeof losses);
    memcpy(rates, host.lr, sizeof rates);
    memset(&host, 0, sizeof host);
    spec.optimizer = single;
    snprintf(spec.directory, sizeof spec.directory, "%s/single", train_root);
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(host.frames[20], 1);
    cr_assert_neq(losses[1], losses[20], "nothing was learnt");
    expect_near(losses, host.loss, 20, 1e-5);
    cr_expect_arr_eq(rates, host.lr, sizeof rates, "the schedules differ");
}

Test(train_ranks, of_two_equal_one_with_the_whole_batch, .init = train_open, .fini = train_close,
     .timeout = 120)
{
    struct engine_spec spec = train_spec("ranks");
    struct engine_optimizer single = spec.optimizer;
    spec.masks.sampler = ENGINE_MASKS_UNBIASED;
    spec.optimizer.batch = 2;
    expect_same_run(spec, 2, single);
}

Test(train_ranks, of_two_that_accumulate_equal_one, .init = train_open, .fini = train_close,
     .timeout = 120)
{
    struct engine_spec spec = train_spec("ranks");
    struct engine_optimizer single = spec.optimizer;
    spec.masks.sampler = ENGINE_MASKS_UNBIASED;
    spec.optimizer.batch = 1;
    single.batch = 2;
    spec.optimizer.accumulate = single.accumulate = 2;
    expect_same_run(spec, 2, single);
}

/* The published sampler cuts each rank's batch by itself: that is one rank with more micro-batches.
 */
Test(train_ranks, with_published_masks_equal_one_that_accumulates, .init = train_open,
     .fini = train_close, .timeout = 120)
{
    struct engine_spec spec = train_spec("ranks");
    spec.masks.sampler = ENGINE_MASKS_PUBLISHED;
    spec.masks.context_scale[0] = spec.masks.context_scale[1] = 1;
    struct engine_optimizer single = spec.optimizer;
    spec.optimizer.batch = single.batch = 2;
    single.accumulate = 2;
    expect_same_run(spec, 2, single);
}

/* ---- Samples and masks ----------------------------------------------------------------------- */

static void expect_same_masks(const struct engine_spec *one, const struct engine_spec *part,
                              uint32_t ranks, uint64_t epoch, uint64_t batch)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(one);
    struct masks all, mine;
    struct ij_err err;
    uint32_t b = part->optimizer.batch;
    cr_assert_eq(masks_init(&all, &rules, 5, one->optimizer.batch, &err), IJ_OK);
    masks_draw(&all, epoch, batch, one->optimizer.batch);
    for (uint32_t r = 0; r < ranks; r++) {
        struct engine_spec spec = *part;
        spec.ranks = (struct engine_ranks){.rank = r, .count = ranks};
        cr_assert_eq(masks_init(&mine, &rules, 5, train_ranks_mask_images(&spec), &err), IJ_OK);
        train_ranks_draw(&spec, &mine, epoch, batch);
        cr_assert_eq(mine.images, b);
        cr_assert_eq(mine.context_count, all.context_count);
        cr_assert_eq(mine.target_count, all.target_count);
        size_t length = all.context_count, block = all.target_count;
        cr_expect_arr_eq(mine.context, all.context + r * b * length, b * length * sizeof(int32_t));
        for (uint32_t m = 0; m < rules.targets; m++)
            cr_expect_arr_eq(mine.targets + m * b * block,
                             all.targets + (m * one->optimizer.batch + r * b) * block,
                             b * block * sizeof(int32_t));
        masks_done(&mine);
    }
    masks_done(&all);
}

Test(train_ranks, draw_the_masks_of_one)
{
    struct engine_spec one = spec_fixture("vit_tiny", 224, 16), part;
    one.masks.sampler = ENGINE_MASKS_UNBIASED;
    one.optimizer.batch = 12;
    part = one;
    part.optimizer.batch = 3;
    for (uint64_t batch = 0; batch < 5; batch++)
        expect_same_masks(&one, &part, 4, 2, batch);
}

Test(train_ranks, draw_published_masks_of_one_with_more_batches)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct masks all, mine;
    struct ij_err err;
    spec.masks.sampler = ENGINE_MASKS_PUBLISHED;
    spec.optimizer.batch = 3;
    struct mask_sizes_rules rules = mask_sizes_from_spec(&spec);
    cr_assert_eq(masks_init(&all, &rules, 5, 3, &err), IJ_OK);
    cr_assert_eq(masks_init(&mine, &rules, 5, train_ranks_mask_images(&spec), &err), IJ_OK);
    for (uint32_t r = 0; r < 4; r++) {
        spec.ranks = (struct engine_ranks){.rank = r, .count = 4};
        train_ranks_draw(&spec, &mine, 1, 7);
        masks_draw(&all, 1, 7 * 4 + r, 3);
        cr_assert_eq(mine.context_count, all.context_count);
        cr_expect_arr_eq(mine.context, all.context, 3 * all.context_count * sizeof(int32_t));
        cr_expect_arr_eq(mine.targets, all.targets,
                         rules.targets * 3 * all.target_count * sizeof(int32_t));
    }
    masks_done(&all);
    masks_done(&mine);
}

static void open_loader(const struct engine_spec *spec, const struct dataset *dataset,
                        uint32_t batch, uint32_t rank, uint32_t ranks, struct loader **ret_loader)
{
    struct ij_err err;
    struct loader_options options = loader_options_train(&spec->data);
    options.batch = batch;
    options.seed = 9;
    options.rank = rank;
    options.ranks = ranks;
    cr_assert_eq(loader_new(dataset, &options, ret_loader, &err), IJ_OK, "%s", err.text);
}

Test(train_ranks, see_the_samples_of_one, .init = train_open, .fini = train_close, .timeout = 60)
{
    struct engine_spec spec = train_spec("loaders");
    struct dataset *dataset;
    struct loader *one, *two[2];
    struct ij_err err;
    const size_t image = 16 * 16 * 3;
    cr_assert_eq(dataset_open(&spec.data, DATASET_TRAIN, &dataset, &err), IJ_OK, "%s", err.text);
    open_loader(&spec, dataset, 4, 0, 1, &one);
    for (uint32_t r = 0; r < 2; r++)
        open_loader(&spec, dataset, 2, r, 2, &two[r]);
    for (int step = 0; step < 12; step++) { /* more than two epochs */
        const struct loader_batch *all, *part;
        cr_assert_eq(loader_next(one, &all, &err), IJ_OK);
        for (uint32_t r = 0; r < 2; r++) {
            cr_assert_eq(loader_next(two[r], &part, &err), IJ_OK);
            cr_assert(part->epoch == all->epoch && part->batch == all->batch);
            cr_expect_arr_eq(part->samples, all->samples + 2 * r, 2 * sizeof(uint64_t));
            cr_expect_arr_eq(part->pixels, all->pixels + 2 * r * image, 2 * image);
            loader_release(two[r]);
        }
        loader_release(one);
    }
    for (uint32_t r = 0; r < 2; r++)
        loader_free(two[r]);
    loader_free(one);
    dataset_free(dataset);
}

/* ---- Stops and ends -------------------------------------------------------------------------- */

static int run_in_parts(const struct engine_ranks *ranks, void *user)
{
    (void)ranks;
    struct engine_spec *spec = user;
    struct ij_err err;
    enum ij_status other = IJ_OK;
    host.stop_at_poll = 8;
    if (go(*spec, 2, &other, &err) != IJ_STOPPED || other != IJ_STOPPED)
        return 1;
    return 0;
}

/* Each part in a process of its own: the ranks are forked before there are threads. */
static void stop_in_the_middle(struct engine_spec *spec)
{
    int status;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(run_in_parts(NULL, spec));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

static void run_whole(struct engine_spec *spec)
{
    int status;
    struct ij_err err;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(go(*spec, 2, NULL, &err) == IJ_OK ? 0 : 1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

Test(train_ranks, resume_bit_for_bit, .init = train_open, .fini = train_close, .timeout = 120)
{
    struct engine_spec whole = train_spec("whole"), parts = train_spec("parts");
    whole.optimizer.batch = parts.optimizer.batch = 2;
    whole.masks.sampler = parts.masks.sampler = ENGINE_MASKS_UNBIASED;
    run_whole(&whole);
    stop_in_the_middle(&parts);
    cr_assert(train_has("parts", 7), "not stopped after the step that was asked for");
    run_whole(&parts);
    train_expect_equal("whole", "parts", 20);
}

/* Rank 1 finds its dataset gone: both end with what it says. */
static int follow_without_data(const struct engine_ranks *ranks, void *user)
{
    struct engine_spec spec = *(const struct engine_spec *)user;
    struct ij_err err;
    spec.ranks = *ranks;
    snprintf(spec.data.path, sizeof spec.data.path, "/nonexistent/images");
    return (int)train_go(&spec, &err);
}

Test(train_ranks, end_together_when_one_fails, .init = train_open, .fini = train_close,
     .timeout = 60)
{
    struct engine_spec spec = train_spec("fails");
    struct engine_ranks ranks;
    struct ij_err err;
    spec.optimizer.batch = 2;
    ranks_start(2, 30, follow_without_data, &spec, &ranks);
    spec.ranks = ranks;
    enum ij_status status = train_go(&spec, &err);
    cr_assert_eq(status, ranks_end(&ranks, 1));
    cr_assert(strncmp(err.text, "rank 1: ", 8) == 0 && strstr(err.text, "/nonexistent/images"),
              "%s", err.text);
}

/* Rank 1 begins somewhere else than rank 0. */
static int follow_from_scratch(const struct engine_ranks *ranks, void *user)
{
    struct engine_spec spec = *(const struct engine_spec *)user;
    struct ij_err err;
    spec.ranks = *ranks;
    snprintf(spec.directory, sizeof spec.directory, "%s/elsewhere", train_root);
    return (int)train_go(&spec, &err);
}

Test(train_ranks, refuse_to_begin_at_different_steps, .init = train_open, .fini = train_close,
     .timeout = 60)
{
    struct engine_spec spec = train_spec("apart");
    struct engine_ranks ranks;
    struct ij_err err;
    spec.optimizer.batch = 2;
    stop_in_the_middle(&spec);
    ranks_start(2, 30, follow_from_scratch, &spec, &ranks);
    spec.ranks = ranks;
    cr_assert_eq(train_go(&spec, &err), IJ_CONFLICT, "%s", err.text);
    cr_assert_eq(ranks_end(&ranks, 1), IJ_CONFLICT);
}
