/* See feature_scale.h. */
#include "gpu/eval/feature_scale.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct scale {
    size_t width;
    double *mean, *deviation;
};

static void measure(const struct scale *s, const float *x, size_t count)
{
    memset(s->mean, 0, s->width * sizeof *s->mean);
    memset(s->deviation, 0, s->width * sizeof *s->deviation);
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < s->width; d++)
            s->mean[d] += (double)x[i * s->width + d] / (double)count;
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < s->width; d++) {
            double distance = (double)x[i * s->width + d] - s->mean[d];
            s->deviation[d] += distance * distance / (double)count;
        }
    for (size_t d = 0; d < s->width; d++)
        s->deviation[d] = sqrt(s->deviation[d]);
}

static void apply(const struct scale *s, float *x, size_t count, bool divide)
{
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < s->width; d++) {
            double by = divide && s->deviation[d] > 1e-12 ? s->deviation[d] : 1;
            x[i * s->width + d] = (float)(((double)x[i * s->width + d] - s->mean[d]) / by);
        }
}

static void to_unit_length(float *x, size_t count, size_t width)
{
    for (size_t i = 0; i < count; i++) {
        double square = 0;
        for (size_t d = 0; d < width; d++)
            square += (double)x[i * width + d] * (double)x[i * width + d];
        double by = square > 0 ? sqrt(square) : 1;
        for (size_t d = 0; d < width; d++)
            x[i * width + d] = (float)((double)x[i * width + d] / by);
    }
}

enum ij_status feature_scale(enum engine_scaling scaling, int64_t width, float *train,
                             size_t train_count, float *eval, size_t eval_count,
                             struct ij_err *reterr_err)
{
    mem_auto double *mean = mem_array(double, (size_t)width);
    mem_auto double *deviation = mem_array(double, (size_t)width);
    const struct scale scale = {(size_t)width, mean, deviation};
    bool divide = scaling != ENGINE_SCALE_L2_CENTER;
    if (!mean || !deviation)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to scale features");
    if (scaling == ENGINE_SCALE_NONE)
        return IJ_OK;
    if (scaling == ENGINE_SCALE_L2_CENTER) {
        to_unit_length(train, train_count, (size_t)width);
        to_unit_length(eval, eval_count, (size_t)width);
    }
    measure(&scale, train, train_count);
    apply(&scale, train, train_count, divide);
    if (scaling == ENGINE_SCALE_EACH)
        measure(&scale, eval, eval_count);
    apply(&scale, eval, eval_count, divide);
    return IJ_OK;
}
