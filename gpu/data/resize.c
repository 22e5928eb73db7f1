/* See resize.h: weights, and the rows that are kept between the passes (resize_pass.h). */
#include "gpu/data/resize.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Weights and their memory. `first` is relative to the window. */
struct axis_weights {
    struct resize_weights of;
    double *exact; /* scratch: one output's weights before rounding */
    size_t output_capacity, weight_capacity, split_capacity, exact_capacity;
};

struct resizer {
    struct axis_weights x, y;
    uint8_t *ring; /* horizontally resized rows, RGB, `ring_rows` of them */
    size_t ring_capacity, row_bytes, row_stride;
    uint32_t ring_rows, fed, written;
    const uint8_t **inputs; /* scratch: the rows of one output row */
    size_t input_capacity;
    const struct resize_pass *pass;
    bool splits; /* the pass takes weights that are split */
    uint8_t *pixels;
};

enum ij_status resize_new(struct resizer **ret_resizer, struct ij_err *reterr_err)
{
    *ret_resizer = mem_new(struct resizer);
    if (!*ret_resizer)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a resizer");
    for (int level = RESIZE_LEVELS - 1; !(*ret_resizer)->pass; level--)
        (void)resize_use(*ret_resizer, (enum resize_level)level);
    return IJ_OK;
}

static void free_weights(struct axis_weights *axis)
{
    mem_free(axis->of.first);
    mem_free(axis->of.count);
    mem_free(axis->of.place);
    mem_free(axis->of.weights);
    mem_free(axis->of.split);
    mem_free(axis->exact);
}

void resize_free(struct resizer *resizer)
{
    if (!resizer)
        return;
    free_weights(&resizer->x);
    free_weights(&resizer->y);
    mem_free(resizer->ring);
    mem_free(resizer->inputs);
    mem_free(resizer);
}

bool resize_use(struct resizer *resizer, enum resize_level level)
{
    const struct resize_pass *pass = resize_pass_get(level);
    if (!pass)
        return false;
    resizer->pass = pass;
    resizer->splits = level != RESIZE_PORTABLE;
    return true;
}

/* ---- Weights --------------------------------------------------------------------------------- */

static double filter_value(enum resize_filter filter, double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (filter == RESIZE_BILINEAR)
        return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

struct span {
    double center, stretch;
    uint32_t first, end; /* inputs [first, end) of the whole axis */
};

static struct span span_of(const struct resize_axis *axis, enum resize_filter filter, uint32_t out)
{
    double scale = (double)axis->in / axis->out, stretch = fmax(scale, 1.0);
    double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * stretch;
    double center = (out + 0.5) * scale;
    double first = center - support + 0.5, end = center + support + 0.5;
    return (struct span){
        .center = center,
        .stretch = stretch,
        .first = first > 0 ? (uint32_t)first : 0,
        .end = end < axis->in ? (uint32_t)end : axis->in,
    };
}

void resize_window(const struct resize_axis *axis, enum resize_filter filter, uint32_t *ret_first,
                   uint32_t *ret_count)
{
    struct span first = span_of(axis, filter, axis->first);
    struct span last = span_of(axis, filter, axis->first + axis->count - 1);
    *ret_first = first.first;
    *ret_count = last.end - first.first;
}

static bool grow(void **memory, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return true;
    mem_free(*memory);
    *memory = mem_alloc_aligned(64, (count + count / 2) * size);
    *capacity = *memory ? count + count / 2 : 0;
    return *memory != NULL;
}

/* Room for `outputs` outputs of `taps` taps. */
static bool make_room(struct axis_weights *axis, size_t outputs, size_t taps)
{
    struct resize_weights *of = &axis->of;
    uint32_t **lists[] = {&of->first, &of->count, &of->place};
    size_t capacity = axis->output_capacity;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        capacity = axis->output_capacity;
        if (!grow((void **)lists[i], &capacity, outputs, sizeof(uint32_t))) {
            axis->output_capacity = 0;
            return false;
        }
    }
    axis->output_capacity = capacity;
    return grow((void **)&of->weights, &axis->weight_capacity, outputs * taps, sizeof(int32_t)) &&
           grow((void **)&axis->exact, &axis->exact_capacity, taps, sizeof(double));
}

