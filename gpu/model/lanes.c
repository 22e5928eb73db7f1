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
    return lanes->slots ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch");
}

void lanes_done(struct lanes *lanes)
{
    mem_free(lanes->slots);
    lanes->slots = NULL;
}

void lanes_carve(struct lanes *lanes, struct carve *carve)
{
    for (int i = 0; i < OPS_LANES; i++)
        carve_input(&lanes->inputs[i], carve, lanes->config, lanes->limits, lanes->pixels);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* Lists every target token once, in the order of first use, and for each place in the target blocks
 * which of them it is. Returns how many there are. */
static int64_t list_needed(struct lanes *lanes, const struct ijepa_batch *b,
                           const struct lanes_input *input)
{
    int64_t patches = lanes->config->patches, count = 0;
    memset(lanes->slots, 0xff, (size_t)(b->images * patches) * sizeof(int32_t));
    for (int64_t i = 0; i < lanes->limits->blocks * b->images * b->target_count; i++) {
        int64_t image = i / b->target_count % b->images;
        int64_t row = image * patches + b->targets[i];
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
    size_t values = (size_t)(batch->images * lanes->config->crop * lanes->config->crop) * 3;
    size_t context = (size_t)(batch->images * batch->context_count);
    size_t targets = (size_t)(lanes->limits->blocks * batch->images * batch->target_count);
    memcpy(input.pixels.data, batch->pixels, values * tensor_type_size(lanes->pixels));
    memcpy(input.context, batch->context, context * sizeof(int32_t));
    memcpy(input.targets, batch->targets, targets * sizeof(int32_t));
    lanes->loaded[lane].batch = *batch;
    lanes->loaded[lane].needed_count = list_needed(lanes, batch, &input);
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
