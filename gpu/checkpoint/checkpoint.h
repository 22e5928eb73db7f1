/*
 * Checkpoints: <run directory>/checkpoints/step-<12 digits>/ with three files,
 *
 *   model.safetensors      encoder.*, target_encoder.*, predictor.* under their public names
 *   optimizer.safetensors  exp_avg.<name>, exp_avg_sq.<name>
 *   state.json             everything else, with the size and SHA-256 of the other two and of
 * itself
 *
 * No time, process id or host is recorded: two runs that computed the same write the same bytes.
 *
 * A checkpoint is built in step-N.tmp-<pid>: files are preallocated, written, fsynced, dropped from
 * the page cache, read back and compared with their hashes; then the directory is synced, renamed
 * and its parent synced. Whatever fails, the temporary directory goes and older checkpoints stay; a
 * failed fsync is never retried. What has its final name is therefore complete.
 */
#ifndef GPU_CHECKPOINT_CHECKPOINT_H
#define GPU_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "gpu/checkpoint/safetensors.h"

#define CHECKPOINT_PATH_MAX 1280 /* ENGINE_PATH_MAX and the names below it */

enum checkpoint_section { CHECKPOINT_MODEL, CHECKPOINT_OPTIMIZER, CHECKPOINT_SECTION_COUNT };

/* Where training stands. All of it returns unchanged from checkpoint_open (the JSON texts without
 * their white space). Integers but the seed are at most INT64_MAX. */
struct checkpoint_state {
    uint64_t step;         /* optimiser steps done */
    uint64_t epoch, batch; /* next micro-batch to read: its epoch and place in that epoch */
    uint64_t steps_total, steps_per_epoch; /* what the schedules were laid out for */
    uint64_t images;                       /* images seen */
    uint64_t seed;
    double epochs_done;     /* for display: 12.5 */
    const char *parameters; /* the run's parameters: a JSON object as text; NULL: {} */
    const char *trainer;    /* whatever else training needs: a JSON object as text; NULL: {} */
    const char *build;      /* build_id() */
    const char *data;       /* fingerprint of the dataset */
};

/* Everything of one checkpoint, borrowed. Metadata of the files is made by the writer. */
struct checkpoint_content {
    struct checkpoint_state state;
    struct {
        const struct safetensors_tensor *tensors;
        size_t count;
    } sections[CHECKPOINT_SECTION_COUNT];
};

/* A complete checkpoint as others need to know it. */
struct checkpoint_info {
    char path[CHECKPOINT_PATH_MAX];
    uint64_t step, bytes;
    double epochs_done;
    char hash[HASH_HEX_SIZE]; /* hex SHA-256 over the three files' digests, in name order */
};

/* ---- Writing -----------------------------------------------------------------------------------
 */

/* Called between verification and rename; a non-OK return gives the checkpoint up. */
struct checkpoint_barrier {
    enum ij_status (*call)(void *user, uint64_t step, struct ij_err *reterr_err); /* NULL: none */
    void *user;
};

/* Writes one checkpoint by the protocol above, in the calling thread (training uses
 * checkpoint_writer.h). A complete one of the same step is replaced. IJ_NONFINITE: a float32 tensor
 * holds NaN or infinity (`field` names it); IJ_NO_SPACE: found before anything is written. */
IJ_MUST_USE enum ij_status checkpoint_write(const char *run_directory,
                                            const struct checkpoint_content *content,
                                            const struct checkpoint_barrier *barrier,
                                            struct checkpoint_info *ret_info,
                                            struct ij_err *reterr_err);

/* ---- Reading -----------------------------------------------------------------------------------
 */

struct checkpoint; /* an open checkpoint; owns its mappings and strings */

enum checkpoint_check {
    CHECKPOINT_CHECK_ALL,  /* every byte against its hash */
    CHECKPOINT_CHECK_SIZES /* state.json against its hash, the other files by size and header */
};

/* IJ_NOT_FOUND: no such directory; IJ_CORRUPT: `reterr_err->field` names the file at fault. */
IJ_MUST_USE enum ij_status checkpoint_open(const char *path, enum checkpoint_check check,
                                           struct checkpoint **ret_checkpoint,
                                           struct ij_err *reterr_err);
void checkpoint_free(struct checkpoint *checkpoint); /* NULL is fine */

const struct checkpoint_state *checkpoint_get_state(const struct checkpoint *checkpoint);
const struct checkpoint_info *checkpoint_get_info(const struct checkpoint *checkpoint);
const struct safetensors *checkpoint_get_section(const struct checkpoint *checkpoint,
                                                 enum checkpoint_section section);
/* Copies a float tensor whose values number exactly `count`; IJ_CORRUPT names section and tensor.
 */
IJ_MUST_USE enum ij_status checkpoint_read_f32(const struct checkpoint *checkpoint,
                                               enum checkpoint_section section, const char *name,
                                               float *ret_values, uint64_t count,
                                               struct ij_err *reterr_err);

/* ---- The checkpoints of a run ------------------------------------------------------------------
 */

/* Steps of the checkpoints with a final name, ascending; *ret_steps is the caller's (mem_free). A
 * missing directory gives none. */
IJ_MUST_USE enum ij_status checkpoint_list(const char *run_directory, uint64_t **ret_steps,
                                           size_t *ret_count, struct ij_err *reterr_err);
/* "<run_directory>/checkpoints/step-000000000042" */
IJ_MUST_USE enum ij_status checkpoint_path(const char *run_directory, uint64_t step,
                                           char ret_path[CHECKPOINT_PATH_MAX],
                                           struct ij_err *reterr_err);
/* Opens the newest checkpoint whose every byte is right; *ret_checkpoint is NULL where there is
 * none. `skipped` (may be NULL) hears of each invalid one on the way. */
IJ_MUST_USE enum ij_status
checkpoint_find_newest(const char *run_directory,
                       void (*skipped)(void *user, const char *path, const struct ij_err *reason),
                       void *user, struct checkpoint **ret_checkpoint, struct ij_err *reterr_err);
/* `path` is a checkpoint, or a run directory that stands for its newest valid one (IJ_NOT_FOUND:
 * it holds none). Every byte is checked. */
IJ_MUST_USE enum ij_status checkpoint_open_newest(const char *path,
                                                  struct checkpoint **ret_checkpoint,
                                                  struct ij_err *reterr_err);
/* Removes what interrupted writers left (step-*.tmp-*). Call once at start, before any writer. */
IJ_MUST_USE enum ij_status checkpoint_remove_stale(const char *run_directory,
                                                   struct ij_err *reterr_err);
/* Is there a file "<its directory>.pinned"? Such a checkpoint is not removed for its age. */
bool checkpoint_is_pinned(const char *run_directory, uint64_t step);
/* One that is not there is fine: the daemon removes checkpoints as well. */
IJ_MUST_USE enum ij_status checkpoint_remove(const char *run_directory, uint64_t step,
                                             struct ij_err *reterr_err);

#endif
