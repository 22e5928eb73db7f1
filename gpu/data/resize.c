/*
 * See resize.h. Integer arithmetic throughout, so the AVX2 and the portable passes agree to the
 * bit. The horizontal pass handles two taps of four channels per step: rows are RGBX for that
 * reason.
 */
#include "gpu/data/resize.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/mem.h"

#define WEIGHT_BITS 22
#define ROUND_HALF  (1 << (WEIGHT_BITS - 1))
#define ROW_SLACK   64u /* bytes that vector code may touch past a kept row */

/* The weights of one axis: output i reads `count[i]` inputs from `first[i]` on, relative to the
 * window. `taps` is the row length of `weights`, even, zero beyond the count. */
struct axis_weights {
    uint32_t outputs, taps;
    uint32_t *first, *count;
    int32_t *weights;
    double *exact; /* scratch: one output's weights before rounding */
    size_t output_capacity, weight_capacity, exact_capacity;
};

struct resizer {
    struct axis_weights x, y;
    uint8_t *ring; /* horizontally resized rows, RGB, `ring_rows` of them */
    size_t ring_capacity, row_bytes, row_stride;
    uint32_t ring_rows, fed, written;
    const uint8_t **inputs; /* scratch: the rows of one output row */
    size_t input_capacity;
    bool avx2;
    uint8_t *pixels;
};

enum ij_status resize_new(struct resizer **ret_resizer, struct ij_err *reterr_err)
{
    *ret_resizer = mem_new(struct resizer);
    if (!*ret_resizer)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a resizer");
    resize_allow_avx2(*ret_resizer, true);
    return IJ_OK;
}

static void free_weights(struct axis_weights *axis)
{
    mem_free(axis->first);
    mem_free(axis->count);
    mem_free(axis->weights);
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

void resize_allow_avx2(struct resizer *resizer, bool allow)
{
#if defined(__x86_64__)
    resizer->avx2 = allow && __builtin_cpu_supports("avx2");
#else
    resizer->avx2 = false;
    (void)allow;
#endif
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

static bool make_room(struct axis_weights *weights)
{
    size_t outputs = weights->outputs, capacity = weights->output_capacity;
    if (outputs > capacity) {
        size_t other = capacity;
        if (!grow((void **)&weights->first, &other, outputs, sizeof(uint32_t)) ||
            !grow((void **)&weights->count, &capacity, outputs, sizeof(uint32_t))) {
            weights->output_capacity = 0;
            return false;
        }
        weights->output_capacity = capacity;
    }
    return grow((void **)&weights->weights, &weights->weight_capacity, outputs * weights->taps,
                sizeof(int32_t)) &&
           grow((void **)&weights->exact, &weights->exact_capacity, weights->taps, sizeof(double));
}

static void weigh(struct axis_weights *weights, const struct span *span, enum resize_filter filter,
                  int32_t *ret_weights)
{
    double sum = 0;
    uint32_t count = span->end - span->first;
    for (uint32_t j = 0; j < count; j++) {
        double distance = (span->first + j) - span->center + 0.5;
        weights->exact[j] = filter_value(filter, distance * (1.0 / span->stretch));
        sum += weights->exact[j];
    }
    for (uint32_t j = 0; j < count; j++) {
        double share = sum != 0.0 ? weights->exact[j] / sum : weights->exact[j];
        double fixed = share * (1 << WEIGHT_BITS);
        ret_weights[j] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    memset(ret_weights + count, 0, (weights->taps - count) * sizeof(int32_t));
}

/* Fills the weights for the wanted outputs, last to first with `reverse`. */
static bool plan_axis(struct axis_weights *weights, const struct resize_axis *axis,
                      enum resize_filter filter, bool reverse)
{
    double stretch = fmax((double)axis->in / axis->out, 1.0);
    double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * stretch;
    uint32_t window, size;
    weights->outputs = axis->count;
    weights->taps = ((uint32_t)ceil(support) * 2 + 2) & ~1u;
    if (!make_room(weights))
        return false;
    resize_window(axis, filter, &window, &size);
    for (uint32_t i = 0; i < axis->count; i++) {
        uint32_t out = axis->first + (reverse ? axis->count - 1 - i : i);
        struct span span = span_of(axis, filter, out);
        weights->first[i] = span.first - window;
        weights->count[i] = span.end - span.first;
        weigh(weights, &span, filter, weights->weights + (size_t)i * weights->taps);
    }
    return true;
}

/* ---- Passes ---------------------------------------------------------------------------------- */

static uint8_t to_pixel(int32_t sum)
{
    int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row: RGBX in, RGB out. */
static void horizontal(const struct axis_weights *axis, const uint8_t *row, uint8_t *out)
{
    for (uint32_t i = 0; i < axis->outputs; i++, out += 3) {
        const uint8_t *in = row + (size_t)axis->first[i] * 4;
        const int32_t *weights = axis->weights + (size_t)i * axis->taps;
        int32_t sum[3] = {ROUND_HALF, ROUND_HALF, ROUND_HALF};
        for (uint32_t j = 0; j < axis->count[i]; j++, in += 4)
            for (int c = 0; c < 3; c++)
                sum[c] += weights[j] * in[c];
        for (int c = 0; c < 3; c++)
            out[c] = to_pixel(sum[c]);
    }
}

/* One output row from `count` rows of `size` bytes. */
static void vertical(const uint8_t *const *rows, const int32_t *weights, uint32_t count,
                     size_t size, uint8_t *out)
{
    for (size_t x = 0; x < size; x++) {
        int32_t sum = ROUND_HALF;
        for (uint32_t j = 0; j < count; j++)
            sum += weights[j] * rows[j][x];
        out[x] = to_pixel(sum);
    }
}

#if defined(__x86_64__)
/* Reads up to 4 bytes past the last input pixel and writes 1 past the last output pixel. */
__attribute__((target("avx2"))) static void horizontal_avx2(const struct axis_weights *axis,
                                                            const uint8_t *row, uint8_t *out)
{
    for (uint32_t i = 0; i < axis->outputs; i++, out += 3) {
        const uint8_t *in = row + (size_t)axis->first[i] * 4;
        const int32_t *weights = axis->weights + (size_t)i * axis->taps;
        __m256i sum = _mm256_setzero_si256();
        for (uint32_t j = 0; j < axis->count[i]; j += 2, in += 8) {
            __m256i pixels = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)in));
            __m128i pair = _mm_loadl_epi64((const __m128i *)(weights + j));
            __m256i both = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair),
                                                       _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
            sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(pixels, both));
        }
        __m128i total =
            _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        total = _mm_srai_epi32(_mm_add_epi32(total, _mm_set1_epi32(ROUND_HALF)), WEIGHT_BITS);
        total = _mm_packus_epi16(_mm_packs_epi32(total, total), total);
        int32_t pixel = _mm_cvtsi128_si32(total);
        memcpy(out, &pixel, 4);
    }
}

