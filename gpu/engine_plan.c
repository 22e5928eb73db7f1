/* Memory, work and steps before a run starts. Part of the engine's questions: no backend. */
#include <string.h>

#include "base/mem.h"
#include "gpu/engine.h"
#include "gpu/eval/eval_memory.h"
#include "gpu/model/classifier.h"
#include "gpu/model/flops.h"
#include "gpu/model/ijepa_memory.h"
#include "gpu/model/masks.h"
#include "gpu/model/schedule.h"
#include "gpu/ops/cuda_plan.h"

#define FLOAT_BYTES 4u
#define BF16_BYTES  2u
#define DRAWN_MOST  2048 /* images of a batch: contexts hardly shrink any more */

/* Parameters with their moving average and gradients; both moments. */
static void plan_arenas(const struct layout *layout, const struct vit_config *config,
                        struct engine_plan *plan)
{
    uint64_t all = (uint64_t)layout->floats, encoder = (uint64_t)layout->encoder_floats;
    uint64_t trained = layout->parameters_encoder + layout->parameters_predictor;
    plan->parameters_encoder = layout->parameters_encoder;
    plan->parameters_predictor = layout->parameters_predictor;
    plan->bytes_parameters = (2 * all + encoder) * FLOAT_BYTES;
    if (config->type == TENSOR_BF16)
        plan->bytes_parameters += (all + encoder) * BF16_BYTES;
    if (config->target_e4m3)
        plan->bytes_parameters +=
            encoder + (uint64_t)block_scale_at(layout->encoder_floats) * FLOAT_BYTES;
    plan->bytes_optimizer = 2 * all * FLOAT_BYTES;
    /* Parameters, target encoder and two moments. */
    plan->bytes_checkpoint = (3 * trained + layout->parameters_encoder) * FLOAT_BYTES;
    plan->bytes_scratch = CUDA_PLAN_FIXED +
                          cuda_plan_chunks(layout->floats, (int64_t)layout->count) +
                          layout->count * sizeof(double);
}

/* `beside`: what is allocated next to the model. */
static enum ij_status plan_model(const struct vit_config *config,
                                 const struct predictor_limits *limits, uint64_t beside,
                                 struct engine_plan *plan, struct ij_err *reterr_err)
{
    struct ijepa_bytes bytes;
    IJ_TRY(ijepa_measure(config, limits, TENSOR_U8, &bytes, reterr_err));
    plan->bytes_activations = bytes.activations + beside;
    plan->bytes_input = bytes.input;
    plan->bytes_scratch += bytes.scratch;
    return IJ_OK;
}

static enum ij_status plan_pretrain(const struct engine_spec *spec, const struct vit_config *config,
                                    struct engine_plan *plan, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits limits;
    IJ_TRY(ijepa_limits(&rules, spec->optimizer.batch, &limits, reterr_err));
    return plan_model(config, &limits, eval_memory_monitor(spec, config), plan, reterr_err);
}

/* The model for a few images, all of them at once, and the encoder for those to search. */
static enum ij_status plan_visualize(const struct engine_spec *spec,
                                     const struct vit_config *config, struct engine_plan *plan,
                                     struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits limits;
    IJ_TRY(ijepa_limits(&rules, spec->eval.images, &limits, reterr_err));
    limits.context_rows = limits.images * limits.context_count;
    plan->bytes_checkpoint = 0;
    return plan_model(config, &limits, eval_memory_bank(config), plan, reterr_err);
}

static uint64_t plan_encoder_scratch(const struct vit_config *config, uint64_t images)
{
    int64_t widths[] = {3 * config->encoder.width, config->encoder.hidden, config->patch_values};
    int64_t widest = 0;
    for (size_t i = 0; i < 3; i++)
        widest = widths[i] > widest ? widths[i] : widest;
    return cuda_plan_scratch((int64_t)images * config->patches, widest, config->encoder.heads);
}

