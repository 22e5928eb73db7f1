/*
 * What a submission says, checked and resolved. Pure but for two looks at the world: the dataset's
 * path (engine_check_data) and `lookup`. Any thread: ?dry_run=1 uses it without the loop.
 *
 * The body is one object; any other key is an error that names the nearest:
 *   "kind"     "pretrain", "linear_probe", ... (required)
 *   "name"     [A-Za-z0-9._-]{1,64}; default: the kind
 *   "params"   object of the kind's parameters (daemon/params.h); default {}
 *   "priority" -1000..1000, higher first; default 0
 *   "after"    up to SUBMIT_AFTER_MAX of "r1" (same as on "ok") or {"run": "r1", "on": "ok"|"any"}
 *   "tags"     up to 16 names
 *   "notes"    text of at most 4096 bytes
 *   "hold"     true: stay in "held" until released
 *   "gpus"     1..SUBMIT_GPUS_MAX devices of its own: GPUs with "device": "cuda", else host slots
 *   "gpu_memory_bytes"  least memory of each; default 0: any
 *   "preemptible"       true: may be paused for a run of higher priority; default false
 *   "retention"         which checkpoints stay (daemon/retention_policy.h); default: its defaults
 *
 * A parameter "checkpoint" may be a directory, "c7" (checkpoint 7) or "r42": the newest valid
 * checkpoint that run 42 has when this run starts, which is not before run 42 has ended.
 */
#ifndef DAEMON_SUBMIT_H
#define DAEMON_SUBMIT_H

#include <jansson.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/engine.h"

#define SUBMIT_AFTER_MAX    16
#define SUBMIT_TAGS_MAX     16
#define SUBMIT_NOTES_MAX    4096
#define SUBMIT_PRIORITY_MAX 1000
#define SUBMIT_GPUS_MAX     ENGINE_RANKS_MAX
#define SUBMIT_MEMORY_MAX   ((int64_t)1 << 50)

struct device_table;

struct submit_after {
    int64_t run;
    bool any; /* false: only if it succeeded */
};

/* What the check asks about existing rows; a NULL function skips that check. */
struct submit_lookup {
    void *user;
    bool (*run_exists)(void *user, int64_t run);
    bool (*checkpoint_exists)(void *user, int64_t checkpoint);
    /* Where it lies, and what a pretraining run was asked for: for the memory of an evaluation of
     * it. False: not known. */
    bool (*checkpoint_path)(void *user, int64_t checkpoint, char *ret_path, size_t size);
    bool (*run_spec)(void *user, int64_t run, struct engine_spec *ret_spec);
    struct device_table *devices; /* borrowed: where a run that asks for a GPU is refused if there
                                     is none; NULL: not asked */
    const char *data_roots; /* borrowed: where data may lie (daemon/data_roots.h); NULL: anywhere */
};

struct submit_result {
    enum engine_kind kind;
    struct engine_spec spec; /* `directory` and `resume` are still empty */
    char name[ENGINE_NAME_MAX + 1];
    int64_t priority;
    bool hold, preemptible, on_gpu; /* on_gpu: runs on GPUs, not on the host */
    int64_t gpus, gpu_memory_bytes;
    size_t after_count;
    struct submit_after after[SUBMIT_AFTER_MAX];
    char *retention;  /* owned: the whole policy as JSON; NULL: none was given */
    json_t *resolved; /* owned: the whole body with every default filled in */
};

/* *ret_result is written only on success; release it with submit_result_done. `errors` (an array,
 * may be NULL) gets one {"pointer", "detail"} per problem; *reterr_err holds the first. IJ_INVALID,
 * or IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status submit_check(const json_t *body, const struct submit_lookup *lookup,
                                        struct submit_result *ret_result, json_t *errors,
                                        struct ij_err *reterr_err);
void submit_result_done(struct submit_result *result);

/* "r42" -> 42 with prefix 'r', "c7" -> 7 with prefix 'c'; false for anything else. */
bool submit_parse_id(const char *text, char prefix, int64_t *ret_id);

#endif
