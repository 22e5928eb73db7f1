/* See train_back.h. */
#include "gpu/train/train_back.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/checkpoint/checkpoint.h"

/* The step of the newest checkpoint, or where this process began. What is being written is waited
 * for; what cannot be written is no checkpoint. */
static enum ij_status newest_step(const struct train_back *back, uint64_t *ret_step,
                                  struct ij_err *reterr_err)
{
    mem_auto uint64_t *steps = NULL;
    size_t count;
    enum ij_status written = back->writer ? checkpoint_writer_wait(back->writer, NULL) : IJ_OK;
    (void)written;
    IJ_TRY(checkpoint_list(back->spec->directory, &steps, &count, reterr_err));
    *ret_step = count ? steps[count - 1] : back->began;
    return IJ_OK;
}

/* The file before the message: a host that hears of it may rely on it. */
static enum ij_status note(const struct train_back *back, struct engine_rewind *ret_rewind,
                           struct ij_err *reterr_err)
{
    struct train_rewind left_out = *back->left_out;
    struct train_rewind_window window;
    uint64_t back_to;
    IJ_TRY(newest_step(back, &back_to, reterr_err));
    IJ_TRY(train_rewind_add(&left_out, back_to, back->step, back->spec->guard.skip_steps, &window,
                            reterr_err));
    IJ_TRY(train_rewind_save(back->spec->directory, &left_out, reterr_err));
    *ret_rewind = (struct engine_rewind){.why = back->why ? back->why : "nonfinite",
                                         .failed_step = back->step + 1,
                                         .back_to = back_to,
                                         .skip_first = window.first,
                                         .skip_count = window.count,
                                         .number = left_out.count,
                                         .max = TRAIN_REWIND_MAX};
    return train_sink_rewind(back->sink, ret_rewind, reterr_err);
}

void train_back_note(const struct train_back *back, struct ij_err *err)
{
    struct ij_err own = IJ_ERR_INIT;
    struct engine_rewind rewind;
    size_t used = strlen(err->text), room = sizeof err->text - used;
    if (note(back, &rewind, &own) == IJ_OK)
        snprintf(err->text + used, room,
                 "; the next start goes back to step %llu and leaves out the data of %llu steps",
                 (unsigned long long)rewind.back_to, (unsigned long long)rewind.skip_count);
    else
        snprintf(err->text + used, room, "; %s", own.text);
}
