/*
 * Times the operations of one model's training step, each alone, on the shapes that the step has.
 * See engine.h.
 *
 * A line gives the time, the rate of products or of bytes, and the share of the floor: the longer
 * of (work / measured rate of products) and (least bytes / measured copy rate), over the time.
 * Buffers are used again by each call; at the batch sizes of training most are larger than a GPU's
 * cache, small ones are not, and their share may exceed 1.
 */
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/mem.h"
#include "gpu/bench_ceiling.h"
#include "gpu/engine.h"
#include "gpu/engine_device.h"
#include "gpu/model/carve.h"
#include "gpu/model/masks.h"
#include "gpu/model/op_call.h"
#include "gpu/model/vit_config.h"

#define MASK_BATCHES 16

/* One pass over a stack of blocks. */
struct place {
    const char *name;
    struct vit_stack stack;
    int64_t sequences, length;
    bool backward;
};

struct bench {
    struct backend *backend;
    const struct place *place; /* of the case that runs */
    struct vit_config config;
    enum tensor_type type;
    int64_t batch, context, targets, blocks; /* mean lengths of masks */
    struct bench_ceiling ceiling;
    double seconds;
    void *memory;
    /* Carved for the largest place: (rows, D) float32 and in the type, (rows, widest). */
    struct tensor x, y, narrow, narrow2, wide, wide2, weight, pixels;
    float *dweight, *bias, *position, *statistics, *arenas[5];
    int32_t *index;
    void (*report)(void *user, const char *line);
    void *user;
};

/* What a case costs at least. */
struct cost {
    double flop, bytes;
};

static int64_t rows_of(const struct bench *b)
{
    return b->place->sequences * b->place->length;
}

static double type_bytes(const struct bench *b)
{
    return (double)tensor_type_size(b->type);
}

/* ---- Linear layers --------------------------------------------------------------------------- */

static struct cost linear_cost(const struct bench *b, int64_t in, int64_t out, double extra_bytes)
{
    double rows = (double)rows_of(b), all = (double)in + (double)out;
    struct cost cost = {2 * rows * (double)in * (double)out,
                        type_bytes(b) * (rows * all + (double)in * (double)out) + extra_bytes};
    return cost;
}

static enum ij_status run_qkv(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    int64_t d = b->place->stack.width;
    OP_CALL(linear_forward, .rows = rows_of(b), .in = d, .out = 3 * d, .x = b->narrow,
            .weight = b->weight, .bias = b->bias, .y = b->wide);
    return IJ_OK;
}
static struct cost cost_qkv(const struct bench *b)
{
    return linear_cost(b, b->place->stack.width, 3 * b->place->stack.width, 0);
}

static enum ij_status run_fc1(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(linear_forward, .rows = rows_of(b), .in = b->place->stack.width,
            .out = b->place->stack.hidden, .x = b->narrow, .weight = b->weight, .bias = b->bias,
            .activation = b->place->stack.gelu_tanh ? ACTIVATION_GELU_TANH : ACTIVATION_GELU,
            .pre = b->place->backward ? b->wide2 : (struct tensor){0}, .y = b->wide);
    return IJ_OK;
}
static struct cost cost_fc1(const struct bench *b)
{
    int64_t hidden = b->place->stack.hidden;
    double kept = b->place->backward ? type_bytes(b) * (double)(rows_of(b) * hidden) : 0;
    return linear_cost(b, b->place->stack.width, hidden, kept);
}

static enum ij_status run_fc2(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(linear_forward, .rows = rows_of(b), .in = b->place->stack.hidden,
            .out = b->place->stack.width, .x = b->wide, .weight = b->weight, .bias = b->bias,
            .residual = b->x, .y = b->x);
    return IJ_OK;
}
static struct cost cost_fc2(const struct bench *b)
{
    /* The stream is float32: read and written, in place of the type's one write. */
    double stream = (double)(rows_of(b) * b->place->stack.width) * (8 - type_bytes(b));
    return linear_cost(b, b->place->stack.hidden, b->place->stack.width, stream);
}

