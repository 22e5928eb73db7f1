/*
 * state.json of a checkpoint: text <-> struct. Private to gpu/checkpoint.
 *
 * The text ends in a member "sha256", the hash of all bytes before that member, so that every
 * changed bit of the file is found.
 */
#ifndef GPU_CHECKPOINT_CHECKPOINT_STATE_H
#define GPU_CHECKPOINT_CHECKPOINT_STATE_H

#include "gpu/checkpoint/checkpoint.h"

#define CHECKPOINT_STATE_NAME      "state.json"
#define CHECKPOINT_STATE_BYTES_MAX ((size_t)4 << 20)
#define CHECKPOINT_STATE_VERSION   1

/* A data file as state.json describes it. */
struct checkpoint_state_file {
    uint64_t bytes;
    char sha256[HASH_HEX_SIZE];
};

/* "model.safetensors"; static */
const char *checkpoint_state_section_name(enum checkpoint_section section);

/* *ret_text is the caller's (mem_free). IJ_INVALID: parameters or trainer are not JSON objects,
 * or a number has no JSON form. */
IJ_MUST_USE enum ij_status
checkpoint_state_encode(const struct checkpoint_state *state,
                        const struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT],
                        char **ret_text, size_t *ret_size, struct ij_err *reterr_err);

/* Fills the outputs; the strings of ret_state are the caller's, see checkpoint_state_done.
 * `path` is for errors (IJ_CORRUPT; field "state.json"). */
IJ_MUST_USE enum ij_status checkpoint_state_decode(
    const char *text, size_t size, const char *path, struct checkpoint_state *ret_state,
    struct checkpoint_state_file ret_files[CHECKPOINT_SECTION_COUNT], struct ij_err *reterr_err);
void checkpoint_state_done(struct checkpoint_state *state); /* frees the strings of a decoded one */

#endif
