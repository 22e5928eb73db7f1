/* Patches, positions, gathers, tails, the predictor's input, pooling: data movement, exact or
 * nearly. */
#include "tests/ops/ops_harness.h"

#define TOKENS_TOLERANCE 3e-7

/* Compares, rounding the wanted values to the buffer's type for the allowed error. */
static void tokens_check(struct ops_case *c, struct ops_buffer *buffer, const double *want)
{
    mem_auto double *rounded = ops_doubles(buffer->count);
    for (size_t i = 0; i < buffer->count; i++)
        rounded[i] = ops_round(want[i], buffer->type);
    ops_check(c, buffer, want, buffer->type == TENSOR_BF16 ? rounded : NULL, TOKENS_TOLERANCE);
}

/* ---- Patchify -------------------------------------------------------------------------------- */

struct patchify_shape {
    int64_t images, size, patch, keep; /* keep 0: all, without an index */
    bool bytes;
};

static const struct patchify_shape patchify_shapes[] = {
    {1, 4, 4, 0, true},   {2, 32, 4, 0, true},   {3, 32, 4, 17, true}, {2, 28, 14, 3, true},
    {2, 32, 4, 0, false}, {3, 48, 16, 5, false}, {1, 6, 1, 31, true},
};

static const float patchify_mean[3] = {0.485f, 0.456f, 0.406f};
static const float patchify_std[3] = {0.229f, 0.224f, 0.225f};

static double patchify_pixel(const struct patchify_shape *s, const double *pixels, int64_t image,
                             int64_t channel, int64_t y, int64_t x)
{
    if (!s->bytes)
        return pixels[((image * 3 + channel) * s->size + y) * s->size + x];
    double value = pixels[((image * s->size + y) * s->size + x) * 3 + channel];
    return (value / 255 - patchify_mean[channel]) / patchify_std[channel];
}

static void patchify_want(const struct patchify_shape *s, const double *pixels, const double *index,
                          int64_t keep, double *want)
{
    int64_t grid = s->size / s->patch, at = 0;
    for (int64_t row = 0; row < s->images * keep; row++) {
        int64_t patch = index ? (int64_t)index[row] : row % keep;
        for (int64_t c = 0; c < 3; c++)
            for (int64_t y = 0; y < s->patch; y++)
                for (int64_t x = 0; x < s->patch; x++)
                    want[at++] =
                        patchify_pixel(s, pixels, row / keep, c, patch / grid * s->patch + y,
                                       patch % grid * s->patch + x);
    }
}

static void patchify_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct patchify_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 41);
    int64_t patches = (s->size / s->patch) * (s->size / s->patch);
    int64_t keep = s->keep ? s->keep : patches;
    size_t pixel_count = (size_t)(s->images * s->size * s->size * 3);
    size_t count = (size_t)(s->images * keep * 3 * s->patch * s->patch);
    struct ops_buffer *pixels = s->bytes ? ops_integers(&c, TENSOR_U8, pixel_count, 256)
                                         : ops_input(&c, TENSOR_F32, pixel_count);
    struct ops_buffer *index = NULL;
    if (s->keep)
        index = ops_integers(&c, TENSOR_I32, (size_t)(s->images * keep), (uint32_t)patches);
    struct ops_buffer *y = ops_output(&c, type, count);
    struct op_patchify args = {.images = s->images,
                               .size = s->size,
                               .patch = s->patch,
                               .pixels = ops_tensor(pixels),
                               .index = ops_data(index),
                               .keep_count = keep,
                               .y = ops_tensor(y)};
    memcpy(args.mean, patchify_mean, sizeof(args.mean));
    memcpy(args.std, patchify_std, sizeof(args.std));
    ops_run(&c, patchify, &args);
    mem_auto double *want = ops_doubles(count);
    patchify_want(s, pixels->value, index ? index->value : NULL, keep, want);
    tokens_check(&c, y, want);
    ops_end(&c);
}

Test(ops_tokens, patchify)
{
    for (size_t i = 0; i < COUNT_OF(patchify_shapes); i++)
        ops_for_each(OP_patchify, patchify_case, &patchify_shapes[i]);
}

/* ---- Positions and rows ---------------------------------------------------------------------- */

static const int64_t tokens_rows[] = {1, 31, 33, 257};

