/* See classifier.h. */
#include "gpu/model/classifier.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/op_call.h"
#include "gpu/model/positions.h"

#define DROP_BRANCHES 2 /* of a block */

/* Everything in device memory. */
struct views {
    struct tensor pixels;
    float *position; /* (patches, D) */
    struct encoder encoder;
    struct block_work work;
    float *pooled;             /* (images, D) */
    struct tensor normed;      /* (images, D) in the model's type */
    float *mean, *rstd;        /* (images) */
    float *logits;             /* (images, classes), then their gradient */
    struct tensor dlogits;     /* the same in the model's type; absent in float32 */
    struct tensor dnormed;     /* (images, D) in the model's type */
    float *dpooled;            /* (images, D) */
    float *share;              /* (images) 1 / patches */
    float *drop;               /* (depth, 2, images) */
    struct tensor drop_branch; /* (images * patches, D) float32 */
};

struct classifier {
    struct backend *backend;
    const struct vit_config *config;
    const struct classifier_layout *layout;
    int64_t images_max, images; /* images: of the last pass */
    bool dropping;              /* in the last pass */
    struct views v;
    void *memory; /* owned; device */
};

static void carve_all(struct views *v, struct carve *carve, const struct vit_config *c,
                      int64_t classes, int64_t images)
{
    int64_t rows = images * c->patches, d = c->encoder.width;
    v->pixels = carve_tensor(carve, TENSOR_U8, images * c->crop, 3 * c->crop);
    v->position = carve_floats(carve, c->patches * d);
    encoder_carve(&v->encoder, carve, c, rows);
    block_work_carve(carve, &c->encoder, c->type, rows, &v->work);
    v->pooled = carve_floats(carve, images * d);
    v->normed = carve_tensor(carve, c->type, images, d);
    v->mean = carve_floats(carve, images);
    v->rstd = carve_floats(carve, images);
    v->logits = carve_floats(carve, images * classes);
    v->dlogits = (struct tensor){NULL, c->type};
    if (c->type != TENSOR_F32)
        v->dlogits = carve_tensor(carve, c->type, images, classes);
    v->dnormed = carve_tensor(carve, c->type, images, d);
    v->dpooled = carve_floats(carve, images * d);
    v->share = carve_floats(carve, images);
    v->drop = carve_floats(carve, c->encoder.depth * DROP_BRANCHES * images);
    v->drop_branch = carve_tensor(carve, TENSOR_F32, rows, d);
}

enum ij_status classifier_measure(const struct vit_config *config, int64_t classes, int64_t images,
                                  uint64_t *ret_bytes, struct ij_err *reterr_err)
{
    struct views v = {.position = NULL};
    struct carve carve = {.base = NULL};
    IJ_TRY(encoder_init(&v.encoder, config, reterr_err));
    carve_all(&v, &carve, config, classes, images);
    encoder_done(&v.encoder);
    *ret_bytes = carve.peak;
    return IJ_OK;
}

/* ---- Construction ---------------------------------------------------------------------------- */

static enum ij_status upload_tables(struct classifier *c, struct ij_err *reterr_err)
{
    struct backend *backend = c->backend;
    int64_t patches = c->config->patches, d = c->config->encoder.width;
    mem_auto float *table = mem_array(float, (size_t)(patches * d));
    mem_auto float *share = mem_array(float, (size_t)c->images_max);
    if (!table || !share)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier's tables");
    positions_fill(c->config->grid, d, table);
    for (int64_t i = 0; i < c->images_max; i++)
        share[i] = 1.0f / (float)patches;
    IJ_TRY(backend->ops->upload(backend, c->v.position, table,
                                (size_t)(patches * d) * sizeof(float), reterr_err));
    IJ_TRY(backend->ops->upload(backend, c->v.share, share, (size_t)c->images_max * sizeof(float),
                                reterr_err));
    return backend->ops->synchronize(backend, reterr_err);
}