/* Evaluation only runs the encoder forward. */
static void plan_evaluation(const struct engine_spec *spec, const struct vit_config *config,
                            struct engine_plan *plan)
{
    struct eval_memory memory = eval_memory_of(spec, config);
    uint64_t value = config->type == TENSOR_BF16 ? FLOAT_BYTES + BF16_BYTES : FLOAT_BYTES;
    plan->bytes_parameters = plan->parameters_encoder * value;
    plan->bytes_optimizer = plan->bytes_checkpoint = 0;
    plan->bytes_activations = memory.activations;
    plan->bytes_input = memory.input;
    plan->bytes_scratch = CUDA_PLAN_FIXED + plan_encoder_scratch(config, (uint64_t)memory.images);
}

/* Training of the encoder with a classifier, whose classes the dataset alone knows. */
static enum ij_status plan_finetune(const struct engine_spec *spec, const struct vit_config *config,
                                    struct engine_plan *plan, struct ij_err *reterr_err)
{
    const struct engine_finetune *f = &spec->finetune;
    uint64_t floats = plan->parameters_encoder;
    plan->bytes_parameters = 2 * floats * FLOAT_BYTES;
    if (config->type == TENSOR_BF16)
        plan->bytes_parameters += floats * BF16_BYTES;
    plan->bytes_optimizer = 2 * floats * FLOAT_BYTES;
    plan->bytes_checkpoint = 3 * floats * FLOAT_BYTES;
    plan->bytes_input = f->batch * (uint64_t)(config->crop * config->crop) * 3;
    plan->bytes_scratch += plan_encoder_scratch(config, f->batch);
    return classifier_measure(config, EVAL_MEMORY_CLASSES, f->batch, &plan->bytes_activations,
                              reterr_err);
}

static bool is_loader_benchmark(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_BENCHMARK && spec->benchmark.what == ENGINE_BENCHMARK_LOADER;
}

static bool trains_encoder(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_FINETUNE ||
           (spec->kind == ENGINE_LOW_SHOT && spec->low_shot.method == ENGINE_LOW_SHOT_FINETUNE);
}

enum ij_status engine_plan_memory(const struct engine_spec *spec, struct engine_plan *ret_plan,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(engine_check(spec, reterr_err));
    struct vit_config config = vit_config_from_spec(spec);
    struct engine_plan plan;
    struct layout layout;
    memset(&plan, 0, sizeof plan);
    if (spec->kind == ENGINE_SCAN || is_loader_benchmark(spec)) { /* no model, no device */
        *ret_plan = plan;
        return IJ_OK;
    }
    IJ_TRY(layout_init(&layout, &config, reterr_err));
    plan_arenas(&layout, &config, &plan);
    layout_done(&layout);
    if (spec->kind == ENGINE_PRETRAIN || spec->kind == ENGINE_BENCHMARK)
        IJ_TRY(plan_pretrain(spec, &config, &plan, reterr_err));
    else if (spec->kind == ENGINE_VISUALIZE)
        IJ_TRY(plan_visualize(spec, &config, &plan, reterr_err));
    else if (trains_encoder(spec))
        IJ_TRY(plan_finetune(spec, &config, &plan, reterr_err));
    else
        plan_evaluation(spec, &config, &plan);
    if (spec->device == ENGINE_DEVICE_HOST)
        plan.bytes_scratch = 0;
    plan.bytes_total = plan.bytes_parameters + plan.bytes_optimizer + plan.bytes_activations +
                       plan.bytes_input + plan.bytes_scratch;
    *ret_plan = plan;
    return IJ_OK;
}

/* ---- Pages ----------------------------------------------------------------------------------- */

