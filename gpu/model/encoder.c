/* The context encoder in training. See encoder.h. */
#include "gpu/model/encoder.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/op_call.h"

enum ij_status encoder_init(struct encoder *encoder, const struct vit_config *config,
                            struct ij_err *reterr_err)
{
    memset(encoder, 0, sizeof *encoder);
    encoder->x = mem_array(struct tensor, (size_t)config->encoder.depth + 1);
    encoder->saved = mem_array(struct block_saved, (size_t)config->encoder.depth);
    if (encoder->x && encoder->saved)
        return IJ_OK;
    encoder_done(encoder);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an encoder's views");
}

void encoder_done(struct encoder *encoder)
{
    mem_free(encoder->x);
    mem_free(encoder->saved);
    memset(encoder, 0, sizeof *encoder);
}

void encoder_carve(struct encoder *encoder, struct carve *carve, const struct vit_config *config,
                   int64_t rows)
{
    const struct vit_stack *stack = &config->encoder;
    encoder->patches = carve_tensor(carve, config->type, rows, config->patch_values);
    for (int64_t i = 0; i <= stack->depth; i++)
        encoder->x[i] = carve_tensor(carve, TENSOR_F32, rows, stack->width);
    for (int64_t i = 0; i < stack->depth; i++)
        block_saved_carve(carve, stack, config->type, rows, rows, BLOCK_TRAIN, &encoder->saved[i]);
    encoder->normed = carve_tensor(carve, config->type, rows, stack->width);
    encoder->mean = carve_floats(carve, rows);
    encoder->rstd = carve_floats(carve, rows);
    encoder->gradient = carve_tensor(carve, TENSOR_F32, rows, stack->width);
    encoder->incoming = carve_tensor(carve, config->type, rows, stack->width);
}

enum ij_status encoder_embed(struct backend *backend, const struct vit_config *config,
                             const struct layout *layout, const struct block_arena *arena,
                             const struct encoder_input *input, struct tensor patches,
                             struct tensor x, struct ij_err *reterr_err)
{
    int64_t d = config->encoder.width, rows = input->images * input->keep_count;
    OP_CALL(patchify, .images = input->images, .size = config->crop, .patch = config->patch,
            .pixels = input->pixels, .mean = {config->mean[0], config->mean[1], config->mean[2]},
            .std = {config->std[0], config->std[1], config->std[2]}, .index = input->index,
            .keep_count = input->keep_count, .y = patches);
    OP_CALL(linear_forward, .rows = rows, .in = config->patch_values, .out = d, .x = patches,
            .weight = block_matrix(arena, layout->patch_weight),
            .bias = arena->parameter + layout->patch_bias,
            .bias_bf16 = block_bias_bf16(arena, layout->patch_bias), .y = x);
    OP_CALL(add_position, .rows = rows, .width = d, .positions = config->patches, .x = x,
            .position = input->position, .index = input->index);
    return IJ_OK;
}

enum ij_status encoder_forward(struct backend *backend, const struct vit_config *config,
                               const struct layout *layout, const struct block_arena *arena,
                               const struct encoder_input *input, const struct encoder *encoder,
                               struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->encoder;
    struct block_rows rows = {.sequences = input->images, .length = input->keep_count};
    IJ_TRY(encoder_embed(backend, config, layout, arena, input, encoder->patches, encoder->x[0],
                         reterr_err));
    for (int64_t i = 0; i < stack->depth; i++)
        IJ_TRY(block_forward(backend, stack, &layout->encoder_blocks[i], arena, &rows,
                             encoder->x[i], &encoder->saved[i], encoder->x[i + 1], reterr_err));
    OP_CALL(layer_norm_forward, .rows = block_rows_in(&rows), .width = stack->width,
            .eps = VIT_CONFIG_NORM_EPS, .x = encoder->x[stack->depth],
            .gamma = arena->parameter + layout->norm_weight,
            .beta = arena->parameter + layout->norm_bias, .y = encoder->normed,
            .mean = encoder->mean, .rstd = encoder->rstd);
    return IJ_OK;
}

enum ij_status encoder_embed_backward(struct backend *backend, const struct vit_config *config,
                                      const struct layout *layout, const struct block_arena *arena,
                                      int64_t rows, const struct encoder *encoder,
                                      const struct block_work *work, struct ij_err *reterr_err)
{
    struct tensor dy = encoder->gradient;
    if (work->cast.data) {
        OP_CALL(convert, .count = rows * config->encoder.width, .x = dy, .y = work->cast);
        dy = work->cast;
    }
    OP_CALL(linear_backward_weight, .rows = rows, .in = config->patch_values,
            .out = config->encoder.width, .dy = dy, .x = encoder->patches,
            .dweight = arena->gradient + layout->patch_weight,
            .dbias = arena->gradient + layout->patch_bias, .accumulate = arena->accumulate);
    return IJ_OK;
}

enum ij_status encoder_backward(struct backend *backend, const struct vit_config *config,
                                const struct layout *layout, const struct block_arena *arena,
                                const struct encoder_input *input, const struct encoder *encoder,
                                const struct block_work *work, struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->encoder;
    struct block_rows rows = {.sequences = input->images, .length = input->keep_count};
    OP_CALL(layer_norm_backward, .rows = block_rows_in(&rows), .width = stack->width,
            .dy = encoder->incoming, .x = encoder->x[stack->depth],
            .gamma = arena->parameter + layout->norm_weight, .mean = encoder->mean,
            .rstd = encoder->rstd, .dx = encoder->gradient,
            .dgamma = arena->gradient + layout->norm_weight,
            .dbeta = arena->gradient + layout->norm_bias, .accumulate = arena->accumulate);
    for (int64_t i = stack->depth - 1; i >= 0; i--) {
        const struct layout_block *at = &layout->encoder_blocks[i];
        IJ_TRY(block_backward(backend, stack, at, arena, &rows, encoder->x[i], &encoder->saved[i],
                              work, encoder->gradient, reterr_err));
        IJ_TRY(block_tell_ready(arena, at->norm1_weight, reterr_err));
    }
    IJ_TRY(encoder_embed_backward(backend, config, layout, arena, block_rows_in(&rows), encoder,
                                  work, reterr_err));
    return block_tell_ready(arena, 0, reterr_err);
}