static enum ij_status prepare(struct classifier *c, struct ij_err *reterr_err)
{
    const struct vit_config *config = c->config;
    const struct ops *ops = c->backend->ops;
    int64_t widest = 3 * config->encoder.width, classes = c->layout->classes;
    struct carve carve = {.base = NULL};
    IJ_TRY(encoder_init(&c->v.encoder, config, reterr_err));
    carve_all(&c->v, &carve, config, classes, c->images_max);
    IJ_TRY(ops->allocate(c->backend, carve.peak, &c->memory, reterr_err));
    carve = (struct carve){.base = c->memory};
    carve_all(&c->v, &carve, config, classes, c->images_max);
    widest = config->encoder.hidden > widest ? config->encoder.hidden : widest;
    widest = config->patch_values > widest ? config->patch_values : widest;
    widest = classes > widest ? classes : widest;
    IJ_TRY(ops->reserve_scratch(c->backend, c->images_max * config->patches, widest,
                                config->encoder.heads, reterr_err));
    return upload_tables(c, reterr_err);
}

enum ij_status classifier_new(struct backend *backend, const struct vit_config *config,
                              const struct classifier_layout *layout, int64_t images,
                              struct classifier **ret_classifier, struct ij_err *reterr_err)
{
    struct classifier *c = mem_new(struct classifier);
    if (!c)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier");
    c->backend = backend;
    c->config = config;
    c->layout = layout;
    c->images_max = images;
    enum ij_status status = prepare(c, reterr_err);
    if (status != IJ_OK) {
        classifier_free(c);
        return status;
    }
    *ret_classifier = c;
    return IJ_OK;
}

void classifier_free(struct classifier *classifier)
{
    if (!classifier)
        return;
    classifier->backend->ops->release(classifier->backend, classifier->memory);
    encoder_done(&classifier->v.encoder);
    mem_free(classifier);
}