static enum ij_status run_fc2_input(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(linear_backward_input, .rows = rows_of(b), .in = b->place->stack.hidden,
            .out = b->place->stack.width, .dy = b->narrow, .weight = b->weight,
            .gelu_pre = b->wide2, .gelu_tanh = b->place->stack.gelu_tanh, .dx = b->wide);
    return IJ_OK;
}

static enum ij_status run_fc1_weight(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(linear_backward_weight, .rows = rows_of(b), .in = b->place->stack.width,
            .out = b->place->stack.hidden, .dy = b->wide, .x = b->narrow, .dweight = b->dweight,
            .dbias = b->bias);
    return IJ_OK;
}
static struct cost cost_fc1_weight(const struct bench *b)
{
    return linear_cost(b, b->place->stack.width, b->place->stack.hidden, 0);
}

/* ---- Attention and norms --------------------------------------------------------------------- */

static enum ij_status run_attention(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    const struct place *p = b->place;
    OP_CALL(attention_forward, .sequences = p->sequences, .length = p->length,
            .heads = p->stack.heads, .head_dim = p->stack.width / p->stack.heads, .qkv = b->wide,
            .out = b->narrow, .lse = b->statistics);
    return IJ_OK;
}
static struct cost cost_attention(const struct bench *b)
{
    double area = (double)rows_of(b) * (double)b->place->stack.width;
    struct cost cost = {4 * area * (double)b->place->length, 4 * area * type_bytes(b)};
    return cost;
}

static enum ij_status run_attention_backward(struct backend *backend, void *user,
                                             struct ij_err *reterr_err)
{
    const struct bench *b = user;
    const struct place *p = b->place;
    OP_CALL(attention_backward, .sequences = p->sequences, .length = p->length,
            .heads = p->stack.heads, .head_dim = p->stack.width / p->stack.heads, .qkv = b->wide,
            .out = b->narrow, .dout = b->narrow2, .lse = b->statistics, .dqkv = b->wide2);
    return IJ_OK;
}
static struct cost cost_attention_backward(const struct bench *b)
{
    double area = (double)rows_of(b) * (double)b->place->stack.width;
    struct cost cost = {10 * area * (double)b->place->length, 8 * area * type_bytes(b)};
    return cost;
}

static enum ij_status run_norm(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    float *mean = b->statistics;
    OP_CALL(layer_norm_forward, .rows = rows_of(b), .width = b->place->stack.width, .eps = 1e-6f,
            .x = b->x, .gamma = b->bias, .beta = b->bias, .y = b->narrow, .mean = mean,
            .rstd = mean + rows_of(b));
    return IJ_OK;
}
static struct cost cost_norm(const struct bench *b)
{
    struct cost cost = {0, (double)(rows_of(b) * b->place->stack.width) * (4 + type_bytes(b))};
    return cost;
}

static enum ij_status run_norm_backward(struct backend *backend, void *user,
                                        struct ij_err *reterr_err)
{
    const struct bench *b = user;
    const float *mean = b->statistics;
    int64_t d = b->place->stack.width;
    OP_CALL(layer_norm_backward, .rows = rows_of(b), .width = d, .dy = b->narrow, .x = b->x,
            .gamma = b->bias, .mean = mean, .rstd = mean + rows_of(b), .residual = b->y, .dx = b->y,
            .dgamma = b->dweight, .dbeta = b->dweight + d);
    return IJ_OK;
}
static struct cost cost_norm_backward(const struct bench *b)
{
    struct cost cost = {0, (double)(rows_of(b) * b->place->stack.width) * (12 + type_bytes(b))};
    return cost;
}

/* ---- Tokens, loss, optimiser ----------------------------------------------------------------- */

static enum ij_status run_patchify(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(patchify, .images = b->batch, .size = b->config.crop, .patch = b->config.patch,
            .pixels = b->pixels, .std = {1, 1, 1}, .keep_count = b->config.patches, .y = b->wide);
    return IJ_OK;
}
static struct cost cost_patchify(const struct bench *b)
{
    double values = (double)(b->batch * b->config.patches * b->config.patch_values);
    struct cost cost = {0, values * (1 + type_bytes(b))};
    return cost;
}

