/* The encoder without a backward pass. See encoder_infer.h. */
#include "gpu/model/encoder_infer.h"

#include "gpu/model/op_call.h"

void encoder_infer_carve(struct encoder_infer *infer, struct carve *carve,
                         const struct vit_config *config, int64_t images)
{
    int64_t rows = images * config->patches;
    infer->patches = carve_tensor(carve, config->type, rows, config->patch_values);
    infer->x = carve_tensor(carve, TENSOR_F32, rows, config->encoder.width);
    block_saved_carve(carve, &config->encoder, config->type, rows, rows, BLOCK_FORWARD_ONLY,
                      &infer->saved);
    if (!config->target_e4m3)
        return;
    const struct vit_stack *stack = &config->encoder;
    infer->saved.quantized = carve_tensor(
        carve, TENSOR_E4M3, rows, stack->hidden > stack->width ? stack->hidden : stack->width);
    infer->saved.row_scale = carve_floats(carve, rows);
}

enum ij_status encoder_infer_run(struct backend *backend, const struct vit_config *config,
                                 const struct layout *layout, const struct block_arena *arena,
                                 const struct encoder_input *input, const int32_t *needed,
                                 int64_t needed_count, const struct encoder_infer *infer,
                                 const struct encoder_infer_tap *tap, struct tensor y,
                                 struct ij_err *reterr_err)
{
    const struct vit_stack *stack = &config->encoder;
    struct block_rows rows = {.sequences = input->images, .length = input->keep_count};
    IJ_ASSERT(input->keep_count <= config->patches);
    IJ_TRY(
        encoder_embed(backend, config, layout, arena, input, infer->patches, infer->x, reterr_err));
    for (int64_t i = 0; i < stack->depth; i++) {
        if (i == stack->depth - 1) {
            rows.gather = needed;
            rows.gather_count = needed_count;
        }
        IJ_TRY(block_forward(backend, stack, &layout->encoder_blocks[i], arena, &rows, infer->x,
                             &infer->saved, infer->x, reterr_err));
        if (tap && tap->call)
            IJ_TRY(tap->call(tap->user, i, infer->x, reterr_err));
    }
    OP_CALL(layer_norm_forward, .rows = block_rows_out(&rows), .width = stack->width,
            .eps = VIT_CONFIG_NORM_EPS, .x = infer->x,
            .gamma = arena->parameter + layout->norm_weight,
            .beta = arena->parameter + layout->norm_bias, .y = y);
    return IJ_OK;
}
