/*
 * The transformer block. See block.h.
 *
 * `struct pass` holds the arguments of one call so that the two halves of the block, attention and
 * MLP, can be functions of their own.
 */
#include "gpu/model/block.h"

#include "gpu/model/op_call.h"

struct pass {
    struct backend *backend;
    const struct vit_stack *stack;
    const struct layout_block *at;
    const struct block_arena *arena;
    const struct block_rows *rows;
    const struct block_saved *saved;
    const struct block_work *work; /* backward only */
};

void block_saved_carve(struct carve *carve, const struct vit_stack *stack, enum tensor_type type,
                       int64_t rows_in, int64_t rows_out, enum block_use use,
                       struct block_saved *ret_saved)
{
    int64_t d = stack->width;
    bool train = use != BLOCK_FORWARD_ONLY;
    struct block_saved s = {.mean1 = NULL};
    s.normed1 = carve_tensor(carve, type, rows_in, d);
    s.qkv = carve_tensor(carve, type, rows_in, 3 * d);
    s.attended = carve_tensor(carve, type, rows_in, d);
    if (use != BLOCK_TRAIN)
        s.picked = carve_tensor(carve, type, rows_out, d);
    s.middle = carve_tensor(carve, TENSOR_F32, rows_out, d);
    s.normed2 = train ? carve_tensor(carve, type, rows_out, d) : s.normed1;
    s.hidden = carve_tensor(carve, type, rows_out, stack->hidden);
    if (train) {
        s.pre = carve_tensor(carve, type, rows_out, stack->hidden);
        s.mean1 = carve_floats(carve, rows_in);
        s.rstd1 = carve_floats(carve, rows_in);
        s.mean2 = carve_floats(carve, rows_out);
        s.rstd2 = carve_floats(carve, rows_out);
        s.lse = carve_floats(carve, rows_in * stack->heads);
    }
    *ret_saved = s;
}

void block_work_carve(struct carve *carve, const struct vit_stack *stack, enum tensor_type type,
                      int64_t rows, struct block_work *ret_work)
{
    int64_t d = stack->width, wide = stack->hidden > 3 * d ? stack->hidden : 3 * d;
    struct block_work w = {.cast = {NULL, type}};
    if (type != TENSOR_F32)
        w.cast = carve_tensor(carve, type, rows, d);
    w.wide = carve_tensor(carve, type, rows, wide);
    w.narrow = carve_tensor(carve, type, rows, d);
    w.spread = carve_tensor(carve, TENSOR_F32, rows, d);
    w.spread_narrow = carve_tensor(carve, type, rows, d);
    *ret_work = w;
}