static void position_case(struct backend *backend, enum tensor_type type, const void *user)
{
    int64_t rows = *(const int64_t *)user, width = 33, positions = 17;
    for (int indexed = 0; indexed < 2; indexed++) {
        struct ops_case c;
        ops_begin(&c, backend, 42);
        struct ops_buffer *x = ops_random(&c, OPS_UPDATED, type, (size_t)(rows * width), 1);
        struct ops_buffer *position = ops_input(&c, TENSOR_F32, (size_t)(positions * width));
        struct ops_buffer *index = ops_integers(&c, TENSOR_I32, (size_t)rows, (uint32_t)positions);
        struct op_add_position args = {.rows = rows,
                                       .width = width,
                                       .positions = positions,
                                       .x = ops_tensor(x),
                                       .position = ops_data(position),
                                       .index = indexed ? ops_data(index) : NULL};
        ops_run(&c, add_position, &args);
        mem_auto double *want = ops_doubles(x->count);
        for (int64_t i = 0; i < rows * width; i++) {
            int64_t row = i / width;
            int64_t place = indexed ? (int64_t)index->value[row] : row % positions;
            want[i] = x->value[i] + position->value[place * width + i % width];
        }
        tokens_check(&c, x, want);
        ops_end(&c);
    }
}

Test(ops_tokens, add_position)
{
    for (size_t i = 0; i < COUNT_OF(tokens_rows); i++)
        ops_for_each(OP_add_position, position_case, &tokens_rows[i]);
}

static void gather_case(struct backend *backend, enum tensor_type type, const void *user)
{
    int64_t rows = *(const int64_t *)user, width = 24, from = 40;
    struct ops_case c;
    ops_begin(&c, backend, 43);
    struct ops_buffer *x = ops_input(&c, type, (size_t)(from * width));
    struct ops_buffer *index = ops_integers(&c, TENSOR_I32, (size_t)rows, (uint32_t)from);
    struct ops_buffer *y = ops_output(&c, type, (size_t)(rows * width));
    struct op_gather_rows args = {.rows = rows,
                                  .width = width,
                                  .x = ops_tensor(x),
                                  .index = ops_data(index),
                                  .y = ops_tensor(y)};
    ops_run(&c, gather_rows, &args);
    double *got = ops_result(&c, y);
    for (int64_t i = 0; i < rows * width; i++)
        cr_assert_eq(got[i], x->value[(int64_t)index->value[i / width] * width + i % width]);
    ops_end(&c);
}

Test(ops_tokens, gather_rows)
{
    for (size_t i = 0; i < COUNT_OF(tokens_rows); i++)
        ops_for_each(OP_gather_rows, gather_case, &tokens_rows[i]);
}

static void tail_case(struct backend *backend, enum tensor_type type, const void *user)
{
    int64_t tail = *(const int64_t *)user, sequences = 5, length = 33, width = 31;
    struct ops_case c;
    ops_begin(&c, backend, 44);
    struct ops_buffer *x = ops_input(&c, type, (size_t)(sequences * length * width));
    struct ops_buffer *y = ops_output(&c, type, (size_t)(sequences * tail * width));
    struct ops_buffer *dx = ops_output(&c, type, x->count);
    struct op_tail_forward forward = {.sequences = sequences,
                                      .length = length,
                                      .tail = tail,
                                      .width = width,
                                      .x = ops_tensor(x),
                                      .y = ops_tensor(y)};
    ops_run(&c, tail_forward, &forward);
    struct op_tail_backward backward = {.sequences = sequences,
                                        .length = length,
                                        .tail = tail,
                                        .width = width,
                                        .dy = ops_tensor(y),
                                        .dx = ops_tensor(dx)};
    ops_run(&c, tail_backward, &backward);
    double *got = ops_result(&c, y), *got_dx = ops_result(&c, dx);
    for (int64_t i = 0; i < sequences * length * width; i++) {
        int64_t s = i / (length * width), j = i / width % length - (length - tail);
        if (j >= 0)
            cr_assert_eq(got[(s * tail + j) * width + i % width], x->value[i]);
        cr_assert_eq(got_dx[i], j >= 0 ? x->value[i] : 0);
    }
    ops_end(&c);
}

Test(ops_tokens, tail_and_its_gradient)
{
    static const int64_t tails[] = {1, 17, 33};
    for (size_t i = 0; i < COUNT_OF(tails); i++)
        ops_for_each(OP_tail_forward, tail_case, &tails[i]);
}

