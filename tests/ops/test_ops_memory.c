/* Device memory against the plan: counted by the fake runtime of the CUDA backend's host build. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gpu/model/masks.h"
#include "gpu/train/trainer.h"
#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

#define CROP_MOST 56 /* of a step */

static struct engine_spec memory_spec(uint32_t crop, uint32_t width, uint32_t depth, uint32_t batch)
{
    struct engine_spec spec = {
        .kind = ENGINE_PRETRAIN,
        .device = ENGINE_DEVICE_CUDA,
        .precision = ENGINE_BFLOAT16,
        .data = {.crop = crop,
                 .crop_scale = {0.3, 1},
                 .crop_ratio = {0.75, 1.25},
                 .std = {0.25, 0.25, 0.25},
                 .bad_image_limit = 0.1,
                 .path = "images"},
        .model = {.patch = crop / 14,
                  .width = width,
                  .depth = depth,
                  .heads = width / 32,
                  .mlp_ratio = 4,
                  .pred_width = width / 2,
                  .pred_depth = 2,
                  .pred_heads = 2,
                  .init_std = 0.02},
        .masks = {.targets = 4,
                  .target_scale = {0.15, 0.2},
                  .target_aspect = {0.75, 1.5},
                  .context_scale = {0.85, 1.0},
                  .min_keep = 4},
        .optimizer = {.batch = batch,
                      .accumulate = 1,
                      .epochs = 1,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .adam_eps = 1e-8,
                      .lr = 1e-3,
                      .ipe_scale = 1,
                      .ema_start = 0.99,
                      .ema_end = 1},
        .monitor = {.keep_checkpoints = 1},
    };
    return spec;
}

static struct trainer *trainer_of(struct backend *backend, const struct engine_spec *spec,
                                  struct masks *masks)
{
    struct ij_err err = IJ_ERR_INIT;
    struct trainer *trainer = NULL;
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits limits;
    struct vit_config config = vit_config_from_spec(spec);
    cr_assert_eq(masks_init(masks, &rules, 3, spec->optimizer.batch, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(ijepa_limits(&rules, spec->optimizer.batch, &limits, &err), IJ_OK);
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &trainer, &err), IJ_OK, "%s",
                 err.text);
    return trainer;
}

static double plan_off(const struct engine_spec *spec)
{
    struct engine_plan plan;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(engine_plan_memory(spec, &plan, &err), IJ_OK, "%s", err.text);
    return (double)simt_memory_used() / (double)plan.bytes_total - 1;
}

static void expect_planned(const struct engine_spec *spec)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    struct masks masks;
    cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
    struct trainer *trainer = trainer_of(backend, spec, &masks);
    double off = plan_off(spec);
    cr_assert(fabs(off) < 0.05, "width %u, depth %u, batch %u: %.1f %% off", spec->model.width,
              spec->model.depth, spec->optimizer.batch, 100 * off);
    trainer_free(trainer);
    masks_done(&masks);
    backend->ops->free(backend);
    cr_assert_eq(simt_memory_used(), 0, "all is given back");
}

Test(ops_memory, is_within_five_percent_of_the_plan, .timeout = 120)
{
    static const struct {
        uint32_t crop, width, depth, batch;
    } rows[] = {{224, 192, 3, 1}, {224, 192, 3, 128}, {112, 384, 1, 64}, {56, 64, 2, 256}};
    if (!simt_memory_used)
        cr_skip_test("this program has no host build of the CUDA backend");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_spec spec =
            memory_spec(rows[i].crop, rows[i].width, rows[i].depth, rows[i].batch);
        expect_planned(&spec);
        spec.target_precision = ENGINE_TARGET_FLOAT8;
        expect_planned(&spec);
        spec.precision = ENGINE_FLOAT32;
        spec.target_precision = ENGINE_TARGET_SAME;
        expect_planned(&spec);
    }
}

