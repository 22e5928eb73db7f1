/* What a run whose loss broke does under on_nan "rewind": it notes where its next start begins and
 * which data that leaves out (train_rewind.h), and tells the host. */
#ifndef GPU_TRAIN_TRAIN_BACK_H
#define GPU_TRAIN_TRAIN_BACK_H

#include "gpu/checkpoint/checkpoint_writer.h"
#include "gpu/engine.h"
#include "gpu/train/train_rewind.h"
#include "gpu/train/train_sink.h"

struct train_back {
    const struct engine_spec *spec;
    struct train_sink *sink;
    struct checkpoint_writer *writer;    /* NULL: the run broke before it had one */
    const struct train_rewind *left_out; /* so far */
    uint64_t step, began;                /* steps done; those at the start of this process */
    const char *why;                     /* train_guard_fault; NULL: "nonfinite" */
};

/* Appends to the text of *err, which says what broke, what follows from it: nothing more is tried
 * after TRAIN_REWIND_MAX times, nor where it cannot be noted. */
void train_back_note(const struct train_back *back, struct ij_err *err);

#endif