static float *gradient_at(const struct pass *p, int64_t offset)
{
    return p->arena->gradient + offset;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* Moves the rows that leave the block: of `attended` to `picked`, of x to `middle`. */
static enum ij_status pick_rows(const struct pass *p, struct tensor x, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_rows *r = p->rows;
    const struct block_saved *s = p->saved;
    int64_t d = p->stack->width;
    if (r->tail) {
        OP_CALL(tail_forward, .sequences = r->sequences, .length = r->length, .tail = r->tail,
                .width = d, .x = s->attended, .y = s->picked);
        OP_CALL(tail_forward, .sequences = r->sequences, .length = r->length, .tail = r->tail,
                .width = d, .x = x, .y = s->middle);
        return IJ_OK;
    }
    OP_CALL(gather_rows, .rows = r->gather_count, .width = d, .x = s->attended, .index = r->gather,
            .y = s->picked);
    OP_CALL(gather_rows, .rows = r->gather_count, .width = d, .x = x, .index = r->gather,
            .y = s->middle);
    return IJ_OK;
}

/* The last layer of a branch, joined with the stream; `scale` (NULL: 1) is the branch's factor. */
static enum ij_status join(const struct pass *p, const struct op_linear_forward *last,
                           const float *scale, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    if (!scale)
        return backend->ops->linear_forward(backend, last, reterr_err);
    struct op_linear_forward apart = *last;
    apart.residual = (struct tensor){NULL, TENSOR_F32};
    apart.y = p->rows->drop->branch;
    IJ_TRY(backend->ops->linear_forward(backend, &apart, reterr_err));
    OP_CALL(scale_rows, .sequences = p->rows->sequences, .length = p->rows->length,
            .width = p->stack->width, .x = apart.y, .scale = scale, .residual = last->residual,
            .y = last->y);
    return IJ_OK;
}

/* Completes a linear layer with its weight and bias; where the arena has the matrix in float8, the
 * input is brought to it. */
static enum ij_status product(const struct pass *p, int64_t weight, int64_t bias,
                              struct op_linear_forward *linear, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_arena *arena = p->arena;
    const struct block_saved *s = p->saved;
    linear->weight = block_matrix(arena, weight);
    linear->bias = arena->parameter + bias;
    linear->bias_bf16 = block_bias_bf16(arena, bias);
    if (!arena->parameter_e4m3)
        return IJ_OK;
    OP_CALL(quantize_rows, .rows = linear->rows, .width = linear->in, .x = linear->x,
            .y = s->quantized, .scale = s->row_scale);
    linear->x = s->quantized;
    linear->x_scale = s->row_scale;
    linear->weight.data = (void *)(uintptr_t)(arena->parameter_e4m3 + weight);
    linear->weight.type = TENSOR_E4M3;
    linear->weight_scale = arena->scale_e4m3 + block_scale_at(weight);
    return IJ_OK;
}

static enum ij_status attention_half(const struct pass *p, struct tensor x,
                                     struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_saved *s = p->saved;
    const float *parameter = p->arena->parameter;
    int64_t d = p->stack->width, rows = block_rows_in(p->rows);
    bool all = !p->rows->tail && !p->rows->gather;
    OP_CALL(layer_norm_forward, .rows = rows, .width = d, .eps = VIT_CONFIG_NORM_EPS, .x = x,
            .gamma = parameter + p->at->norm1_weight, .beta = parameter + p->at->norm1_bias,
            .y = s->normed1, .mean = s->mean1, .rstd = s->rstd1);
    struct op_linear_forward qkv = {
        .rows = rows, .in = d, .out = 3 * d, .x = s->normed1, .y = s->qkv};
    IJ_TRY(product(p, p->at->qkv_weight, p->at->qkv_bias, &qkv, reterr_err));
    IJ_TRY(backend->ops->linear_forward(backend, &qkv, reterr_err));
    OP_CALL(attention_forward, .sequences = p->rows->sequences, .length = p->rows->length,
            .heads = p->stack->heads, .head_dim = d / p->stack->heads,
            .query_start = p->rows->tail ? p->rows->length - p->rows->tail : 0, .qkv = s->qkv,
            .out = s->attended, .lse = s->lse);
    if (!all)
        IJ_TRY(pick_rows(p, x, reterr_err));
    struct op_linear_forward proj = {.rows = block_rows_out(p->rows),
                                     .in = d,
                                     .out = d,
                                     .x = all ? s->attended : s->picked,
                                     .residual = all ? x : s->middle,
                                     .y = s->middle};
    IJ_TRY(product(p, p->at->proj_weight, p->at->proj_bias, &proj, reterr_err));
    return join(p, &proj, p->rows->drop ? p->rows->drop->attention : NULL, reterr_err);
}

static enum ij_status mlp_half(const struct pass *p, struct tensor y, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_saved *s = p->saved;
    const float *parameter = p->arena->parameter;
    int64_t d = p->stack->width, hidden = p->stack->hidden, rows = block_rows_out(p->rows);
    OP_CALL(layer_norm_forward, .rows = rows, .width = d, .eps = VIT_CONFIG_NORM_EPS,
            .x = s->middle, .gamma = parameter + p->at->norm2_weight,
            .beta = parameter + p->at->norm2_bias, .y = s->normed2, .mean = s->mean2,
            .rstd = s->rstd2);
    struct op_linear_forward fc1 = {.rows = rows,
                                    .in = d,
                                    .out = hidden,
                                    .x = s->normed2,
                                    .activation = p->stack->gelu_tanh ? ACTIVATION_GELU_TANH
                                                                      : ACTIVATION_GELU,
                                    .pre = s->pre,
                                    .y = s->hidden};
    IJ_TRY(product(p, p->at->fc1_weight, p->at->fc1_bias, &fc1, reterr_err));
    IJ_TRY(backend->ops->linear_forward(backend, &fc1, reterr_err));
    struct op_linear_forward fc2 = {
        .rows = rows, .in = hidden, .out = d, .x = s->hidden, .residual = s->middle, .y = y};
    IJ_TRY(product(p, p->at->fc2_weight, p->at->fc2_bias, &fc2, reterr_err));
    return join(p, &fc2, p->rows->drop ? p->rows->drop->mlp : NULL, reterr_err);
}

enum ij_status block_forward(struct backend *backend, const struct vit_stack *stack,
                             const struct layout_block *at, const struct block_arena *arena,
                             const struct block_rows *rows, struct tensor x,
                             const struct block_saved *saved, struct tensor y,
                             struct ij_err *reterr_err)
{
    struct pass pass = {backend, stack, at, arena, rows, saved, NULL};
    IJ_TRY(attention_half(&pass, x, reterr_err));
    return mlp_half(&pass, y, reterr_err);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* The gradient of a branch in the type of the products; `scale`: the branch's factor. */
static enum ij_status cast(const struct pass *p, struct tensor gradient, int64_t rows,
                           const float *scale, struct tensor *ret_cast, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    if (scale) {
        *ret_cast = p->work->cast.data ? p->work->cast : p->rows->drop->branch;
        OP_CALL(scale_rows, .sequences = p->rows->sequences, .length = p->rows->length,
                .width = p->stack->width, .x = gradient, .scale = scale, .y = *ret_cast);
        return IJ_OK;
    }
    *ret_cast = gradient;
    if (!p->work->cast.data)
        return IJ_OK;
    *ret_cast = p->work->cast;
    OP_CALL(convert, .count = rows * p->stack->width, .x = gradient, .y = *ret_cast);
    return IJ_OK;
}

/* Gradients of a linear layer's weight and bias from dy and its input x. */
static enum ij_status weight_gradient(const struct pass *p, int64_t rows, int64_t in, int64_t out,
                                      struct tensor dy, struct tensor x, int64_t weight,
                                      int64_t bias, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    OP_CALL(linear_backward_weight, .rows = rows, .in = in, .out = out, .dy = dy, .x = x,
            .dweight = gradient_at(p, weight), .dbias = gradient_at(p, bias),
            .accumulate = p->arena->accumulate);
    return IJ_OK;
}

/* From the gradient of y to that of `middle`, written to `middle_gradient`. */
static enum ij_status mlp_backward(const struct pass *p, struct tensor gradient,
                                   struct tensor middle_gradient, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_saved *s = p->saved;
    const struct block_work *w = p->work;
    int64_t d = p->stack->width, hidden = p->stack->hidden, rows = block_rows_out(p->rows);
    struct tensor dy;
    IJ_TRY(cast(p, gradient, rows, p->rows->drop ? p->rows->drop->mlp : NULL, &dy, reterr_err));
    IJ_TRY(weight_gradient(p, rows, hidden, d, dy, s->hidden, p->at->fc2_weight, p->at->fc2_bias,
                           reterr_err));
    OP_CALL(linear_backward_input, .rows = rows, .in = hidden, .out = d, .dy = dy,
            .weight = block_matrix(p->arena, p->at->fc2_weight), .gelu_pre = s->pre,
            .gelu_tanh = p->stack->gelu_tanh, .dx = w->wide);
    IJ_TRY(weight_gradient(p, rows, d, hidden, w->wide, s->normed2, p->at->fc1_weight,
                           p->at->fc1_bias, reterr_err));
    OP_CALL(linear_backward_input, .rows = rows, .in = d, .out = hidden, .dy = w->wide,
            .weight = block_matrix(p->arena, p->at->fc1_weight), .dx = w->narrow);
    OP_CALL(layer_norm_backward, .rows = rows, .width = d, .dy = w->narrow, .x = s->middle,
            .gamma = p->arena->parameter + p->at->norm2_weight, .mean = s->mean2, .rstd = s->rstd2,
            .residual = gradient, .dx = middle_gradient,
            .dgamma = gradient_at(p, p->at->norm2_weight),
            .dbeta = gradient_at(p, p->at->norm2_bias), .accumulate = p->arena->accumulate);
    return IJ_OK;
}

/* From the gradient of `middle` to that of `attended`, in *ret_attended; with `tail` both are then
 * spread over all rows, the former into `gradient`. */
static enum ij_status proj_backward(const struct pass *p, struct tensor gradient,
                                    struct tensor *ret_attended, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_saved *s = p->saved;
    const struct block_work *w = p->work;
    const struct block_rows *r = p->rows;
    int64_t d = p->stack->width, rows = block_rows_out(r);
    struct tensor dy, middle = r->tail ? w->spread : gradient;
    IJ_TRY(cast(p, middle, rows, r->drop ? r->drop->attention : NULL, &dy, reterr_err));
    IJ_TRY(weight_gradient(p, rows, d, d, dy, r->tail ? s->picked : s->attended, p->at->proj_weight,
                           p->at->proj_bias, reterr_err));
    OP_CALL(linear_backward_input, .rows = rows, .in = d, .out = d, .dy = dy,
            .weight = block_matrix(p->arena, p->at->proj_weight), .dx = w->narrow);
    *ret_attended = w->narrow;
    if (!r->tail)
        return IJ_OK;
    OP_CALL(tail_backward, .sequences = r->sequences, .length = r->length, .tail = r->tail,
            .width = d, .dy = w->spread, .dx = gradient);
    OP_CALL(tail_backward, .sequences = r->sequences, .length = r->length, .tail = r->tail,
            .width = d, .dy = w->narrow, .dx = w->spread_narrow);
    *ret_attended = w->spread_narrow;
    return IJ_OK;
}

/* From the gradients of `attended` and of the stream to that of x. */
static enum ij_status qkv_backward(const struct pass *p, struct tensor attended, struct tensor x,
                                   struct tensor gradient, struct ij_err *reterr_err)
{
    struct backend *backend = p->backend;
    const struct block_saved *s = p->saved;
    const struct block_work *w = p->work;
    const struct block_rows *r = p->rows;
    int64_t d = p->stack->width, rows = block_rows_in(r);
    OP_CALL(attention_backward, .sequences = r->sequences, .length = r->length,
            .heads = p->stack->heads, .head_dim = d / p->stack->heads,
            .query_start = r->tail ? r->length - r->tail : 0, .qkv = s->qkv, .out = s->attended,
            .dout = attended, .lse = s->lse, .dqkv = w->wide);
    IJ_TRY(weight_gradient(p, rows, d, 3 * d, w->wide, s->normed1, p->at->qkv_weight,
                           p->at->qkv_bias, reterr_err));
    OP_CALL(linear_backward_input, .rows = rows, .in = d, .out = 3 * d, .dy = w->wide,
            .weight = block_matrix(p->arena, p->at->qkv_weight), .dx = w->narrow);
    OP_CALL(layer_norm_backward, .rows = rows, .width = d, .dy = w->narrow, .x = x,
            .gamma = p->arena->parameter + p->at->norm1_weight, .mean = s->mean1, .rstd = s->rstd1,
            .residual = gradient, .dx = gradient, .dgamma = gradient_at(p, p->at->norm1_weight),
            .dbeta = gradient_at(p, p->at->norm1_bias), .accumulate = p->arena->accumulate);
    return IJ_OK;
}

enum ij_status block_backward(struct backend *backend, const struct vit_stack *stack,
                              const struct layout_block *at, const struct block_arena *arena,
                              const struct block_rows *rows, struct tensor x,
                              const struct block_saved *saved, const struct block_work *work,
                              struct tensor gradient, struct ij_err *reterr_err)
{
    struct pass pass = {backend, stack, at, arena, rows, saved, work};
    IJ_ASSERT(!rows->gather && arena->gradient);
    struct tensor attended;
    IJ_TRY(mlp_backward(&pass, gradient, rows->tail ? work->spread : gradient, reterr_err));
    IJ_TRY(proj_backward(&pass, gradient, &attended, reterr_err));
    return qkv_backward(&pass, attended, x, gradient, reterr_err);
}