/* One step with its update. */
static void memory_step(struct trainer *trainer, struct masks *masks, uint32_t batch,
                        uint64_t index)
{
    mem_auto uint8_t *pixels = mem_array(uint8_t, (size_t)batch * CROP_MOST * CROP_MOST * 3);
    struct ij_err err = IJ_ERR_INIT;
    struct ijepa_loss loss;
    struct trainer_norms norms;
    masks_draw(masks, 0, index, batch);
    struct ijepa_batch b = {.pixels = pixels,
                            .images = batch,
                            .context_count = masks->context_count,
                            .target_count = masks->target_count,
                            .context = masks->context,
                            .targets = masks->targets};
    struct trainer_update update = {.step = index + 1,
                                    .lr = 1e-3,
                                    .ema_momentum = 0.9,
                                    .beta1 = 0.9,
                                    .beta2 = 0.99,
                                    .eps = 1e-6};
    cr_assert_eq(trainer_micro_batch(trainer, &b, 0, 1, &loss, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(trainer_update(trainer, &update, &norms, &err), IJ_OK, "%s", err.text);
}

Test(ops_memory, a_step_takes_none_after_the_first, .timeout = 120)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    struct masks masks;
    if (!simt_memory_used)
        cr_skip_test("this program has no host build of the CUDA backend");
    struct engine_spec spec = memory_spec(28, 32, 2, 2);
    cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
    struct trainer *trainer = trainer_of(backend, &spec, &masks);
    cr_assert_eq(trainer_set_random(trainer, 3, &err), IJ_OK, "%s", err.text);
    memory_step(trainer, &masks, 2, 0);
    size_t after_first = simt_memory_peak();
    double off = plan_off(&spec);
    cr_assert(fabs(off) < 0.05, "%.1f %% off", 100 * off);
    for (uint64_t i = 1; i < 4; i++)
        memory_step(trainer, &masks, 2, i);
    cr_assert_eq(simt_memory_peak(), after_first);
    trainer_free(trainer);
    masks_done(&masks);
    backend->ops->free(backend);
}

/* ---- The host -------------------------------------------------------------------------------- */

static const struct ops *host_ops;
static struct ops counting_ops;
static size_t counted;

static enum ij_status count_allocate(struct backend *backend, size_t bytes, void **ret_memory,
                                     struct ij_err *reterr_err)
{
    counted += bytes;
    return host_ops->allocate(backend, bytes, ret_memory, reterr_err);
}

static void count_from_here(struct backend *backend)
{
    host_ops = backend->ops;
    counting_ops = *host_ops;
    counting_ops.allocate = count_allocate;
    backend->ops = &counting_ops;
    counted = 0;
}

/* What the model takes there; the backend's own scratch, threads times a tile, is not planned. */
Test(ops_memory, of_the_host_is_within_five_percent_of_the_plan, .timeout = 120)
{
    static const enum engine_precision precisions[] = {ENGINE_BFLOAT16, ENGINE_FLOAT32};
    for (size_t i = 0; i < COUNT_OF(precisions); i++) {
        struct ij_err err = IJ_ERR_INIT;
        struct backend *backend = NULL;
        struct engine_plan plan;
        struct masks masks;
        struct engine_spec spec = memory_spec(224, 192, 3, 128);
        spec.device = ENGINE_DEVICE_HOST;
        spec.precision = precisions[i];
        cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
        count_from_here(backend);
        struct trainer *trainer = trainer_of(backend, &spec, &masks);
        cr_assert_eq(engine_plan_memory(&spec, &plan, &err), IJ_OK, "%s", err.text);
        double off = (double)counted / (double)plan.bytes_total - 1;
        cr_assert(counted > (size_t)100 << 20 && fabs(off) < 0.05, "%.1f %% off", 100 * off);
        trainer_free(trainer);
        masks_done(&masks);
        backend->ops = host_ops;
        host_ops->free(backend);
    }
}

/* ---- Pages of a host ------------------------------------------------------------------------- */

#define MAPS_MOST 16

static struct {
    void *data;
    size_t bytes;
} maps[MAPS_MOST];
static size_t map_count;

/* Memory of which nothing was ever touched. */
static enum ij_status map_allocate(struct backend *backend, size_t bytes, void **ret_memory,
                                   struct ij_err *reterr_err)
{
    (void)backend, (void)reterr_err;
    void *data =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, (off_t)0);
    cr_assert(data != MAP_FAILED && map_count < MAPS_MOST);
    maps[map_count].data = data;
    maps[map_count++].bytes = bytes;
    *ret_memory = data;
    return IJ_OK;
}

static void map_release(struct backend *backend, void *memory)
{
    (void)backend;
    for (size_t i = 0; i < map_count; i++)
        if (maps[i].data == memory)
            munmap(memory, maps[i].bytes);
}

static size_t maps_resident(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 0;
    for (size_t i = 0; i < map_count; i++) {
        size_t count = (maps[i].bytes + page - 1) / page;
        mem_auto unsigned char *there = mem_array(unsigned char, count);
        cr_assert(there && mincore(maps[i].data, maps[i].bytes, there) == 0);
        for (size_t p = 0; p < count; p++)
            pages += there[p] & 1;
    }
    return pages * page;
}

/* After one batch and after four, more of which is written. */
Test(ops_memory, of_the_host_is_written_as_the_plan_expects, .timeout = 120)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    struct engine_plan plan;
    struct masks masks;
    struct engine_spec spec = memory_spec(CROP_MOST, 128, 2, 16);
    spec.device = ENGINE_DEVICE_HOST;
    spec.precision = ENGINE_FLOAT32;
    spec.seed = 3; /* as trainer_of draws */
    cr_assert_eq(backend_host_new(2, &backend, &err), IJ_OK, "%s", err.text);
    count_from_here(backend);
    counting_ops.allocate = map_allocate;
    counting_ops.release = map_release;
    struct trainer *trainer = trainer_of(backend, &spec, &masks);
    cr_assert_eq(trainer_set_random(trainer, 3, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(engine_plan_memory(&spec, &plan, &err), IJ_OK, "%s", err.text);
    for (uint32_t batch = 0; batch < 4; batch++) {
        memory_step(trainer, &masks, 16, batch);
        if (batch == 1 || batch == 2)
            continue;
        cr_assert_eq(engine_plan_resident(&spec, batch + 1, &plan, &err), IJ_OK, "%s", err.text);
        double off = (double)maps_resident() / (double)plan.bytes_resident - 1;
        cr_assert(fabs(off) < 0.05, "batch %u: %.1f %% off", batch, 100 * off);
        cr_assert(plan.bytes_resident < plan.bytes_total * 3 / 4, "the rest is room");
    }
    trainer_free(trainer);
    masks_done(&masks);
    backend->ops = host_ops;
    host_ops->free(backend);
}
