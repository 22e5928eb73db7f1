/* The predictor. See predictor.h. */
#include "gpu/model/predictor.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/op_call.h"

enum ij_status predictor_init(struct predictor *predictor, const struct vit_config *config,
                              struct ij_err *reterr_err)
{
    memset(predictor, 0, sizeof *predictor);
    predictor->x = mem_array(struct tensor, (size_t)config->predictor.depth + 1);
    predictor->saved = mem_array(struct block_saved, (size_t)config->predictor.depth);
    if (predictor->x && predictor->saved)
        return IJ_OK;
    predictor_done(predictor);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a predictor's views");
}

void predictor_done(struct predictor *predictor)
{
    mem_free(predictor->x);
    mem_free(predictor->saved);
    memset(predictor, 0, sizeof *predictor);
}

void predictor_carve(struct predictor *predictor, struct carve *carve,
                     const struct vit_config *config, const struct predictor_limits *limits)
{
    const struct vit_stack *stack = &config->predictor;
    enum tensor_type type = config->type;
    int64_t sequences = limits->images * limits->blocks, last = stack->depth - 1;
    int64_t out = sequences * limits->target_count;
    int64_t rows = limits->blocks * limits->context_rows + out;
    predictor->context = carve_tensor(carve, type, limits->context_rows, stack->width);
    for (int64_t i = 0; i <= last; i++) {
        predictor->x[i] = carve_tensor(carve, TENSOR_F32, rows, stack->width);
        block_saved_carve(carve, stack, type, rows, i < last ? rows : out,
                          i < last ? BLOCK_TRAIN : BLOCK_TRAIN_TAIL, &predictor->saved[i]);
    }
    predictor->x[stack->depth] = carve_tensor(carve, TENSOR_F32, out, stack->width);
    predictor->normed = carve_tensor(carve, type, out, stack->width);
    predictor->mean = carve_floats(carve, out);
    predictor->rstd = carve_floats(carve, out);
    predictor->gradient = carve_tensor(carve, TENSOR_F32, rows, stack->width);
    predictor->prediction = carve_tensor(carve, type, out, config->encoder.width);
    predictor->dprediction = carve_tensor(carve, type, out, config->encoder.width);
}

/* The rows of block i: all tokens stay until the last one. */
static struct block_rows rows_of(const struct vit_config *config,
                                 const struct predictor_input *input, int64_t i)
{
    struct block_rows rows = {
        .sequences = input->images * input->blocks,
        .length = input->context_count + input->target_count,
        .tail = i == config->predictor.depth - 1 ? input->target_count : 0,
    };
    return rows;
}

static enum ij_status embed(struct backend *backend, const struct vit_config *config,
                            const struct layout *layout, const struct block_arena *arena,
                            const struct predictor_input *input, const struct predictor *predictor,
                            struct ij_err *reterr_err)
{
    OP_CALL(linear_forward, .rows = input->images * input->context_count,
            .in = config->encoder.width, .out = config->predictor.width, .x = input->features,
            .weight = block_matrix(arena, layout->embed_weight),
            .bias = arena->parameter + layout->embed_bias,
            .bias_bf16 = block_bias_bf16(arena, layout->embed_bias), .y = predictor->context);
    OP_CALL(assemble_forward, .images = input->images, .blocks = input->blocks,
            .context_count = input->context_count, .target_count = input->target_count,
            .width = config->predictor.width, .context = predictor->context,
            .position = input->position, .mask_token = arena->parameter + layout->mask_token,
            .context_index = input->context_index, .target_index = input->target_index,
            .x = predictor->x[0]);
    return IJ_OK;
}

enum ij_status predictor_forward(struct backend *backend, const struct vit_config *config,
                                 const struct layout *layout, const struct block_arena *arena,
                                 const struct predictor_input *input,
                                 const struct predictor *predictor, struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->predictor;
    int64_t out = input->images * input->blocks * input->target_count;
    IJ_TRY(embed(backend, config, layout, arena, input, predictor, reterr_err));
    for (int64_t i = 0; i < stack->depth; i++) {
        struct block_rows rows = rows_of(config, input, i);
        IJ_TRY(block_forward(backend, stack, &layout->predictor_blocks[i], arena, &rows,
                             predictor->x[i], &predictor->saved[i], predictor->x[i + 1],
                             reterr_err));
    }
    OP_CALL(layer_norm_forward, .rows = out, .width = stack->width, .eps = VIT_CONFIG_NORM_EPS,
            .x = predictor->x[stack->depth], .gamma = arena->parameter + layout->pred_norm_weight,
            .beta = arena->parameter + layout->pred_norm_bias, .y = predictor->normed,
            .mean = predictor->mean, .rstd = predictor->rstd);
    OP_CALL(linear_forward, .rows = out, .in = stack->width, .out = config->encoder.width,
            .x = predictor->normed, .weight = block_matrix(arena, layout->pred_proj_weight),
            .bias = arena->parameter + layout->pred_proj_bias,
            .bias_bf16 = block_bias_bf16(arena, layout->pred_proj_bias),
            .y = predictor->prediction);
    return IJ_OK;
}

