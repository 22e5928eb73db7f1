/* Two places for micro-batches. See lanes.h. */
#include "gpu/model/lanes.h"

#include <string.h>

#include "base/mem.h"

static void carve_input(struct lanes_input *input, struct carve *carve,
                        const struct vit_config *config, const struct predictor_limits *limits,
                        enum tensor_type pixels)
{
    int64_t tokens = limits->images * config->patches;
    int64_t targets = limits->blocks * limits->images * limits->target_count;
    input->pixels = carve_tensor(carve, pixels, limits->images * config->crop, 3 * config->crop);
    input->context = carve_indices(carve, limits->images * limits->context_count);
    input->targets = carve_indices(carve, targets);
    input->needed = carve_indices(carve, targets < tokens ? targets : tokens);
    input->pick = carve_indices(carve, targets);
}

size_t lanes_measure(const struct vit_config *config, const struct predictor_limits *limits,
                     enum tensor_type pixels)
{
    struct lanes_input input;
    struct carve carve = {.base = NULL};
    carve_input(&input, &carve, config, limits, pixels);
    return carve.peak;
}

enum ij_status lanes_init(struct lanes *lanes, struct backend *backend,
                          const struct vit_config *config, const struct predictor_limits *limits,
                          enum tensor_type pixels, struct ij_err *reterr_err)
{
    memset(lanes, 0, sizeof *lanes);
    lanes->backend = backend;
    lanes->config = config;
    lanes->limits = limits;
    lanes->pixels = pixels;
    lanes->bytes = lanes_measure(config, limits, pixels);
    lanes->slots = mem_array(int32_t, (size_t)(limits->images * config->patches));
    bool whole = lanes->slots != NULL;
    for (int i = 0; i < OPS_LANES; i++) {
        lanes->loaded[i].needed_counts = mem_array(int64_t, (size_t)limits->images);
        whole = whole && lanes->loaded[i].needed_counts;
    }
    return whole ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch");
}

void lanes_done(struct lanes *lanes)
{
    mem_free(lanes->slots);
    lanes->slots = NULL;
    for (int i = 0; i < OPS_LANES; i++) {
        mem_free(lanes->loaded[i].needed_counts);
        lanes->loaded[i].needed_counts = NULL;
    }
}

