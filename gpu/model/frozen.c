/* A frozen encoder. See frozen.h. */
#include "gpu/model/frozen.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/attention_received.h"
#include "gpu/model/encoder_infer.h"
#include "gpu/model/op_call.h"
#include "gpu/model/positions.h"
#include "gpu/model/weights_init.h"

struct frozen {
    struct backend *backend;
    struct vit_config config;
    struct layout layout; /* the encoder's part is used */
    int64_t images_max;
    struct block_arena arena;
    void *memory;     /* owned; device */
    float *parameter; /* owned; device; NULL until weights of its own are set */
    uint16_t *parameter_bf16;
    struct tensor pixels, normed; /* views into memory; normed: (images * patches, D) float32 */
    float *position, *pooled;     /* pooled: (images, D) */
    struct encoder_infer infer;
    float *rows; /* owned; host, (images_max, D) */
    /* of the call in progress */
    int64_t images;
    float *concat;
};

static void carve_all(struct frozen *f, struct carve *carve)
{
    const struct vit_config *c = &f->config;
    int64_t n = f->images_max;
    f->pixels = carve_tensor(carve, TENSOR_U8, n * c->crop, 3 * c->crop);
    f->normed = carve_tensor(carve, TENSOR_F32, n * c->patches, c->encoder.width);
    f->position = carve_floats(carve, c->patches * c->encoder.width);
    f->pooled = carve_floats(carve, n * c->encoder.width);
    encoder_infer_carve(&f->infer, carve, c, n);
}

static enum ij_status prepare(struct frozen *f, struct ij_err *reterr_err)
{
    const struct vit_config *c = &f->config;
    const struct ops *ops = f->backend->ops;
    int64_t d = c->encoder.width, width = 3 * d;
    struct carve carve = {.base = NULL};
    carve_all(f, &carve);
    IJ_TRY(ops->allocate(f->backend, carve.peak, &f->memory, reterr_err));
    carve = (struct carve){.base = f->memory};
    carve_all(f, &carve);
    width = c->encoder.hidden > width ? c->encoder.hidden : width;
    width = c->patch_values > width ? c->patch_values : width;
    IJ_TRY(ops->reserve_scratch(f->backend, f->images_max * c->patches, width, c->encoder.heads,
                                reterr_err));
    mem_auto float *table = mem_array(float, (size_t)(c->patches * d));
    f->rows = mem_array(float, (size_t)(f->images_max * d));
    if (!table || !f->rows)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an encoder's tables");
    IJ_TRY(positions_encoder(c, table, reterr_err));
    return ops->upload(f->backend, f->position, table, (size_t)(c->patches * d) * sizeof(float),
                       reterr_err);
}

uint64_t frozen_device_bytes(const struct vit_config *config, int64_t images_max)
{
    struct frozen f = {.config = *config, .images_max = images_max};
    struct carve carve = {.base = NULL};
    carve_all(&f, &carve);
    return carve.peak;
}

enum ij_status frozen_new(struct backend *backend, const struct vit_config *config,
                          int64_t images_max, struct frozen **ret_frozen, struct ij_err *reterr_err)
{
    enum ij_status status;
    IJ_ASSERT(images_max >= 1);
    struct frozen *f = mem_new(struct frozen);
    if (!f)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an encoder");
    f->backend = backend;
    f->config = *config;
    f->images_max = images_max;
    IJ_TRY_GOTO(status, layout_init(&f->layout, &f->config, reterr_err), out);
    IJ_TRY_GOTO(status, prepare(f, reterr_err), out);
    *ret_frozen = MEM_TAKE(f);
out:
    frozen_free(f);
    return status;
}

void frozen_free(struct frozen *frozen)
{
    if (!frozen)
        return;
    const struct ops *ops = frozen->backend->ops;
    ops->release(frozen->backend, frozen->memory);
    ops->release(frozen->backend, frozen->parameter);
    ops->release(frozen->backend, frozen->parameter_bf16);
    layout_done(&frozen->layout);
    mem_free(frozen->rows);
    mem_free(frozen);
}

/* ---- Weights --------------------------------------------------------------------------------- */

/* Copies host weights (the encoder's part of the layout) into memory of its own. */
static enum ij_status set_own(struct frozen *f, const float *values, struct ij_err *reterr_err)
{
    struct backend *backend = f->backend;
    size_t count = (size_t)f->layout.encoder_floats;
    if (!f->parameter)
        IJ_TRY(backend->ops->allocate(backend, count * sizeof(float), (void **)&f->parameter,
                                      reterr_err));
    IJ_TRY(backend->ops->upload(backend, f->parameter, values, count * sizeof(float), reterr_err));
    if (f->config.type == TENSOR_BF16) {
        if (!f->parameter_bf16)
            IJ_TRY(backend->ops->allocate(backend, count * sizeof(uint16_t),
                                          (void **)&f->parameter_bf16, reterr_err));
        OP_CALL(convert, .count = (int64_t)count, .x = tensor_f32(f->parameter),
                .y = {f->parameter_bf16, TENSOR_BF16});
    }
    frozen_set_borrowed(f, f->parameter, f->parameter_bf16);
    return IJ_OK;
}

enum ij_status frozen_set_random(struct frozen *frozen, uint64_t seed, struct ij_err *reterr_err)
{
    mem_auto float *values = mem_array(float, (size_t)frozen->layout.floats);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the initial weights");
    weights_init_fill(&frozen->layout, &frozen->config, seed, values);
    return set_own(frozen, values, reterr_err);
}