/* Output projection and final norm; leaves the gradient of the last block's output. */
static enum ij_status head_backward(struct backend *backend, const struct vit_config *config,
                                    const struct layout *layout, const struct block_arena *arena,
                                    int64_t rows, const struct predictor *predictor,
                                    const struct block_work *work, struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->predictor;
    OP_CALL(linear_backward_weight, .rows = rows, .in = stack->width, .out = config->encoder.width,
            .dy = predictor->dprediction, .x = predictor->normed,
            .dweight = arena->gradient + layout->pred_proj_weight,
            .dbias = arena->gradient + layout->pred_proj_bias, .accumulate = arena->accumulate);
    OP_CALL(linear_backward_input, .rows = rows, .in = stack->width, .out = config->encoder.width,
            .dy = predictor->dprediction, .weight = block_matrix(arena, layout->pred_proj_weight),
            .dx = work->narrow);
    OP_CALL(layer_norm_backward, .rows = rows, .width = stack->width, .dy = work->narrow,
            .x = predictor->x[stack->depth], .gamma = arena->parameter + layout->pred_norm_weight,
            .mean = predictor->mean, .rstd = predictor->rstd, .dx = predictor->gradient,
            .dgamma = arena->gradient + layout->pred_norm_weight,
            .dbeta = arena->gradient + layout->pred_norm_bias, .accumulate = arena->accumulate);
    return IJ_OK;
}

/* Mask token and embedding; ends with the gradient of the context features. */
static enum ij_status embed_backward(struct backend *backend, const struct vit_config *config,
                                     const struct layout *layout, const struct block_arena *arena,
                                     const struct predictor_input *input,
                                     const struct predictor *predictor, struct tensor dfeatures,
                                     struct ij_err *reterr_err)
{
    int64_t rows = input->images * input->context_count;
    OP_CALL(assemble_backward, .images = input->images, .blocks = input->blocks,
            .context_count = input->context_count, .target_count = input->target_count,
            .width = config->predictor.width, .dx = predictor->gradient,
            .dcontext = predictor->context, .dmask_token = arena->gradient + layout->mask_token,
            .accumulate = arena->accumulate);
    OP_CALL(linear_backward_weight, .rows = rows, .in = config->encoder.width,
            .out = config->predictor.width, .dy = predictor->context, .x = input->features,
            .dweight = arena->gradient + layout->embed_weight,
            .dbias = arena->gradient + layout->embed_bias, .accumulate = arena->accumulate);
    OP_CALL(linear_backward_input, .rows = rows, .in = config->encoder.width,
            .out = config->predictor.width, .dy = predictor->context,
            .weight = block_matrix(arena, layout->embed_weight), .dx = dfeatures);
    return IJ_OK;
}

enum ij_status predictor_backward(struct backend *backend, const struct vit_config *config,
                                  const struct layout *layout, const struct block_arena *arena,
                                  const struct predictor_input *input,
                                  const struct predictor *predictor, const struct block_work *work,
                                  struct tensor dfeatures, struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->predictor;
    int64_t out = input->images * input->blocks * input->target_count;
    IJ_TRY(head_backward(backend, config, layout, arena, out, predictor, work, reterr_err));
    for (int64_t i = stack->depth - 1; i >= 0; i--) {
        struct block_rows rows = rows_of(config, input, i);
        const struct layout_block *at = &layout->predictor_blocks[i];
        IJ_TRY(block_backward(backend, stack, at, arena, &rows, predictor->x[i],
                              &predictor->saved[i], work, predictor->gradient, reterr_err));
        IJ_TRY(block_tell_ready(arena, at->norm1_weight, reterr_err));
    }
    return embed_backward(backend, config, layout, arena, input, predictor, dfeatures, reterr_err);
}
