/* One step made twice. See train_replay.h. */
#include "gpu/train/train_replay.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/mask_sizes.h"

/* What a step changes. Gradients are written anew by each. */
static const enum trainer_arena arenas[] = {TRAINER_PARAMETER, TRAINER_MOMENT1, TRAINER_MOMENT2,
                                            TRAINER_TARGET};
#define ARENAS COUNT_OF(arenas)

struct kept_batch {
    void *pixels;
    int32_t *context, *targets;
    struct ijepa_batch view; /* of the three */
};

struct train_replay {
    struct trainer *trainer;
    uint64_t every;
    size_t image_bytes;
    uint32_t masks, count; /* target masks per image, micro-batches per step */
    float *copies[ARENAS], *scratch;
    uint64_t sums[ARENAS];
    struct kept_batch *batches; /* `count` of them */
};

enum ij_status train_replay_new(struct trainer *trainer, const struct engine_spec *spec,
                                struct train_replay **ret_replay, struct ij_err *reterr_err)
{
    *ret_replay = NULL;
    if (spec->monitor.replay_every == 0)
        return IJ_OK;
    struct train_replay *replay = mem_new(struct train_replay);
    if (!replay)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to make steps twice");
    *replay = (struct train_replay){.trainer = trainer,
                                    .every = spec->monitor.replay_every,
                                    .image_bytes = (size_t)3 * spec->data.crop * spec->data.crop,
                                    .masks = mask_sizes_from_spec(spec).targets,
                                    .count = spec->optimizer.accumulate};
    size_t longest = (size_t)trainer_floats(trainer, TRAINER_PARAMETER);
    replay->batches = mem_array(struct kept_batch, replay->count);
    replay->scratch = mem_array(float, longest);
    bool whole = replay->batches && replay->scratch;
    for (size_t i = 0; i < ARENAS; i++) {
        replay->copies[i] = mem_array(float, (size_t)trainer_floats(trainer, arenas[i]));
        whole = whole && replay->copies[i];
    }
    if (!whole) {
        train_replay_free(replay);
        return IJ_ERR_FIELD(reterr_err, IJ_NO_MEMORY, "monitor.replay_every",
                            "no host memory for a copy of the model's state, which replayed steps "
                            "need");
    }
    *ret_replay = replay;
    return IJ_OK;
}

static void forget_batch(struct kept_batch *batch)
{
    mem_free(batch->pixels);
    mem_free(batch->context);
    mem_free(batch->targets);
    *batch = (struct kept_batch){.pixels = NULL};
}

void train_replay_free(struct train_replay *replay)
{
    if (!replay)
        return;
    for (uint32_t i = 0; replay->batches && i < replay->count; i++)
        forget_batch(&replay->batches[i]);
    for (size_t i = 0; i < ARENAS; i++)
        mem_free(replay->copies[i]);
    mem_free(replay->batches);
    mem_free(replay->scratch);
    mem_free(replay);
}

bool train_replay_is_due(const struct train_replay *replay, uint64_t step)
{
    return replay && step % replay->every == 0;
}

/* Each word by an odd number of its own: one that differs always shows. */
static uint64_t sum_of(const float *values, int64_t count)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, &values[i], sizeof word);
        sum += word * (2 * (uint64_t)i + 1);
    }
    return sum;
}

enum ij_status train_replay_begin(struct train_replay *replay, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < ARENAS; i++) {
        IJ_TRY(trainer_read(replay->trainer, arenas[i], replay->copies[i], reterr_err));
        replay->sums[i] = sum_of(replay->copies[i], trainer_floats(replay->trainer, arenas[i]));
    }
    return IJ_OK;
}

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = mem_array(char, bytes);
    if (copy)
        memcpy(copy, data, bytes);
    return copy;
}

enum ij_status train_replay_keep(struct train_replay *replay, const struct ijepa_batch *batch,
                                 uint32_t index, struct ij_err *reterr_err)
{
    struct kept_batch *kept = &replay->batches[index];
    size_t images = (size_t)batch->images;
    size_t context = images * (size_t)batch->context_count;
    size_t targets = images * (size_t)batch->target_count * replay->masks;
    forget_batch(kept);
    kept->pixels = copy_of(batch->pixels, images * replay->image_bytes);
    kept->context = copy_of(batch->context, context * sizeof *batch->context);
    kept->targets = copy_of(batch->targets, targets * sizeof *batch->targets);
    if (!kept->pixels || !kept->context || !kept->targets)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to keep a batch for its second step");
    kept->view = *batch;
    kept->view.pixels = kept->pixels;
    kept->view.context = kept->context;
    kept->view.targets = kept->targets;
    return IJ_OK;
}

/* The sums of what the trainer holds now. */
static enum ij_status measure(struct train_replay *replay, uint64_t ret_sums[ARENAS],
                              struct ij_err *reterr_err)
{
    for (size_t i = 0; i < ARENAS; i++) {
        IJ_TRY(trainer_read(replay->trainer, arenas[i], replay->scratch, reterr_err));
        ret_sums[i] = sum_of(replay->scratch, trainer_floats(replay->trainer, arenas[i]));
    }
    return IJ_OK;
}

enum ij_status train_replay_confirm(struct train_replay *replay, uint64_t step,
                                    struct ij_err *reterr_err)
{
    uint64_t sums[ARENAS];
    IJ_TRY(measure(replay, sums, reterr_err));
    if (memcmp(sums, replay->sums, sizeof sums) == 0)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_DEVICE,
                  "the weights changed while step %llu only read them: the device's memory "
                  "corrupts data",
                  (unsigned long long)step);
}

static enum ij_status go_back(struct train_replay *replay, uint64_t step, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < ARENAS; i++) {
        int64_t floats = trainer_floats(replay->trainer, arenas[i]);
        if (sum_of(replay->copies[i], floats) != replay->sums[i])
            return IJ_ERR(reterr_err, IJ_DEVICE,
                          "the copy of the model's state changed in host memory during step %llu: "
                          "this memory corrupts data",
                          (unsigned long long)step);
        IJ_TRY(trainer_write(replay->trainer, arenas[i], replay->copies[i], reterr_err));
    }
    return IJ_OK;
}

enum ij_status train_replay_check(struct train_replay *replay, const struct trainer_update *update,
                                  struct ij_err *reterr_err)
{
    uint64_t first[ARENAS], second[ARENAS];
    struct ijepa_loss loss;
    struct trainer_norms norms;
    IJ_TRY(measure(replay, first, reterr_err));
    IJ_TRY(go_back(replay, update->step, reterr_err));
    for (uint32_t i = 0; i < replay->count; i++) {
        IJ_TRY(trainer_micro_batch(replay->trainer, &replay->batches[i].view, i, replay->count,
                                   &loss, reterr_err));
        forget_batch(&replay->batches[i]);
    }
    IJ_TRY(trainer_update(replay->trainer, update, &norms, reterr_err));
    IJ_TRY(measure(replay, second, reterr_err));
    if (memcmp(first, second, sizeof first) == 0)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_DEVICE,
                  "step %llu, made twice from the same state, gave two results: the device or its "
                  "memory computes wrongly",
                  (unsigned long long)update->step);
}