__attribute__((target("avx2"))) static __m128i
column_sums_avx2(const uint8_t *const *rows, const int32_t *weights, uint32_t count, size_t x)
{
    __m256i low = _mm256_set1_epi32(ROUND_HALF), high = low;
    for (uint32_t j = 0; j < count; j++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(rows[j] + x));
        __m256i weight = _mm256_set1_epi32(weights[j]);
        low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), weight));
        bytes = _mm_unpackhi_epi64(bytes, bytes);
        high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), weight));
    }
    low = _mm256_srai_epi32(low, WEIGHT_BITS);
    high = _mm256_srai_epi32(high, WEIGHT_BITS);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

__attribute__((target("avx2"))) static void vertical_avx2(const uint8_t *const *rows,
                                                          const int32_t *weights, uint32_t count,
                                                          size_t size, uint8_t *out)
{
    size_t x = 0;
    for (; x + 16 <= size; x += 16)
        _mm_storeu_si128((__m128i *)(out + x), column_sums_avx2(rows, weights, count, x));
    if (x < size) {
        uint8_t rest[16];
        _mm_storeu_si128((__m128i *)rest, column_sums_avx2(rows, weights, count, x));
        memcpy(out + x, rest, size - x);
    }
}
#endif

/* ---- Feeding --------------------------------------------------------------------------------- */

static bool make_buffers(struct resizer *resizer)
{
    resizer->row_bytes = (size_t)resizer->x.outputs * 3;
    resizer->row_stride = (resizer->row_bytes + ROW_SLACK + 63) / 64 * 64;
    resizer->ring_rows = resizer->y.taps;
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
        !make_buffers(resizer))
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
    const struct axis_weights *axis = &resizer->y;
    uint32_t i = resizer->written++, count = axis->count[i];
    const int32_t *weights = axis->weights + (size_t)i * axis->taps;
    uint8_t *out = resizer->pixels + i * resizer->row_bytes;
    for (uint32_t j = 0; j < count; j++)
        resizer->inputs[j] = ring_row(resizer, axis->first[i] + j);
#if defined(__x86_64__)
    if (resizer->avx2) {
        vertical_avx2(resizer->inputs, weights, count, resizer->row_bytes, out);
        return;
    }
#endif
    vertical(resizer->inputs, weights, count, resizer->row_bytes, out);
}

void resize_feed(struct resizer *resizer, const uint8_t *rows, size_t stride, uint32_t count)
{
    const struct axis_weights *y = &resizer->y;
    for (uint32_t i = 0; i < count; i++, rows += stride) {
        uint8_t *kept = ring_row(resizer, resizer->fed++);
#if defined(__x86_64__)
        if (resizer->avx2)
            horizontal_avx2(&resizer->x, rows, kept);
        else
#endif
            horizontal(&resizer->x, rows, kept);
        while (resizer->written < y->outputs &&
               y->first[resizer->written] + y->count[resizer->written] <= resizer->fed)
            write_row(resizer);
    }
}