static void pool_case(struct backend *backend, enum tensor_type type, const void *user)
{
    int64_t length = *(const int64_t *)user, sequences = 7, width = 33;
    struct ops_case c;
    ops_begin(&c, backend, 45);
    struct ops_buffer *x = ops_input(&c, type, (size_t)(sequences * length * width));
    struct ops_buffer *y = ops_output(&c, TENSOR_F32, (size_t)(sequences * width));
    struct op_mean_pool args = {.sequences = sequences,
                                .length = length,
                                .width = width,
                                .x = ops_tensor(x),
                                .y = ops_data(y)};
    ops_run(&c, mean_pool, &args);
    mem_auto double *want = ops_doubles(y->count);
    for (int64_t i = 0; i < sequences * length * width; i++)
        want[i / (length * width) * width + i % width] += x->value[i] / (double)length;
    ops_check(&c, y, want, NULL, 2e-6);
    ops_end(&c);
}

Test(ops_tokens, mean_pool)
{
    for (size_t i = 0; i < COUNT_OF(tokens_rows); i++)
        ops_for_each(OP_mean_pool, pool_case, &tokens_rows[i]);
}

struct scale_shape {
    int64_t sequences, length, width;
    bool broadcast, residual, in_place;
};

static const struct scale_shape scale_shapes[] = {
    {1, 1, 1, false, false, false}, {5, 17, 33, false, true, false}, {3, 4, 96, true, false, false},
    {4, 9, 31, true, true, false},  {2, 7, 64, false, true, true},
};

static void scale_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct scale_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 47);
    size_t rows = (size_t)(s->sequences * s->length), width = (size_t)s->width;
    struct ops_buffer *x =
        ops_input(&c, type, (s->broadcast ? (size_t)s->sequences : rows) * width);
    struct ops_buffer *scale = ops_input(&c, TENSOR_F32, (size_t)s->sequences);
    struct ops_buffer *residual = s->in_place ? ops_sum(&c, TENSOR_F32, rows * width, true)
                                              : ops_input(&c, TENSOR_F32, rows * width);
    struct ops_buffer *y = s->in_place ? residual : ops_output(&c, type, rows * width);
    struct op_scale_rows args = {.sequences = s->sequences,
                                 .length = s->length,
                                 .width = s->width,
                                 .broadcast = s->broadcast,
                                 .x = ops_tensor(x),
                                 .scale = ops_data(scale),
                                 .y = ops_tensor(y)};
    if (s->residual)
        args.residual = ops_tensor(residual);
    ops_run(&c, scale_rows, &args);
    mem_auto double *want = ops_doubles(y->count);
    for (size_t i = 0; i < rows * width; i++) {
        size_t sequence = i / width / (size_t)s->length;
        size_t from = s->broadcast ? sequence * width + i % width : i;
        want[i] = scale->value[sequence] * x->value[from] + (s->residual ? residual->value[i] : 0);
    }
    tokens_check(&c, y, want);
    ops_end(&c);
}

Test(ops_tokens, scale_rows)
{
    for (size_t i = 0; i < COUNT_OF(scale_shapes); i++)
        ops_for_each(OP_scale_rows, scale_case, &scale_shapes[i]);
}

/* ---- The predictor's input ------------------------------------------------------------------- */

struct assemble_shape {
    int64_t images, blocks, context, target, width;
    bool accumulate;
};

static const struct assemble_shape assemble_shapes[] = {
    {1, 1, 1, 1, 1, false},
    {3, 4, 17, 5, 33, true},
    {2, 2, 31, 7, 96, false},
    {5, 1, 3, 9, 24, true},
};

static void assemble_forward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct assemble_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 46);
    int64_t length = s->context + s->target, width = s->width, positions = 19;
    size_t contexts = (size_t)(s->images * s->context);
    struct ops_buffer *context = ops_input(&c, type, contexts * (size_t)width);
    struct ops_buffer *position = ops_input(&c, TENSOR_F32, (size_t)(positions * width));
    struct ops_buffer *token = ops_input(&c, TENSOR_F32, (size_t)width);
    struct ops_buffer *context_index = ops_integers(&c, TENSOR_I32, contexts, 19);
    struct ops_buffer *target_index =
        ops_integers(&c, TENSOR_I32, (size_t)(s->blocks * s->images * s->target), 19);
    struct ops_buffer *x = ops_output(&c, type, (size_t)(s->blocks * s->images * length * width));
    struct op_assemble_forward args = {.images = s->images,
                                       .blocks = s->blocks,
                                       .context_count = s->context,
                                       .target_count = s->target,
                                       .width = width,
                                       .context = ops_tensor(context),
                                       .position = ops_data(position),
                                       .mask_token = ops_data(token),
                                       .context_index = ops_data(context_index),
                                       .target_index = ops_data(target_index),
                                       .x = ops_tensor(x)};
    ops_run(&c, assemble_forward, &args);
    mem_auto double *want = ops_doubles(x->count);
    for (int64_t i = 0; i < (int64_t)x->count; i++) {
        int64_t k = i % width, j = i / width % length, block = i / (width * length) / s->images;
        int64_t image = i / (width * length) % s->images, at = image * s->context + j;
        int64_t target = (block * s->images + image) * s->target + j - s->context;
        bool is_context = j < s->context;
        double place = is_context ? context_index->value[at] : target_index->value[target];
        want[i] = (is_context ? context->value[at * width + k] : token->value[k]) +
                  position->value[(int64_t)place * width + k];
    }
    tokens_check(&c, x, want);
    ops_end(&c);
}

