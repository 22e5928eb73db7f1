/* See loader_options.h: defaults and limits of a loader. */
#include "gpu/data/loader_options.h"

#include <sched.h>

#define CROP_MAX        4096u
#define BATCH_MAX       65536u
#define DEPTH_MAX       256u
#define RING_BYTES_MAX  ((uint64_t)16 << 30)
#define DEFAULT_DEPTH   4u
#define DEFAULT_THREADS 16u

struct loader_options loader_options_train(const struct engine_data *data)
{
    return (struct loader_options){
        .crop = data->crop,
        .view = LOADER_RANDOM_CROP,
        .scale = {data->crop_scale[0], data->crop_scale[1]},
        .ratio = {data->crop_ratio[0], data->crop_ratio[1]},
        .flip = data->flip,
        .shuffle = true,
        .threads = data->loader_threads,
        .bad_image_limit = data->bad_image_limit,
    };
}

struct loader_options loader_options_eval(const struct engine_data *data,
                                          const struct dataset *dataset)
{
    return (struct loader_options){
        .crop = data->crop,
        .view = dataset_is_scene(dataset) ? LOADER_STRETCH : LOADER_CENTER_CROP,
        .keep_last = true,
        .threads = data->loader_threads,
        .bad_image_limit = data->bad_image_limit,
    };
}

static uint32_t core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return (uint32_t)CPU_COUNT(&set);
}

void loader_options_complete(struct loader_options *options)
{
    if (options->scale[0] == 0 && options->scale[1] == 0) {
        options->scale[0] = 0.3;
        options->scale[1] = 1.0;
    }
    if (options->ratio[0] == 0 && options->ratio[1] == 0) {
        options->ratio[0] = 3.0 / 4.0;
        options->ratio[1] = 4.0 / 3.0;
    }
    if (options->ranks == 0)
        options->ranks = 1;
    if (options->depth == 0)
        options->depth = DEFAULT_DEPTH;
    if (options->threads == 0) {
        uint32_t cores = core_count();
        options->threads = cores < DEFAULT_THREADS ? cores : DEFAULT_THREADS;
    }
}

static enum ij_status check_number(const char *field, uint64_t value, uint64_t low, uint64_t high,
                                   struct ij_err *reterr_err)
{
    if (value >= low && value <= high)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "must be %llu to %llu, not %llu",
                        (unsigned long long)low, (unsigned long long)high,
                        (unsigned long long)value);
}

enum ij_status loader_options_check(const struct loader_options *options, struct ij_err *reterr_err)
{
    IJ_TRY(check_number("data.crop", options->crop, 1, CROP_MAX, reterr_err));
    IJ_TRY(check_number("optimizer.batch", options->batch, 1, BATCH_MAX, reterr_err));
    IJ_TRY(
        check_number("data.loader_threads", options->threads, 1, LOADER_THREADS_MAX, reterr_err));
    IJ_TRY(check_number("depth", options->depth, 1, DEPTH_MAX, reterr_err));
    IJ_TRY(check_number("rank", options->rank, 0, options->ranks - 1, reterr_err));
    uint64_t ring = 3ull * options->crop * options->crop * options->batch * options->depth;
    if (ring > RING_BYTES_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "optimizer.batch",
                            "%u batches of pixels take %llu bytes, more than %llu", options->depth,
                            (unsigned long long)ring, (unsigned long long)RING_BYTES_MAX);
    const double *scale = options->scale, *ratio = options->ratio;
    if (!(scale[0] > 0 && scale[0] <= scale[1] && scale[1] <= 1))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.crop_scale",
                            "must be two shares with 0 < low <= high <= 1");
    if (!(ratio[0] > 0 && ratio[0] <= ratio[1] && ratio[1] <= 100))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.crop_ratio",
                            "must be two ratios with 0 < low <= high <= 100");
    if (!(options->bad_image_limit >= 0 && options->bad_image_limit <= 1))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.bad_image_limit",
                            "must be a share from 0 to 1");
    return IJ_OK;
}
