/* See image_maker.h. */
#include "gpu/data/image_maker.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gpu/data/crop.h"
#include "gpu/data/image_reader.h"
#include "gpu/data/rand_augment.h"
#include "gpu/data/resize.h"

#define SUBSTITUTES_MAX 1000

struct image_maker {
    const struct dataset *dataset;
    const struct loader_options *options;
    struct bad_images *bad;
    struct image_reader *reader;
    struct resizer *resizer;
    struct read_ahead *ahead;
    uint8_t *scratch; /* (crop, crop, 3); NULL unless images are augmented */
};

enum ij_status image_maker_new(const struct dataset *dataset, const struct loader_options *options,
                               struct bad_images *bad, struct read_ahead *ahead,
                               struct image_maker **ret_maker, struct ij_err *reterr_err)
{
    struct image_maker *maker = mem_new(struct image_maker);
    if (!maker)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a loader thread");
    maker->dataset = dataset;
    maker->options = options;
    maker->bad = bad;
    maker->ahead = ahead;
    enum ij_status status = image_reader_new(&maker->reader, reterr_err);
    if (status == IJ_OK)
        status = resize_new(&maker->resizer, reterr_err);
    if (options->rand_augment > 0)
        maker->scratch = mem_array(uint8_t, (size_t)options->crop * options->crop * 3);
    if (status == IJ_OK && options->rand_augment > 0 && !maker->scratch)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a loader thread");
    if (status != IJ_OK) {
        image_maker_free(maker);
        return status;
    }
    *ret_maker = maker;
    return IJ_OK;
}

void image_maker_free(struct image_maker *maker)
{
    if (!maker)
        return;
    image_reader_free(maker->reader);
    resize_free(maker->resizer);
    mem_free(maker->scratch);
    mem_free(maker);
}

/* What to cut out; the draws are keyed by the sample that was planned, whichever image is shown. */
static struct crop_plan plan_crop(const struct loader_options *options,
                                  const struct image_info *info, struct rng *rng, bool *ret_flip)
{
    struct crop_plan plan;
    if (options->view == LOADER_CENTER_CROP) {
        plan = crop_center(info->width, info->height, options->crop);
    } else if (options->view == LOADER_STRETCH) {
        plan = crop_stretch(info->width, info->height, options->crop);
    } else {
        struct image_box box =
            crop_random_box(info->width, info->height, options->scale, options->ratio, rng);
        plan = crop_of_box(&box, options->crop);
        if (options->bicubic)
            plan.filter = RESIZE_BICUBIC;
    }
    *ret_flip = options->flip && rng_below(rng, 2) == 1;
    return plan;
}

static int64_t lap(int64_t *since_ns)
{
    int64_t now = clock_monotonic_ns(), spent = now - *since_ns;
    *since_ns = now;
    return spent;
}

static enum ij_status decode(struct image_maker *maker, const struct dataset_buffer *bytes,
                             struct rng *rng, uint8_t *pixels, struct image_maker_times *times,
                             struct ij_err *reterr_err)
{
    struct image_info info;
    struct image_strip strip;
    bool flip;
    int64_t since = clock_monotonic_ns();
    IJ_TRY(image_reader_open(maker->reader, bytes->data, bytes->size, &info, reterr_err));
    struct crop_plan plan = plan_crop(maker->options, &info, rng, &flip);
    IJ_TRY(resize_start(maker->resizer, &plan.x, &plan.y, plan.filter, flip, pixels, reterr_err));
    times->resize_ns += lap(&since);
    IJ_TRY(image_reader_start(maker->reader, &plan.box, reterr_err));
    for (uint32_t row = 0; row < plan.box.height; row += strip.count) {
        IJ_TRY(image_reader_rows(maker->reader, &strip, reterr_err));
        times->decode_ns += lap(&since);
        resize_feed(maker->resizer, strip.pixels, strip.stride, strip.count);
        times->resize_ns += lap(&since);
    }
    return IJ_OK;
}

/* RandAugment, keyed by the sample that was planned. */
static void augment(const struct image_maker *maker, uint64_t epoch, uint64_t planned,
                    uint8_t *pixels)
{
    const struct loader_options *o = maker->options;
    const struct image_ops image = {
        pixels, maker->scratch, o->crop, {o->fill[0], o->fill[1], o->fill[2]}};
    struct rng rng;
    if (o->rand_augment <= 0)
        return;
    rng_init(&rng, o->seed, RNG_AUGMENT, epoch, planned);
    rand_augment(&image, o->rand_augment, &rng);
}

static enum ij_status make_one(struct image_maker *maker, uint64_t epoch, uint64_t planned,
                               struct read_ahead_jar *jar, uint8_t *pixels,
                               struct image_maker_times *times, struct ij_err *reterr_err)
{
    struct rng rng;
    IJ_TRY(read_ahead_wait(maker->ahead, jar, reterr_err));
    times->read_ns += jar->read_ns;
    rng_init(&rng, maker->options->seed, RNG_CROP, epoch, planned);
    enum ij_status status = decode(maker, &jar->bytes, &rng, pixels, times, reterr_err);
    image_reader_close(maker->reader);
    if (status == IJ_OK)
        augment(maker, epoch, planned, pixels);
    return status;
}

enum ij_status image_maker_make(struct image_maker *maker, uint64_t epoch,
                                struct read_ahead_jar *jar, uint8_t *pixels, uint64_t *ret_shown,
                                struct image_maker_times *times, struct ij_err *reterr_err)
{
    struct rng rng;
    uint32_t count = (uint32_t)dataset_count(maker->dataset);
    uint64_t planned = jar->sample;
    rng_init(&rng, maker->options->seed, RNG_SUBSTITUTE, epoch, planned);
    for (int i = 0; i < SUBSTITUTES_MAX; i++) {
        struct ij_err cause = IJ_ERR_INIT;
        if (i > 0)
            read_ahead_request(maker->ahead, jar, rng_below(&rng, count));
        enum ij_status status = make_one(maker, epoch, planned, jar, pixels, times, &cause);
        if (status == IJ_OK) {
            *ret_shown = jar->sample;
            return IJ_OK;
        }
        if (status == IJ_NO_MEMORY)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "%s", cause.text);
        IJ_TRY(bad_images_add(maker->bad, jar->sample, cause.text, reterr_err));
    }
    return bad_images_give_up(maker->bad, reterr_err);
}