Test(ops_tokens, assemble_forward)
{
    for (size_t i = 0; i < COUNT_OF(assemble_shapes); i++)
        ops_for_each(OP_assemble_forward, assemble_forward_case, &assemble_shapes[i]);
}

static void assemble_backward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct assemble_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 47);
    int64_t length = s->context + s->target, width = s->width;
    size_t count = (size_t)(s->blocks * s->images * length * width);
    struct ops_buffer *dx = ops_input(&c, type, count);
    struct ops_buffer *dcontext = ops_output(&c, type, (size_t)(s->images * s->context * width));
    struct ops_buffer *dtoken = ops_sum(&c, TENSOR_F32, (size_t)width, s->accumulate);
    struct op_assemble_backward args = {.images = s->images,
                                        .blocks = s->blocks,
                                        .context_count = s->context,
                                        .target_count = s->target,
                                        .width = width,
                                        .dx = ops_tensor(dx),
                                        .dcontext = ops_tensor(dcontext),
                                        .dmask_token = ops_data(dtoken),
                                        .accumulate = s->accumulate};
    ops_run(&c, assemble_backward, &args);
    mem_auto double *want = ops_doubles(dcontext->count), *want_token = ops_doubles((size_t)width);
    for (int64_t k = 0; k < width && s->accumulate; k++)
        want_token[k] = dtoken->value[k];
    for (size_t i = 0; i < count; i++) {
        int64_t k = (int64_t)i % width, j = (int64_t)i / width % length;
        int64_t image = (int64_t)i / (width * length) % s->images;
        if (j < s->context)
            want[(image * s->context + j) * width + k] += dx->value[i];
        else
            want_token[k] += dx->value[i];
    }
    tokens_check(&c, dcontext, want);
    ops_check(&c, dtoken, want_token, NULL, 2e-6);
    ops_end(&c);
}

Test(ops_tokens, assemble_backward)
{
    for (size_t i = 0; i < COUNT_OF(assemble_shapes); i++)
        ops_for_each(OP_assemble_backward, assemble_backward_case, &assemble_shapes[i]);
}

/* ---- Bad arguments --------------------------------------------------------------------------- */

Test(ops_tokens, indices_out_of_range_are_errors)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ij_err err = IJ_ERR_INIT;
        struct ops_case c;
        ops_begin(&c, list[b], 48);
        double *values = ops_doubles(2);
        values[1] = 4; /* of a 2 x 2 grid: one too many */
        struct ops_buffer *index = ops_take(&c, OPS_INPUT, TENSOR_I32, 2, values);
        struct ops_buffer *pixels = ops_integers(&c, TENSOR_U8, 8 * 8 * 3, 256);
        struct ops_buffer *y = ops_output(&c, TENSOR_F32, 2 * 48);
        struct op_patchify patchify = {.images = 1,
                                       .size = 8,
                                       .patch = 4,
                                       .pixels = ops_tensor(pixels),
                                       .std = {1, 1, 1},
                                       .index = ops_data(index),
                                       .keep_count = 2,
                                       .y = ops_tensor(y)};
        cr_assert_eq(list[b]->ops->patchify(list[b], &patchify, &err), IJ_INVALID);
        cr_assert_str_eq(err.field, "index");
        struct op_add_position add = {.rows = 2,
                                      .width = 1,
                                      .positions = 4,
                                      .x = ops_tensor(y),
                                      .position = ops_data(y),
                                      .index = ops_data(index)};
        cr_assert_eq(list[b]->ops->add_position(list[b], &add, &err), IJ_INVALID);
        cr_assert_str_eq(err.field, "index");
        ops_end(&c);
    }
    ops_backends_free(list, count);
}