const float *classifier_position(const struct classifier *classifier)
{
    return classifier->v.position;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* The rows of block `i` in the pass under way; *ret_drop is filled where branches are dropped. */
static struct block_rows rows_of(const struct classifier *c, int64_t i, struct block_drop *ret_drop)
{
    struct block_rows rows = {.sequences = c->images, .length = c->config->patches};
    const float *factors = c->v.drop + i * DROP_BRANCHES * c->images;
    if (c->dropping) {
        *ret_drop = (struct block_drop){factors, factors + c->images, c->v.drop_branch};
        rows.drop = ret_drop;
    }
    return rows;
}

static enum ij_status run_encoder(struct classifier *c, const struct block_arena *arena,
                                  struct ij_err *reterr_err)
{
    const struct encoder *e = &c->v.encoder;
    const struct vit_stack *stack = &c->config->encoder;
    const struct encoder_input input = {.pixels = c->v.pixels,
                                        .images = c->images,
                                        .keep_count = c->config->patches,
                                        .position = c->v.position};
    IJ_TRY(encoder_embed(c->backend, c->config, &c->layout->encoder, arena, &input, e->patches,
                         e->x[0], reterr_err));
    for (int64_t i = 0; i < stack->depth; i++) {
        struct block_drop drop;
        struct block_rows rows = rows_of(c, i, &drop);
        IJ_TRY(block_forward(c->backend, stack, &c->layout->encoder.encoder_blocks[i], arena, &rows,
                             e->x[i], &e->saved[i], e->x[i + 1], reterr_err));
    }
    return IJ_OK;
}

static enum ij_status run_head(struct classifier *c, const struct block_arena *arena,
                               struct ij_err *reterr_err)
{
    struct backend *backend = c->backend;
    const struct classifier_layout *l = c->layout;
    const struct views *v = &c->v;
    int64_t d = c->config->encoder.width;
    OP_CALL(mean_pool, .sequences = c->images, .length = c->config->patches, .width = d,
            .x = v->encoder.x[c->config->encoder.depth], .y = v->pooled);
    OP_CALL(layer_norm_forward, .rows = c->images, .width = d, .eps = VIT_CONFIG_NORM_EPS,
            .x = tensor_f32(v->pooled), .gamma = arena->parameter + l->norm_weight,
            .beta = arena->parameter + l->norm_bias, .y = v->normed, .mean = v->mean,
            .rstd = v->rstd);
    OP_CALL(linear_forward, .rows = c->images, .in = d, .out = l->classes, .x = v->normed,
            .weight = block_matrix(arena, l->head_weight), .bias = arena->parameter + l->head_bias,
            .y = tensor_f32(v->logits));
    return IJ_OK;
}

enum ij_status classifier_forward(struct classifier *classifier, const struct block_arena *arena,
                                  const uint8_t *pixels, int64_t images, const float *drop,
                                  float *ret_logits, struct ij_err *reterr_err)
{
    struct backend *backend = classifier->backend;
    const struct vit_config *c = classifier->config;
    const struct views *v = &classifier->v;
    size_t factors = (size_t)(c->encoder.depth * DROP_BRANCHES * images);
    IJ_ASSERT(images >= 1 && images <= classifier->images_max);
    classifier->images = images;
    classifier->dropping = drop != NULL;
    IJ_TRY(backend->ops->upload(backend, v->pixels.data, pixels,
                                (size_t)(images * c->crop * c->crop) * 3, reterr_err));
    if (drop)
        IJ_TRY(backend->ops->upload(backend, v->drop, drop, factors * sizeof(float), reterr_err));
    IJ_TRY(run_encoder(classifier, arena, reterr_err));
    IJ_TRY(run_head(classifier, arena, reterr_err));
    IJ_TRY(backend->ops->download(backend, ret_logits, v->logits,
                                  (size_t)(images * classifier->layout->classes) * sizeof(float),
                                  reterr_err));
    return backend->ops->synchronize(backend, reterr_err);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* From the logits' gradient to that of every token. */
static enum ij_status head_backward(struct classifier *c, const struct block_arena *arena,
                                    struct ij_err *reterr_err)
{
    struct backend *backend = c->backend;
    const struct classifier_layout *l = c->layout;
    const struct views *v = &c->v;
    int64_t d = c->config->encoder.width;
    struct tensor dlogits = tensor_f32(v->logits);
    if (v->dlogits.data) {
        OP_CALL(convert, .count = c->images * l->classes, .x = dlogits, .y = v->dlogits);
        dlogits = v->dlogits;
    }
    OP_CALL(linear_backward_weight, .rows = c->images, .in = d, .out = l->classes, .dy = dlogits,
            .x = v->normed, .dweight = arena->gradient + l->head_weight,
            .dbias = arena->gradient + l->head_bias, .accumulate = arena->accumulate);
    OP_CALL(linear_backward_input, .rows = c->images, .in = d, .out = l->classes, .dy = dlogits,
            .weight = block_matrix(arena, l->head_weight), .dx = v->dnormed);
    OP_CALL(layer_norm_backward, .rows = c->images, .width = d, .dy = v->dnormed,
            .x = tensor_f32(v->pooled), .gamma = arena->parameter + l->norm_weight, .mean = v->mean,
            .rstd = v->rstd, .dx = tensor_f32(v->dpooled),
            .dgamma = arena->gradient + l->norm_weight, .dbeta = arena->gradient + l->norm_bias,
            .accumulate = arena->accumulate);
    OP_CALL(scale_rows, .sequences = c->images, .length = c->config->patches, .width = d,
            .broadcast = true, .x = tensor_f32(v->dpooled), .scale = v->share,
            .y = v->encoder.gradient);
    return IJ_OK;
}

enum ij_status classifier_backward(struct classifier *classifier, const struct block_arena *arena,
                                   const float *dlogits, struct ij_err *reterr_err)
{
    struct backend *backend = classifier->backend;
    const struct vit_config *c = classifier->config;
    const struct layout *l = &classifier->layout->encoder;
    const struct encoder *e = &classifier->v.encoder;
    const struct block_work *work = &classifier->v.work;
    size_t count = (size_t)(classifier->images * classifier->layout->classes);
    IJ_TRY(backend->ops->upload(backend, classifier->v.logits, dlogits, count * sizeof(float),
                                reterr_err));
    IJ_TRY(head_backward(classifier, arena, reterr_err));
    for (int64_t i = c->encoder.depth - 1; i >= 0; i--) {
        struct block_drop drop;
        struct block_rows rows = rows_of(classifier, i, &drop);
        IJ_TRY(block_backward(backend, &c->encoder, &l->encoder_blocks[i], arena, &rows, e->x[i],
                              &e->saved[i], work, e->gradient, reterr_err));
    }
    return encoder_embed_backward(backend, c, l, arena, classifier->images * c->patches, e, work,
                                  reterr_err);
}
