/*
 * Rates of the host backend's operations as JSON lines: one for the machine's peak, one per
 * operation and model shape. `bench_ops [threads] [bfloat16]`; the best of several rounds is
 * printed. With bfloat16 the residual stream stays float32, as in a model.
 *
 * Shapes: one block of ViT-S/16 at 224 pixels (batch 8), of a ViT-Ti for 32-pixel images (batch
 * 64), and of its predictor (width 96, four target blocks). With one thread the clock is the
 * thread's processor time, so that a busy machine does not spoil the figures; with more it is the
 * wall clock.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "gpu/ops/host/host_peak.h"
#include "gpu/ops/ops.h"

#define BENCH_SECONDS 0.02
#define BENCH_ROUNDS  8

struct bench_shape {
    const char *name;
    int64_t sequences, length, width, heads, hidden;
};

static const struct bench_shape bench_shapes[] = {
    {"vit_small_224", 8, 196, 384, 6, 1536},
    {"vit_tiny_32", 64, 64, 192, 3, 768},
    {"predictor_32", 256, 32, 96, 3, 384},
};

struct bench {
    struct backend *backend;
    const struct bench_shape *shape;
    enum tensor_type type;                /* of activations and weights */
    float *x, *z, *wide, *wide2, *weight; /* in that type */
    float *y, *stream, *dweight, *bias, *statistics;
    double peak;
};