static enum ij_status run_assemble(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(assemble_forward, .images = b->batch, .blocks = b->blocks, .context_count = b->context,
            .target_count = b->targets, .width = b->place->stack.width, .context = b->narrow,
            .position = b->position, .mask_token = b->bias, .context_index = b->index,
            .target_index = b->index, .x = b->x);
    return IJ_OK;
}
static struct cost cost_assemble(const struct bench *b)
{
    double d = (double)b->place->stack.width;
    double read = (double)(b->batch * b->context) * d * type_bytes(b);
    struct cost cost = {0, read + (double)rows_of(b) * d * 4};
    return cost;
}

static int64_t loss_rows(const struct bench *b)
{
    return b->blocks * b->batch * b->targets;
}

static enum ij_status run_loss(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    OP_CALL(loss, .rows = loss_rows(b), .width = b->config.encoder.width, .prediction = b->narrow,
            .target = b->x.data, .gradient_scale = 1, .dprediction = b->narrow2,
            .sums = b->statistics);
    return IJ_OK;
}
static struct cost cost_loss(const struct bench *b)
{
    double values = (double)(loss_rows(b) * b->config.encoder.width);
    struct cost cost = {0, values * (4 + 2 * type_bytes(b))};
    return cost;
}

/* As many values as one block's weights. */
static int64_t adamw_count(const struct bench *b)
{
    const struct vit_stack *s = &b->place->stack;
    return s->width * (4 * s->width + 2 * s->hidden);
}

static enum ij_status run_adamw(struct backend *backend, void *user, struct ij_err *reterr_err)
{
    const struct bench *b = user;
    struct parameter_segment segment = {0, adamw_count(b), true, 0};
    OP_CALL(adamw_ema, .step = 10, .lr = 1e-4, .weight_decay = 0.05, .beta1 = 0.9, .beta2 = 0.999,
            .eps = 1e-8, .ema_momentum = 0.996, .gradient_scale = 1, .segments = &segment,
            .segment_count = 1, .parameter = b->arenas[0], .gradient = b->arenas[1],
            .moment1 = b->arenas[2], .moment2 = b->arenas[3], .ema = b->arenas[4]);
    return IJ_OK;
}
static struct cost cost_adamw(const struct bench *b)
{
    struct cost cost = {0, (double)adamw_count(b) * 36};
    return cost;
}

/* ---- The table ------------------------------------------------------------------------------- */

enum use { EVERY_PLACE, BACKWARD_PLACES, FIRST_PLACE, LAST_PLACE };

static const struct {
    const char *name;
    enum use use;
    enum ij_status (*run)(struct backend *backend, void *user, struct ij_err *reterr_err);
    struct cost (*cost)(const struct bench *b);
} cases[] = {
    {"linear qkv + bias", EVERY_PLACE, run_qkv, cost_qkv},
    {"linear fc1 + bias + GELU", EVERY_PLACE, run_fc1, cost_fc1},
    {"linear fc2 + bias + residual", EVERY_PLACE, run_fc2, cost_fc2},
    {"linear input gradient fc2 . GELU'", BACKWARD_PLACES, run_fc2_input, cost_fc1},
    {"linear weight gradient fc1 + bias", BACKWARD_PLACES, run_fc1_weight, cost_fc1_weight},
    {"attention forward", EVERY_PLACE, run_attention, cost_attention},
    {"attention backward", BACKWARD_PLACES, run_attention_backward, cost_attention_backward},
    {"layer norm forward", EVERY_PLACE, run_norm, cost_norm},
    {"layer norm backward + residual", BACKWARD_PLACES, run_norm_backward, cost_norm_backward},
    {"patchify uint8", FIRST_PLACE, run_patchify, cost_patchify},
    {"assemble", LAST_PLACE, run_assemble, cost_assemble},
    {"loss + gradient", LAST_PLACE, run_loss, cost_loss},
    {"adamw + ema, one block", FIRST_PLACE, run_adamw, cost_adamw},
};

