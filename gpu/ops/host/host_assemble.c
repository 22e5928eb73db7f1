/*
 * The predictor's input: context tokens and mask tokens with their positions, and its gradient.
 *
 * The gradient of the mask token is summed in fixed groups of rows (one per sequence) and then over
 * the threads in their order.
 */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

HOST_CLONES static void host_assemble_sum(const float *x, const float *z, float *y, int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = x[i] + z[i];
}

static enum ij_status host_assemble_check(const char *op, int64_t images, int64_t blocks,
                                          int64_t context, int64_t target, int64_t width,
                                          struct ij_err *reterr_err)
{
    if (images < 0 || blocks < 0 || context < 0 || target < 0 || width < 1)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "%s: %lld images, %lld blocks, %lld + %lld tokens of width %lld", op,
                      (long long)images, (long long)blocks, (long long)context, (long long)target,
                      (long long)width);
    return IJ_OK;
}

/* Sequence s = m * images + b. `local`: two rows. */
static void host_assemble_sequence(const struct op_assemble_forward *args, int64_t s, float *local)
{
    int64_t width = args->width, count = args->context_count, image = s % args->images;
    int64_t length = count + args->target_count;
    for (int64_t j = 0; j < length; j++) {
        int64_t at = (s * length + j) * width, from = image * count + j;
        const float *token = args->mask_token;
        int64_t place;
        if (j < count) {
            token = host_tensor_read(args->context, from * width, width, local);
            place = args->context_index[from];
        } else {
            place = args->target_index[s * args->target_count + j - count];
        }
        float *x = host_tensor_target(args->x, at, local + width);
        host_assemble_sum(token, args->position + place * width, x, width);
        host_tensor_write(args->x, at, width, x);
    }
}

enum ij_status host_assemble_forward(struct backend *backend,
                                     const struct op_assemble_forward *args,
                                     struct ij_err *reterr_err)
{
    const char *op = "assemble_forward";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_assemble_check(op, args->images, args->blocks, args->context_count,
                               args->target_count, args->width, reterr_err));
    IJ_TRY(host_tensor_check(op, "context", args->context, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", args->x, reterr_err));
    IJ_TRY(host_backend_need(host, 0, 2 * (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->blocks * args->images, 1);
        for (int64_t s = span.begin; s < span.end; s++)
            host_assemble_sequence(args, s, host_backend_local(host));
    }
    return IJ_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* dcontext of one image, and its target rows added to `partial`. `local`: two rows. */
static void host_assemble_image(const struct op_assemble_backward *args, int64_t image,
                                float *partial, float *local)
{
    int64_t width = args->width, count = args->context_count;
    int64_t length = count + args->target_count;
    for (int64_t j = 0; j < count; j++) {
        int64_t at = (image * count + j) * width;
        float *sum = host_tensor_target(args->dcontext, at, local + width);
        memset(sum, 0, (size_t)width * sizeof(float));
        for (int64_t m = 0; m < args->blocks; m++) {
            int64_t row = (m * args->images + image) * length + j;
            const float *dx = host_tensor_read(args->dx, row * width, width, local);
            host_assemble_sum(sum, dx, sum, width);
        }
        host_tensor_write(args->dcontext, at, width, sum);
    }
    for (int64_t m = 0; m < args->blocks; m++)
        for (int64_t j = count; j < length; j++) {
            int64_t row = (m * args->images + image) * length + j;
            const float *dx = host_tensor_read(args->dx, row * width, width, local);
            host_assemble_sum(partial, dx, partial, width);
        }
}

static void host_assemble_join(const struct op_assemble_backward *args, const float *partials,
                               int parts)
{
    for (int64_t i = 0; i < args->width; i++) {
        float sum = args->accumulate ? args->dmask_token[i] : 0;
        for (int part = 0; part < parts; part++)
            sum += partials[part * args->width + i];
        args->dmask_token[i] = sum;
    }
}

enum ij_status host_assemble_backward(struct backend *backend,
                                      const struct op_assemble_backward *args,
                                      struct ij_err *reterr_err)
{
    const char *op = "assemble_backward";
    struct host_backend *host = host_backend_of(backend);
    size_t width = (size_t)args->width;
    IJ_TRY(host_assemble_check(op, args->images, args->blocks, args->context_count,
                               args->target_count, args->width, reterr_err));
    IJ_TRY(host_tensor_check(op, "dx", args->dx, reterr_err));
    IJ_TRY(host_tensor_check(op, "dcontext", args->dcontext, reterr_err));
    IJ_TRY(host_backend_need(host, width * (size_t)backend->threads, 2 * width, reterr_err));
    int parts = 1;
#pragma omp parallel num_threads(backend->threads)
    {
        float *partial = host->shared + (size_t)omp_get_thread_num() * width;
        memset(partial, 0, width * sizeof(float));
        struct host_span span = host_my_part(args->images, 1);
        for (int64_t image = span.begin; image < span.end; image++)
            host_assemble_image(args, image, partial, host_backend_local(host));
#pragma omp single
        parts = omp_get_num_threads();
    }
    host_assemble_join(args, host->shared, parts);
    return IJ_OK;
}