static double bench_now(const struct bench *b)
{
    struct timespec t;
    clock_gettime(b->backend->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct tensor bench_tensor(const struct bench *b, float *data)
{
    struct tensor t = {data, b->type};
    return t;
}

static float *bench_array(int64_t count)
{
    float *x = mem_alloc_aligned(64, (size_t)count * sizeof(float));
    for (int64_t i = 0; x && i < count; i++)
        x[i] = (float)(i % 13 - 6) * 0.02f;
    return x;
}

/* The same values in the bench's type. */
static float *bench_typed(const struct bench *b, int64_t count)
{
    float *x = bench_array(count);
    for (int64_t i = 0; x && b->type == TENSOR_BF16 && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        ((uint16_t *)x)[i] = (uint16_t)(bits >> 16);
    }
    return x;
}

static int64_t bench_rows(const struct bench *b)
{
    return b->shape->sequences * b->shape->length;
}

/* ---- The operations; each returns its FLOP in matrix products -------------------------------- */

static double bench_linear(struct bench *b, int64_t in, int64_t out, float *x, struct tensor y,
                           enum activation activation, float *pre, float *residual)
{
    struct op_linear_forward args = {.rows = bench_rows(b),
                                     .in = in,
                                     .out = out,
                                     .x = bench_tensor(b, x),
                                     .weight = bench_tensor(b, b->weight),
                                     .bias = b->bias,
                                     .activation = activation,
                                     .pre = bench_tensor(b, pre),
                                     .residual = tensor_f32(residual),
                                     .y = y};
    (void)!b->backend->ops->linear_forward(b->backend, &args, NULL);
    return 2.0 * (double)(args.rows * in * out);
}

static double bench_qkv(struct bench *b)
{
    return bench_linear(b, b->shape->width, 3 * b->shape->width, b->x, bench_tensor(b, b->wide),
                        ACTIVATION_NONE, NULL, NULL);
}

static double bench_proj_residual(struct bench *b)
{
    return bench_linear(b, b->shape->width, b->shape->width, b->x, tensor_f32(b->y),
                        ACTIVATION_NONE, NULL, b->stream);
}

static double bench_fc1_gelu(struct bench *b)
{
    return bench_linear(b, b->shape->width, b->shape->hidden, b->x, bench_tensor(b, b->wide),
                        ACTIVATION_GELU, b->wide2, NULL);
}

static double bench_fc2_residual(struct bench *b)
{
    return bench_linear(b, b->shape->hidden, b->shape->width, b->wide, tensor_f32(b->y),
                        ACTIVATION_NONE, NULL, b->stream);
}

static double bench_fc2_input(struct bench *b)
{
    struct op_linear_backward_input args = {.rows = bench_rows(b),
                                            .in = b->shape->hidden,
                                            .out = b->shape->width,
                                            .dy = bench_tensor(b, b->x),
                                            .weight = bench_tensor(b, b->weight),
                                            .gelu_pre = bench_tensor(b, b->wide2),
                                            .dx = bench_tensor(b, b->wide)};
    (void)!b->backend->ops->linear_backward_input(b->backend, &args, NULL);
    return 2.0 * (double)(args.rows * args.in * args.out);
}

static double bench_fc1_weight(struct bench *b)
{
    struct op_linear_backward_weight args = {.rows = bench_rows(b),
                                             .in = b->shape->width,
                                             .out = b->shape->hidden,
                                             .dy = bench_tensor(b, b->wide),
                                             .x = bench_tensor(b, b->x),
                                             .dweight = b->dweight,
                                             .dbias = b->bias};
    (void)!b->backend->ops->linear_backward_weight(b->backend, &args, NULL);
    return 2.0 * (double)(args.rows * args.in * args.out);
}

static double bench_attention(struct bench *b)
{
    const struct bench_shape *s = b->shape;
    struct op_attention_forward args = {.sequences = s->sequences,
                                        .length = s->length,
                                        .heads = s->heads,
                                        .head_dim = s->width / s->heads,
                                        .qkv = bench_tensor(b, b->wide2),
                                        .out = bench_tensor(b, b->z),
                                        .lse = b->statistics};
    (void)!b->backend->ops->attention_forward(b->backend, &args, NULL);
    return 4.0 * (double)(bench_rows(b) * s->length * s->width);
}

static double bench_attention_backward(struct bench *b)
{
    const struct bench_shape *s = b->shape;
    struct op_attention_backward args = {.sequences = s->sequences,
                                         .length = s->length,
                                         .heads = s->heads,
                                         .head_dim = s->width / s->heads,
                                         .qkv = bench_tensor(b, b->wide2),
                                         .out = bench_tensor(b, b->z),
                                         .dout = bench_tensor(b, b->x),
                                         .lse = b->statistics,
                                         .dqkv = bench_tensor(b, b->wide)};
    (void)!b->backend->ops->attention_backward(b->backend, &args, NULL);
    return 10.0 * (double)(bench_rows(b) * s->length * s->width);
}

static double bench_norm(struct bench *b)
{
    struct op_layer_norm_forward args = {.rows = bench_rows(b),
                                         .width = b->shape->width,
                                         .eps = 1e-6f,
                                         .x = tensor_f32(b->stream),
                                         .gamma = b->bias,
                                         .beta = b->bias,
                                         .y = bench_tensor(b, b->z),
                                         .mean = b->statistics,
                                         .rstd = b->statistics + bench_rows(b)};
    (void)!b->backend->ops->layer_norm_forward(b->backend, &args, NULL);
    return 0;
}

static double bench_norm_backward(struct bench *b)
{
    struct op_layer_norm_backward args = {.rows = bench_rows(b),
                                          .width = b->shape->width,
                                          .dy = bench_tensor(b, b->x),
                                          .x = tensor_f32(b->stream),
                                          .gamma = b->bias,
                                          .mean = b->statistics,
                                          .rstd = b->statistics + bench_rows(b),
                                          .residual = tensor_f32(b->stream),
                                          .dx = tensor_f32(b->y),
                                          .dgamma = b->dweight,
                                          .dbeta = b->dweight + b->shape->width};
    (void)!b->backend->ops->layer_norm_backward(b->backend, &args, NULL);
    return 0;
}

static double bench_adamw(struct bench *b)
{
    struct parameter_segment segment = {0, b->shape->width * b->shape->hidden, true, 0};
    struct op_adamw_ema args = {.step = 10,
                                .lr = 1e-4,
                                .weight_decay = 0.05,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .ema_momentum = 0.996,
                                .gradient_scale = 1,
                                .segments = &segment,
                                .segment_count = 1,
                                .parameter = b->wide,
                                .gradient = b->dweight,
                                .moment1 = b->x,
                                .moment2 = b->wide2,
                                .ema = b->weight};
    memset(b->wide2, 0, (size_t)segment.count * sizeof(float));
    (void)!b->backend->ops->adamw_ema(b->backend, &args, NULL);
    return 0;
}

static const struct {
    const char *name;
    double (*run)(struct bench *bench);
} bench_ops[] = {
    {"linear_forward qkv", bench_qkv},
    {"linear_forward proj+residual", bench_proj_residual},
    {"linear_forward fc1+gelu", bench_fc1_gelu},
    {"linear_forward fc2+residual", bench_fc2_residual},
    {"linear_backward_input fc2*gelu'", bench_fc2_input},
    {"linear_backward_weight fc1", bench_fc1_weight},
    {"attention_forward", bench_attention},
    {"attention_backward", bench_attention_backward},
    {"layer_norm_forward", bench_norm},
    {"layer_norm_backward", bench_norm_backward},
    {"adamw_ema", bench_adamw},
};

/* ---- Measuring ------------------------------------------------------------------------------- */

static void bench_measure(struct bench *b, size_t op)
{
    double best = 1e30, flop = bench_ops[op].run(b);
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        int count = 0;
        double start = bench_now(b), now = start;
        for (; now - start < BENCH_SECONDS; now = bench_now(b), count++)
            (void)bench_ops[op].run(b);
        double seconds = (now - start) / count;
        best = seconds < best ? seconds : best;
    }
    printf("{\"bench\":\"ops\",\"shape\":\"%s\",\"op\":\"%s\",\"us\":%.1f", b->shape->name,
           bench_ops[op].name, best * 1e6);
    if (flop > 0)
        printf(",\"gflops\":%.1f,\"share_of_peak\":%.3f", flop / best * 1e-9,
               flop / best * 1e-9 / b->peak);
    printf("}\n");
}

static int bench_shape_run(struct bench *b)
{
    const struct bench_shape *s = b->shape;
    int64_t rows = bench_rows(b), wide = s->hidden > 3 * s->width ? s->hidden : 3 * s->width;
    mem_auto float *x = b->x = bench_typed(b, rows * s->width + s->width * wide);
    mem_auto float *y = b->y = bench_array(rows * s->width);
    mem_auto float *stream = b->stream = bench_array(rows * s->width);
    mem_auto float *z = b->z = bench_typed(b, rows * s->width);
    mem_auto float *wide1 = b->wide = bench_typed(b, rows * wide);
    mem_auto float *wide2 = b->wide2 = bench_typed(b, rows * wide);
    mem_auto float *weight = b->weight = bench_typed(b, s->width * wide);
    mem_auto float *dweight = b->dweight = bench_array(s->width * wide);
    mem_auto float *bias = b->bias = bench_array(wide);
    mem_auto float *statistics = b->statistics = bench_array(rows * (s->heads + 2));
    if (!x || !y || !stream || !z || !wide1 || !wide2 || !weight || !dweight || !bias ||
        !statistics ||
        b->backend->ops->reserve_scratch(b->backend, rows, wide, s->heads, NULL) != IJ_OK)
        return 1;
    for (size_t op = 0; op < COUNT_OF(bench_ops); op++)
        bench_measure(b, op);
    return 0;
}

/* The best instruction that the level has for the type. */
static enum host_peak bench_peak(const struct bench *b)
{
    if (b->type == TENSOR_BF16 && host_peak_gflops(HOST_PEAK_BF16_TILES, 1) > 0)
        return HOST_PEAK_BF16_TILES;
    bool vectors = b->type == TENSOR_BF16 && host_peak_gflops(HOST_PEAK_BF16, 1) > 0;
    return vectors ? HOST_PEAK_BF16 : HOST_PEAK_FLOAT32;
}

int main(int argc, char **argv)
{
    uint64_t threads = 0;
    struct bench bench = {0};
    bool half = argc == 3 && strcmp(argv[2], "bfloat16") == 0;
    bench.type = half ? TENSOR_BF16 : TENSOR_F32;
    if (argc > 3 || (argc == 3 && !half) || (argc > 1 && !text_to_u64(argv[1], &threads)) ||
        threads > 1024 || backend_host_new((int)threads, &bench.backend, NULL) != IJ_OK) {
        fprintf(stderr, "usage: bench_ops [threads] [bfloat16]\n");
        return 2;
    }
    bench.peak = host_peak_gflops(bench_peak(&bench), bench.backend->threads);
    printf("{\"bench\":\"ops\",\"level\":\"%s\",\"precision\":\"%s\",\"threads\":%d,"
           "\"peak_gflops\":%.1f}\n",
           bench.backend->level, half ? "bfloat16" : "float32", bench.backend->threads, bench.peak);
    int failed = 0;
    for (size_t i = 0; i < COUNT_OF(bench_shapes) && !failed; i++) {
        bench.shape = &bench_shapes[i];
        failed = bench_shape_run(&bench);
    }
    bench.backend->ops->free(bench.backend);
    return failed;
}
