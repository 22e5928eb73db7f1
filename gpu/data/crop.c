/* See crop.h. */
#include "gpu/data/crop.h"

#include <math.h>

#define TRIES 10

static double draw_between(struct rng *rng, double low, double high)
{
    return low + (high - low) * rng_uniform(rng);
}

/* The largest central box whose width / height lies within `ratio`. */
static struct image_box central_box(uint32_t width, uint32_t height, const double ratio[2])
{
    double own = (double)width / height;
    struct image_box box = {.width = width, .height = height};
    if (own < ratio[0])
        box.height = (uint32_t)rint(fmin(height, fmax(1.0, width / ratio[0])));
    else if (own > ratio[1])
        box.width = (uint32_t)rint(fmin(width, fmax(1.0, height * ratio[1])));
    box.x = (width - box.width) / 2;
    box.y = (height - box.height) / 2;
    return box;
}

struct image_box crop_random_box(uint32_t width, uint32_t height, const double scale[2],
                                 const double ratio[2], struct rng *rng)
{
    double area = (double)width * height;
    double log_ratio[2] = {log(ratio[0]), log(ratio[1])};
    for (int i = 0; i < TRIES; i++) {
        double target = area * draw_between(rng, scale[0], scale[1]);
        double aspect = exp(draw_between(rng, log_ratio[0], log_ratio[1]));
        double w = rint(sqrt(target * aspect)), h = rint(sqrt(target / aspect));
        if (w < 1 || h < 1 || w > width || h > height)
            continue;
        struct image_box box = {.width = (uint32_t)w, .height = (uint32_t)h};
        box.y = rng_below(rng, height - box.height + 1);
        box.x = rng_below(rng, width - box.width + 1);
        return box;
    }
    return central_box(width, height, ratio);
}

struct crop_plan crop_of_box(const struct image_box *box, uint32_t size)
{
    return (struct crop_plan){
        .box = *box,
        .x = {.in = box->width, .out = size, .count = size},
        .y = {.in = box->height, .out = size, .count = size},
        .filter = RESIZE_BILINEAR,
    };
}

/* Keeps of each axis only the inputs that its window needs: the box shrinks to them. */
static void shrink_box(struct crop_plan *plan)
{
    resize_window(&plan->x, plan->filter, &plan->box.x, &plan->box.width);
    resize_window(&plan->y, plan->filter, &plan->box.y, &plan->box.height);
}

struct crop_plan crop_center(uint32_t width, uint32_t height, uint32_t size)
{
    uint32_t target = (uint32_t)((size * 256u + 112u) / 224u);
    uint32_t shorter = width < height ? width : height;
    struct crop_plan plan = {.filter = RESIZE_BICUBIC};
    if (width == size && height == size)
        target = size;
    uint32_t out_width = (uint32_t)((uint64_t)target * width / shorter);
    uint32_t out_height = (uint32_t)((uint64_t)target * height / shorter);
    plan.x = (struct resize_axis){.in = width, .out = out_width, .count = size};
    plan.y = (struct resize_axis){.in = height, .out = out_height, .count = size};
    plan.x.first = (uint32_t)rint((out_width - size) / 2.0);
    plan.y.first = (uint32_t)rint((out_height - size) / 2.0);
    shrink_box(&plan);
    return plan;
}

struct crop_plan crop_stretch(uint32_t width, uint32_t height, uint32_t size)
{
    return (struct crop_plan){
        .box = {.width = width, .height = height},
        .x = {.in = width, .out = size, .count = size},
        .y = {.in = height, .out = size, .count = size},
        .filter = RESIZE_BICUBIC,
    };
}