/* Of the first batches of a run. */
static enum ij_status draw_lengths(const struct engine_spec *spec,
                                   const struct mask_sizes_rules *rules, uint32_t batches,
                                   struct ijepa_lengths *ret_lengths, struct ij_err *reterr_err)
{
    struct masks masks;
    uint32_t batch = spec->optimizer.batch, drawn = batch < DRAWN_MOST ? batch : DRAWN_MOST;
    IJ_TRY(masks_init(&masks, rules, spec->seed, drawn, reterr_err));
    for (uint32_t i = 0; i < batches; i++) {
        masks_draw(&masks, 0, i, drawn);
        ret_lengths[i] = (struct ijepa_lengths){masks.context_count, masks.target_count};
    }
    masks_done(&masks);
    return IJ_OK;
}

/* What those batches leave unwritten of the activations. */
static enum ij_status plan_unwritten(const struct engine_spec *spec, uint32_t batches,
                                     uint64_t *ret_bytes, struct ij_err *reterr_err)
{
    struct vit_config config = vit_config_from_spec(spec);
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits limits;
    struct ijepa_bytes room;
    uint64_t written;
    mem_auto struct ijepa_lengths *lengths = mem_array(struct ijepa_lengths, batches);
    if (!lengths)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to plan for %u batches", batches);
    IJ_TRY(draw_lengths(spec, &rules, batches, lengths, reterr_err));
    IJ_TRY(ijepa_limits(&rules, spec->optimizer.batch, &limits, reterr_err));
    IJ_TRY(ijepa_measure(&config, &limits, TENSOR_U8, &room, reterr_err));
    IJ_TRY(ijepa_written(&config, &limits, lengths, batches, &written, reterr_err));
    *ret_bytes = room.activations - written;
    return IJ_OK;
}

enum ij_status engine_plan_resident(const struct engine_spec *spec, uint32_t batches,
                                    struct engine_plan *plan, struct ij_err *reterr_err)
{
    uint64_t unwritten = 0;
    if (batches < 1 || batches > ENGINE_PLAN_BATCHES_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "batches", "must be 1 to %d, got %u",
                            ENGINE_PLAN_BATCHES_MAX, batches);
    bool trains = spec->kind == ENGINE_PRETRAIN || spec->kind == ENGINE_BENCHMARK;
    if (trains && !is_loader_benchmark(spec) && spec->device == ENGINE_DEVICE_HOST)
        IJ_TRY(plan_unwritten(spec, batches, &unwritten, reterr_err));
    plan->bytes_resident = plan->bytes_total - unwritten;
    return IJ_OK;
}

/* ---- Work ------------------------------------------------------------------------------------ */

static enum ij_status plan_work(const struct engine_spec *spec, uint64_t images,
                                struct engine_plan *plan, struct ij_err *reterr_err)
{
    struct vit_config config = vit_config_from_spec(spec);
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    uint64_t ranks = spec->ranks.count > 1 ? spec->ranks.count : 1;
    uint64_t per_epoch = schedule_steps_per_epoch(&spec->optimizer, images / ranks);
    plan->steps = per_epoch ? schedule_new(&spec->optimizer, per_epoch).steps : 0;
    return flops_expected(&config, &rules, spec->optimizer.batch, &plan->flop_per_image,
                          reterr_err);
}

enum ij_status engine_plan(const struct engine_spec *spec, uint64_t images,
                           struct engine_plan *ret_plan, struct ij_err *reterr_err)
{
    const struct engine_finetune *f = &spec->finetune;
    struct engine_plan plan;
    IJ_TRY(engine_plan_memory(spec, &plan, reterr_err));
    IJ_TRY(engine_plan_resident(spec, ENGINE_PLAN_BATCHES, &plan, reterr_err));
    if (spec->kind == ENGINE_PRETRAIN)
        IJ_TRY(plan_work(spec, images, &plan, reterr_err));
    else if (trains_encoder(spec))
        plan.steps = (uint64_t)(f->epochs * (double)(images / f->batch / f->accumulate));
    *ret_plan = plan;
    return IJ_OK;
}