static enum ij_status run_case(struct bench *b, size_t i, struct ij_err *reterr_err)
{
    char line[512];
    double seconds;
    struct bench_call call = {cases[i].run, b};
    struct cost cost = cases[i].cost(b);
    IJ_TRY(bench_ceiling_time(b->backend, &call, b->seconds, &seconds, reterr_err));
    double by_work = cost.flop / b->ceiling.gflops / 1e9;
    double by_bytes = cost.bytes / b->ceiling.gbytes_s / 1e9;
    double floor_s = by_work > by_bytes ? by_work : by_bytes;
    snprintf(line, sizeof line,
             "{\"op\":\"%s\",\"place\":\"%s\",\"rows\":%lld,\"width\":%lld,\"length\":%lld,"
             "\"us\":%.2f,\"gflops\":%.1f,\"gbytes_s\":%.1f,\"bound\":\"%s\","
             "\"share_of_ceiling\":%.3f}",
             cases[i].name, b->place->name, (long long)rows_of(b), (long long)b->place->stack.width,
             (long long)b->place->length, seconds * 1e6, cost.flop / seconds / 1e9,
             cost.bytes / seconds / 1e9, by_work > by_bytes ? "products" : "memory",
             floor_s / seconds);
    b->report(b->user, line);
    return IJ_OK;
}

static bool belongs(enum use use, const struct place *place, size_t index, size_t count)
{
    return use == EVERY_PLACE || (use == BACKWARD_PLACES && place->backward) ||
           (use == FIRST_PLACE && index == 0) || (use == LAST_PLACE && index == count - 1);
}

static enum ij_status run_places(struct bench *b, const struct place *places, size_t count,
                                 struct ij_err *reterr_err)
{
    for (size_t p = 0; p < count; p++)
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            if (!belongs(cases[i].use, &places[p], p, count))
                continue;
            b->place = &places[p];
            IJ_TRY(run_case(b, i, reterr_err));
        }
    return IJ_OK;
}

/* ---- Preparation ----------------------------------------------------------------------------- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void carve_all(struct bench *b, struct carve *carve, const struct place *places,
                      size_t count)
{
    const struct vit_config *c = &b->config;
    int64_t rows = 0, narrow = 0, wide = 0, heads = 0, weight = 0;
    for (size_t i = 0; i < count; i++) {
        const struct vit_stack *s = &places[i].stack;
        int64_t n = places[i].sequences * places[i].length, w = larger(3 * s->width, s->hidden);
        rows = larger(rows, n);
        narrow = larger(narrow, n * s->width);
        wide = larger(wide, n * w);
        heads = larger(heads, n * larger(s->heads, 2));
        weight = larger(weight, s->width * w);
    }
    wide = larger(wide, b->batch * c->patches * c->patch_values);
    narrow = larger(narrow, loss_rows(b) * c->encoder.width);
    b->x = carve_tensor(carve, TENSOR_F32, narrow, 1);
    b->y = carve_tensor(carve, TENSOR_F32, narrow, 1);
    b->narrow = carve_tensor(carve, b->type, narrow, 1);
    b->narrow2 = carve_tensor(carve, b->type, narrow, 1);
    b->wide = carve_tensor(carve, b->type, wide, 1);
    b->wide2 = carve_tensor(carve, b->type, wide, 1);
    b->weight = carve_tensor(carve, b->type, weight, 1);
    b->pixels = carve_tensor(carve, TENSOR_U8, b->batch * c->crop * c->crop, 3);
    b->dweight = carve_floats(carve, weight);
    b->bias = carve_floats(carve, larger(3 * c->encoder.width, 2 * c->encoder.hidden));
    b->position = carve_floats(carve, c->patches * c->predictor.width);
    b->statistics = carve_floats(carve, heads + 3);
    b->index = carve_indices(carve, rows);
    const struct vit_stack *s = &places[0].stack;
    for (size_t i = 0; i < COUNT_OF(b->arenas); i++)
        b->arenas[i] = carve_floats(carve, s->width * (4 * s->width + 2 * s->hidden));
}

static enum ij_status fill_all(struct bench *b, const struct place *places, size_t count,
                               struct ij_err *reterr_err)
{
    struct carve measure = {.base = NULL};
    carve_all(b, &measure, places, count);
    IJ_TRY(b->backend->ops->allocate(b->backend, measure.peak, &b->memory, reterr_err));
    struct carve carve = {.base = b->memory};
    carve_all(b, &carve, places, count);
    IJ_TRY(b->backend->ops->clear(b->backend, b->memory, measure.peak, reterr_err));
    struct tensor filled[] = {b->x, b->y, b->narrow, b->narrow2, b->wide, b->wide2, b->weight};
    for (size_t i = 0; i < COUNT_OF(filled); i++) {
        char *end = i + 1 < COUNT_OF(filled) ? filled[i + 1].data : b->pixels.data;
        size_t bytes = (size_t)(end - (char *)filled[i].data);
        int64_t values = (int64_t)(bytes / tensor_type_size(filled[i].type));
        IJ_TRY(bench_ceiling_fill(b->backend, filled[i], values, reterr_err));
    }
    const struct vit_stack *stack = &places[0].stack;
    int64_t weights = stack->width * (4 * stack->width + 2 * stack->hidden);
    for (size_t i = 0; i < 2; i++) /* parameters, gradients; moments stay zero */
        IJ_TRY(bench_ceiling_fill(b->backend, tensor_f32(b->arenas[i]), weights, reterr_err));
    return bench_ceiling_fill(b->backend, tensor_f32(b->bias), 3 * b->config.encoder.width,
                              reterr_err);
}