void lanes_carve(struct lanes *lanes, struct carve *carve)
{
    for (int i = 0; i < OPS_LANES; i++)
        carve_input(&lanes->inputs[i], carve, lanes->config, lanes->limits, lanes->pixels);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* Equal parts, as few as hold no more context tokens than were planned for. */
static int64_t images_of_part(const struct lanes *lanes, const struct ijepa_batch *b)
{
    int64_t most = lanes->limits->context_rows / b->context_count;
    int64_t parts = (b->images + most - 1) / most;
    return (b->images + parts - 1) / parts;
}

static int64_t parts_of(const struct lanes_loaded *loaded)
{
    return (loaded->batch.images + loaded->part_images - 1) / loaded->part_images;
}

/* Where part `index` of `loaded` lies in `whole`. */
static struct lanes_part view_part(const struct lanes *lanes, const struct lanes_loaded *loaded,
                                   const struct lanes_input *whole, int64_t index)
{
    int64_t first = index * loaded->part_images, left = loaded->batch.images - first, needed = 0;
    int64_t context = first * loaded->batch.context_count;
    int64_t targets = lanes->limits->blocks * first * loaded->batch.target_count;
    size_t pixels = (size_t)(first * lanes->config->crop * lanes->config->crop) * 3 *
                    tensor_type_size(lanes->pixels);
    struct lanes_part part = {.batch = loaded->batch, .needed_count = loaded->needed_counts[index]};
    for (int64_t i = 0; i < index; i++)
        needed += loaded->needed_counts[i];
    part.batch.images = left < loaded->part_images ? left : loaded->part_images;
    part.input = (struct lanes_input){
        .pixels = {(char *)whole->pixels.data + pixels, lanes->pixels},
        .context = whole->context + context,
        .targets = whole->targets + targets,
        .needed = whole->needed + needed,
        .pick = whole->pick + targets,
    };
    return part;
}

/* Lists every target token of a part once, in the order of first use, and for each place in the
 * target blocks which of them it is. Returns how many there are. */
static int64_t list_needed(struct lanes *lanes, const struct ijepa_batch *b,
                           const struct lanes_input *input)
{
    int64_t patches = lanes->config->patches, count = 0;
    memset(lanes->slots, 0xff, (size_t)(b->images * patches) * sizeof(int32_t));
    for (int64_t i = 0; i < lanes->limits->blocks * b->images * b->target_count; i++) {
        int64_t image = i / b->target_count % b->images;
        int64_t row = image * patches + input->targets[i];
        if (lanes->slots[row] < 0) {
            lanes->slots[row] = (int32_t)count;
            input->needed[count++] = (int32_t)row;
        }
        input->pick[i] = lanes->slots[row];
    }
    return count;
}

static enum ij_status check_batch(const struct lanes *lanes, const struct ijepa_batch *b,
                                  struct ij_err *reterr_err)
{
    const struct predictor_limits *l = lanes->limits;
    if (b->images < 1 || b->images > l->images || b->context_count < 1 ||
        b->context_count > l->context_count || b->target_count < 1 ||
        b->target_count > l->target_count)
        return IJ_ERR(
            reterr_err, IJ_INVALID,
            "a batch of %lld images, %lld context and %lld target patches is outside what "
            "was planned: %lld, %lld, %lld",
            (long long)b->images, (long long)b->context_count, (long long)b->target_count,
            (long long)l->images, (long long)l->context_count, (long long)l->target_count);
    return IJ_OK;
}

/* Target blocks of images that lie one after the other in a batch, not in a part of it. */
static void copy_targets(const struct lanes *lanes, const struct ijepa_batch *from, int64_t first,
                         const struct lanes_part *part)
{
    int64_t count = part->batch.images * from->target_count;
    for (int64_t m = 0; m < lanes->limits->blocks; m++)
        memcpy(part->input.targets + m * count,
               from->targets + (m * from->images + first) * from->target_count,
               (size_t)count * sizeof(int32_t));
}

static void fill(struct lanes *lanes, const struct ijepa_batch *batch,
                 const struct lanes_input *input, struct lanes_loaded *loaded)
{
    size_t values = (size_t)(batch->images * lanes->config->crop * lanes->config->crop) * 3;
    size_t context = (size_t)(batch->images * batch->context_count);
    memcpy(input->pixels.data, batch->pixels, values * tensor_type_size(lanes->pixels));
    memcpy(input->context, batch->context, context * sizeof(int32_t));
    loaded->batch = *batch;
    loaded->part_images = images_of_part(lanes, batch);
    for (int64_t i = 0; i < parts_of(loaded); i++) {
        struct lanes_part part = view_part(lanes, loaded, input, i);
        copy_targets(lanes, batch, i * loaded->part_images, &part);
        loaded->needed_counts[i] = list_needed(lanes, &part.batch, &part.input);
    }
}

int64_t lanes_parts(const struct lanes *lanes)
{
    return parts_of(lanes_loaded(lanes));
}

struct lanes_part lanes_part(const struct lanes *lanes, int64_t part)
{
    return view_part(lanes, lanes_loaded(lanes), &lanes->inputs[lanes->lane], part);
}

static int other_lane(const struct lanes *lanes)
{
    return (lanes->lane + 1) % OPS_LANES;
}

enum ij_status lanes_prefetch(struct lanes *lanes, const struct ijepa_batch *batch,
                              struct ij_err *reterr_err)
{
    struct backend *backend = lanes->backend;
    struct lanes_input input;
    int lane = other_lane(lanes);
    void *memory;
    IJ_TRY(check_batch(lanes, batch, reterr_err));
    IJ_TRY(backend->ops->lane_open(backend, lane, lanes->inputs[lane].pixels.data, lanes->bytes,
                                   &memory, reterr_err));
    struct carve carve = {.base = memory};
    carve_input(&input, &carve, lanes->config, lanes->limits, lanes->pixels);
    fill(lanes, batch, &input, &lanes->loaded[lane]);
    lanes->on_its_way = true;
    return backend->ops->lane_send(backend, lane, lanes->bytes, reterr_err);
}

enum ij_status lanes_load(struct lanes *lanes, const struct ijepa_batch *batch,
                          struct ij_err *reterr_err)
{
    struct backend *backend = lanes->backend;
    if (batch)
        IJ_TRY(lanes_prefetch(lanes, batch, reterr_err));
    IJ_ASSERT(lanes->on_its_way);
    if (lanes->entered) /* nobody reads the batch before this one any more */
        IJ_TRY(backend->ops->lane_leave(backend, lanes->lane, reterr_err));
    lanes->lane = other_lane(lanes);
    lanes->entered = true;
    lanes->on_its_way = false;
    return backend->ops->lane_enter(backend, lanes->lane, reterr_err);
}