static void weigh(struct axis_weights *axis, const struct span *span, enum resize_filter filter,
                  int32_t *ret_weights)
{
    double sum = 0;
    uint32_t count = span->end - span->first;
    for (uint32_t j = 0; j < count; j++) {
        double distance = (span->first + j) - span->center + 0.5;
        axis->exact[j] = filter_value(filter, distance * (1.0 / span->stretch));
        sum += axis->exact[j];
    }
    for (uint32_t j = 0; j < count; j++) {
        double share = sum != 0.0 ? axis->exact[j] / sum : axis->exact[j];
        double fixed = share * (1 << RESIZE_WEIGHT_BITS);
        ret_weights[j] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
}

/* Fills the weights for the wanted outputs, last to first with `reverse`. */
static bool plan_axis(struct axis_weights *axis, const struct resize_axis *want,
                      enum resize_filter filter, bool reverse)
{
    struct resize_weights *of = &axis->of;
    double stretch = fmax((double)want->in / want->out, 1.0);
    double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * stretch;
    uint32_t window, size, taps = (uint32_t)ceil(support) * 2 + 2;
    if (!make_room(axis, want->count + RESIZE_BLOCK, taps))
        return false;
    of->outputs = want->count;
    of->taps = taps;
    resize_window(want, filter, &window, &size);
    for (uint32_t i = 0; i < want->count; i++) {
        uint32_t out = want->first + (reverse ? want->count - 1 - i : i);
        struct span span = span_of(want, filter, out);
        of->first[i] = span.first - window;
        of->count[i] = span.end - span.first;
        weigh(axis, &span, filter, of->weights + (size_t)i * taps);
    }
    return true;
}

/* One output's weights in the form that the vector passes take. Its taps may begin earlier, with
 * zeros, so that no group reaches beyond the window by more than it must. */
static void split_output(struct resize_weights *of, uint32_t i, uint32_t window)
{
    uint32_t taps = of->groups * RESIZE_GROUP, most = window > taps ? window - taps : 0;
    uint32_t place = of->first[i] < most ? of->first[i] : most, skip = of->first[i] - place;
    const int32_t *weights = of->weights + (size_t)i * of->taps;
    of->place[i] = place;
    for (uint32_t t = 0; t < of->count[i]; t++) {
        uint32_t group = (t + skip) / RESIZE_GROUP, lane = (t + skip) % RESIZE_GROUP;
        int16_t *split = of->split + ((size_t)group * of->padded + i) * 2 * RESIZE_GROUP;
        split[lane] = (int16_t)(weights[t] >> RESIZE_LOW_BITS);
        split[lane + RESIZE_GROUP] = (int16_t)(weights[t] & RESIZE_LOW_MASK);
    }
}

static bool split_axis(struct axis_weights *axis, const struct resize_axis *want,
                       enum resize_filter filter)
{
    struct resize_weights *of = &axis->of;
    uint32_t first, window, most = 1;
    resize_window(want, filter, &first, &window);
    for (uint32_t i = 0; i < of->outputs; i++)
        most = of->count[i] > most ? of->count[i] : most;
    of->groups = (most + RESIZE_GROUP - 1) / RESIZE_GROUP;
    of->padded = (of->outputs + RESIZE_BLOCK - 1) / RESIZE_BLOCK * RESIZE_BLOCK;
    size_t count = (size_t)of->groups * of->padded * 2 * RESIZE_GROUP;
    if (!grow((void **)&of->split, &axis->split_capacity, count, sizeof(int16_t)))
        return false;
    memset(of->split, 0, count * sizeof(int16_t));
    for (uint32_t i = 0; i < of->outputs; i++)
        split_output(of, i, window);
    for (uint32_t i = of->outputs; i < of->padded; i++)
        of->place[i] = 0;
    return true;
}

/* ---- Feeding --------------------------------------------------------------------------------- */

static bool make_buffers(struct resizer *resizer)
{
    resizer->row_bytes = (size_t)resizer->x.of.outputs * 3;
    resizer->row_stride = (resizer->row_bytes + RESIZE_OUT_SLACK + 63) / 64 * 64;
    resizer->ring_rows = resizer->y.of.taps;
    return grow((void **)&resizer->ring, &resizer->ring_capacity,
                resizer->row_stride * resizer->ring_rows, 1) &&
           grow((void **)&resizer->inputs, &resizer->input_capacity, resizer->ring_rows,
                sizeof(resizer->inputs[0]));
}

enum ij_status resize_start(struct resizer *resizer, const struct resize_axis *x,
                            const struct resize_axis *y, enum resize_filter filter, bool flip,
                            uint8_t *pixels, struct ij_err *reterr_err)
{
    IJ_ASSERT(x->in >= 1 && x->count >= 1 && x->first + x->count <= x->out);
    IJ_ASSERT(y->in >= 1 && y->count >= 1 && y->first + y->count <= y->out);
    resizer->fed = resizer->written = 0;
    resizer->pixels = pixels;
    if (!plan_axis(&resizer->x, x, filter, flip) || !plan_axis(&resizer->y, y, filter, false) ||
        (resizer->splits && !split_axis(&resizer->x, x, filter)) || !make_buffers(resizer))
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to resize %u x %u pixels to %u x %u",
                      x->in, y->in, x->out, y->out);
    return IJ_OK;
}

static uint8_t *ring_row(struct resizer *resizer, uint32_t row)
{
    return resizer->ring + (size_t)(row % resizer->ring_rows) * resizer->row_stride;
}

/* Makes the next output row of the kept rows. */
static void write_row(struct resizer *resizer)
{
    const struct resize_weights *axis = &resizer->y.of;
    uint32_t i = resizer->written++, count = axis->count[i];
    for (uint32_t j = 0; j < count; j++)
        resizer->inputs[j] = ring_row(resizer, axis->first[i] + j);
    resizer->pass->vertical(resizer->inputs, axis->weights + (size_t)i * axis->taps, count,
                            resizer->row_bytes, resizer->pixels + i * resizer->row_bytes);
}

void resize_feed(struct resizer *resizer, const uint8_t *rows, size_t stride, uint32_t count)
{
    const struct resize_weights *y = &resizer->y.of;
    for (uint32_t i = 0; i < count; i++, rows += stride) {
        resizer->pass->horizontal(&resizer->x.of, rows, ring_row(resizer, resizer->fed++));
        while (resizer->written < y->outputs &&
               y->first[resizer->written] + y->count[resizer->written] <= resizer->fed)
            write_row(resizer);
    }
}