/* The mean lengths of masks at this batch, rounded. */
static enum ij_status measure_masks(struct bench *b, const struct engine_spec *spec,
                                    struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct masks masks;
    IJ_TRY(masks_init(&masks, &rules, spec->seed, spec->optimizer.batch, reterr_err));
    for (uint64_t i = 0; i < MASK_BATCHES; i++) {
        masks_draw(&masks, 0, i, spec->optimizer.batch);
        b->context += masks.context_count;
        b->targets += masks.target_count;
    }
    masks_done(&masks);
    b->context = (b->context + MASK_BATCHES / 2) / MASK_BATCHES;
    b->targets = (b->targets + MASK_BATCHES / 2) / MASK_BATCHES;
    b->blocks = rules.targets;
    return IJ_OK;
}

static enum ij_status run_all(struct bench *b, const struct engine_spec *spec,
                              struct ij_err *reterr_err)
{
    char line[512];
    b->config = vit_config_from_spec(spec);
    b->type = b->config.type;
    b->batch = spec->optimizer.batch;
    IJ_TRY(measure_masks(b, spec, reterr_err));
    IJ_TRY(engine_device_open(spec, &b->backend, reterr_err));
    IJ_TRY(bench_ceiling_measure(b->backend, b->type, &b->ceiling, reterr_err));
    snprintf(line, sizeof line,
             "{\"ceiling\":\"%s\",\"precision\":\"%s\",\"gflops\":%.1f,\"gbytes_s\":%.1f,"
             "\"batch\":%lld,\"context\":%lld,\"targets\":%lld,\"gelu\":\"%s\",\"build\":\"%s\"}",
             b->backend->name, b->type == TENSOR_BF16 ? "bfloat16" : "float32", b->ceiling.gflops,
             b->ceiling.gbytes_s, (long long)b->batch, (long long)b->context, (long long)b->targets,
             spec->model.gelu_tanh ? "tanh" : "erf", build_id());
    b->report(b->user, line);
    const struct place places[] = {
        {"target", b->config.encoder, b->batch, b->config.patches, false},
        {"context", b->config.encoder, b->batch, b->context, true},
        {"predictor", b->config.predictor, b->batch * b->blocks, b->context + b->targets, true},
    };
    IJ_TRY(fill_all(b, places, COUNT_OF(places), reterr_err));
    return run_places(b, places, COUNT_OF(places), reterr_err);
}

enum ij_status engine_bench_ops(const struct engine_spec *spec, double seconds,
                                void (*report)(void *user, const char *line), void *user,
                                struct ij_err *reterr_err)
{
    struct bench b;
    memset(&b, 0, sizeof b);
    b.seconds = seconds;
    b.report = report;
    b.user = user;
    IJ_TRY(engine_check(spec, reterr_err));
    enum ij_status status = run_all(&b, spec, reterr_err);
    if (b.backend) {
        b.backend->ops->release(b.backend, b.memory);
        b.backend->ops->free(b.backend);
    }
    return status;
}
