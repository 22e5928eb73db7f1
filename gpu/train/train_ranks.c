/* See train_ranks.h. */
#include "gpu/train/train_ranks.h"

/* The unbiased sampler cuts contexts to the shortest of all ranks' images, as one rank with all of
 * them would. Each rank draws all of these masks, which costs less than asking the others. */
uint32_t train_ranks_mask_images(const struct engine_spec *spec)
{
    bool together = spec->masks.sampler == ENGINE_MASKS_UNBIASED;
    return spec->optimizer.batch * (together ? train_ranks_count(spec) : 1);
}

void train_ranks_draw(const struct engine_spec *spec, struct masks *masks, uint64_t epoch,
                      uint64_t batch)
{
    uint32_t ranks = train_ranks_count(spec), rank = spec->ranks.rank;
    uint32_t images = spec->optimizer.batch;
    if (spec->masks.sampler != ENGINE_MASKS_UNBIASED) {
        masks_draw(masks, epoch, batch * ranks + rank, images);
        return;
    }
    masks_draw(masks, epoch, batch, images * ranks);
    if (ranks > 1)
        masks_keep(masks, rank * images, images);
}

enum ij_status train_ranks_begin(struct comm *comm, uint64_t step, struct ij_err *reterr_err)
{
    double steps[2] = {(double)step, comm_rank(comm) == 0 ? (double)step : 0};
    comm_set_away(comm, false);
    IJ_TRY(comm_sum(comm, steps, 2, reterr_err));
    if (comm_count(comm) > 1 && steps[0] != steps[1] * comm_count(comm))
        return IJ_ERR(reterr_err, IJ_CONFLICT,
                      "the ranks do not agree on the step to continue from: rank %u is at %llu",
                      comm_rank(comm), (unsigned long long)step);
    return IJ_OK;
}

enum ij_status train_ranks_agree(struct comm *comm, enum engine_command *command,
                                 struct ij_err *reterr_err)
{
    if (comm_count(comm) == 1)
        return IJ_OK;
    double value = comm_rank(comm) == 0 ? (double)*command : 0;
    IJ_TRY(comm_sum(comm, &value, 1, reterr_err));
    *command = (enum engine_command)value;
    return IJ_OK;
}

enum ij_status train_ranks_mean(struct comm *comm, struct train_sink_step *step,
                                double *nonfinite_share, struct ij_err *reterr_err)
{
    double values[] = {step->loss, step->cosine, step->context_patches, step->target_patches,
                       *nonfinite_share};
    double *const places[] = {&step->loss, &step->cosine, &step->context_patches,
                              &step->target_patches, nonfinite_share};
    if (comm_count(comm) == 1)
        return IJ_OK;
    IJ_TRY(comm_sum(comm, values, sizeof(values) / sizeof(*values), reterr_err));
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        *places[i] = values[i] / comm_count(comm);
    return IJ_OK;
}