enum ij_status frozen_set_checkpoint(struct frozen *frozen, const struct checkpoint *checkpoint,
                                     enum engine_encoder encoder, struct ij_err *reterr_err)
{
    const struct layout *l = &frozen->layout;
    mem_auto float *values = mem_array(float, (size_t)l->encoder_floats);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the checkpoint's weights");
    for (size_t i = 0; i < l->count && l->tensors[i].encoder; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        char target[LAYOUT_TARGET_NAME_MAX];
        layout_target_name(t, target);
        IJ_TRY(checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL,
                                   encoder == ENGINE_ENCODER_TARGET ? target : t->name,
                                   values + t->offset, (uint64_t)t->count, reterr_err));
    }
    return set_own(frozen, values, reterr_err);
}

void frozen_set_borrowed(struct frozen *frozen, const float *parameter,
                         const uint16_t *parameter_bf16)
{
    frozen->arena = (struct block_arena){.parameter = parameter, .parameter_bf16 = parameter_bf16};
}

/* ---- Features -------------------------------------------------------------------------------- */

/* Mean over the tokens of `normed`, to host memory. */
static enum ij_status pool(struct frozen *f, float *ret_pooled, struct ij_err *reterr_err)
{
    struct backend *backend = f->backend;
    int64_t d = f->config.encoder.width;
    OP_CALL(mean_pool, .sequences = f->images, .length = f->config.patches, .width = d,
            .x = f->normed, .y = f->pooled);
    return backend->ops->download(backend, ret_pooled, f->pooled,
                                  (size_t)(f->images * d) * sizeof(float), reterr_err);
}

/* Puts one of the last blocks' pooled outputs into its quarter of the long feature. */
static enum ij_status tap_block(void *user, int64_t block, struct tensor x,
                                struct ij_err *reterr_err)
{
    struct frozen *f = user;
    struct backend *backend = f->backend;
    int64_t d = f->config.encoder.width, long_width = FROZEN_CONCAT_BLOCKS * d;
    int64_t quarter = block - (f->config.encoder.depth - FROZEN_CONCAT_BLOCKS);
    if (quarter < 0)
        return IJ_OK;
    OP_CALL(layer_norm_forward, .rows = f->images * f->config.patches, .width = d,
            .eps = VIT_CONFIG_NORM_EPS, .x = x, .gamma = f->arena.parameter + f->layout.norm_weight,
            .beta = f->arena.parameter + f->layout.norm_bias, .y = f->normed);
    IJ_TRY(pool(f, f->rows, reterr_err));
    for (int64_t i = 0; i < f->images; i++)
        memcpy(f->concat + i * long_width + quarter * d, f->rows + i * d,
               (size_t)d * sizeof(float));
    return IJ_OK;
}

enum ij_status frozen_features(struct frozen *frozen, const uint8_t *pixels, int64_t images,
                               float *ret_last, float *ret_concat, float *ret_tokens,
                               struct ij_err *reterr_err)
{
    struct backend *backend = frozen->backend;
    const struct vit_config *c = &frozen->config;
    IJ_ASSERT(images >= 1 && images <= frozen->images_max && frozen->arena.parameter);
    size_t pixel_bytes = (size_t)(images * c->crop * c->crop) * 3;
    size_t token_bytes = (size_t)(images * c->patches * c->encoder.width) * sizeof(float);
    size_t concat_bytes =
        (size_t)(images * c->encoder.width * FROZEN_CONCAT_BLOCKS) * sizeof(float);
    frozen->images = images;
    frozen->concat = ret_concat;
    if (ret_concat)
        memset(ret_concat, 0, concat_bytes);
    struct encoder_infer_tap tap = {ret_concat ? tap_block : NULL, frozen};
    struct encoder_input input = {.pixels = frozen->pixels,
                                  .images = images,
                                  .keep_count = c->patches,
                                  .position = frozen->position};
    IJ_TRY(backend->ops->upload(backend, frozen->pixels.data, pixels, pixel_bytes, reterr_err));
    IJ_TRY(encoder_infer_run(backend, c, &frozen->layout, &frozen->arena, &input, NULL, 0,
                             &frozen->infer, &tap, frozen->normed, reterr_err));
    if (ret_tokens)
        IJ_TRY(backend->ops->download(backend, ret_tokens, frozen->normed.data, token_bytes,
                                      reterr_err));
    return pool(frozen, ret_last, reterr_err);
}

/* One set of buffers serves all blocks, so what is in them is the last block's. */
enum ij_status frozen_attention(struct frozen *frozen, int64_t image, float *ret_received,
                                struct ij_err *reterr_err)
{
    struct backend *backend = frozen->backend;
    const struct vit_config *c = &frozen->config;
    struct tensor qkv = frozen->infer.saved.qkv;
    size_t bytes = (size_t)(c->patches * 3 * c->encoder.width) * tensor_type_size(qkv.type);
    IJ_ASSERT(image >= 0 && image < frozen->images);
    mem_auto void *copy = mem_alloc_zero(1, bytes);
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for attention maps");
    IJ_TRY(backend->ops->download(backend, copy, (char *)qkv.data + (size_t)image * bytes, bytes,
                                  reterr_err));
    return attention_received((struct tensor){copy, qkv.type}, c->patches, c->encoder.heads,
                              c->encoder.width / c->encoder.heads, ret_received, reterr_err);
}
