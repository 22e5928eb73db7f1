/*
 * A dataset: the sorted list of the images of one split, with labels, and the bytes of each.
 *
 * Sources, told apart by `engine_data.path`:
 *
 * - A folder tree: .jpg .jpeg .png in any letter case, any depth. With ENGINE_LABELS_FOLDER the
 *   label is the first-level sub-folder.
 * - A folder with train/ and one of val/, test/, validation/: TRAIN is train/, EVAL the other one.
 *   A CLEVR root (images/ beside scenes/) is entered by itself.
 * - Tar shards: one .tar, or a folder of them. The label is the folder that holds the member, or
 *   the shard's name for a member without a folder. Compressed archives are refused.
 * - A packed folder (pack_format.h): order, names, classes and sizes of what was packed.
 * - A list, a .txt file: one path per line (relative to the list's folder), then optionally a tab
 *   and a label. Lines without a label take the name of the image's folder.
 *
 * With the other labels a scenes file is read: scenes/[CLEVR_]<split>_scenes.json beside the
 * split's folder or beside its parent, or scenes.json inside it.
 *
 * `eval_path`, where set, is a source of its own and all of it is EVAL. Where neither that nor a
 * second folder exists, every tenth image of the sorted list (the 10th, 20th, ...) is EVAL and the
 * others are TRAIN. Names are sorted bytewise; `limit` (TRAIN) and `eval_limit` (EVAL) then keep
 * samples at even distances. Class indices come from the sorted names of both splits, so they agree
 * between the splits.
 *
 * Immutable after opening; all functions may be called from several threads. No decoder is linked.
 */
#ifndef GPU_DATA_DATASET_H
#define GPU_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/engine.h"

#define DATASET_FILE_BYTES_MAX (64u << 20) /* one compressed image */

enum dataset_split { DATASET_TRAIN, DATASET_EVAL };

struct dataset;

/* A reusable byte buffer for dataset_read. Zero-initialise; free `data` with mem_free. */
struct dataset_buffer {
    uint8_t *data;
    size_t size, capacity;
};

/* IJ_NOT_FOUND, IJ_FORBIDDEN, IJ_DATA (no images, labels missing, scenes unreadable), IJ_CORRUPT (a
 * shard's headers); field "data.path", "data.eval_path" or "data.labels". */
IJ_MUST_USE enum ij_status dataset_open(const struct engine_data *data, enum dataset_split split,
                                        struct dataset **ret_dataset, struct ij_err *reterr_err);
/* The same for work that needs no labels: where folders were to give them and do not, there are
 * none. */
IJ_MUST_USE enum ij_status dataset_open_any(const struct engine_data *data,
                                            enum dataset_split split, struct dataset **ret_dataset,
                                            struct ij_err *reterr_err);
void dataset_free(struct dataset *dataset);

/* Keeps only these images, in this order; classes stay, the fingerprint is that of what is left.
 * Before anyone else uses the dataset. `rows`: indices, `count` at least 1. */
IJ_MUST_USE enum ij_status dataset_keep(struct dataset *dataset, const uint32_t *rows, size_t count,
                                        struct ij_err *reterr_err);

uint64_t dataset_bytes(const struct dataset *dataset); /* of all its files, as listed */
size_t dataset_count(const struct dataset *dataset);   /* >= 1 */
/* Path of image i below the dataset's root, for messages; "shard.tar:member" in a shard. */
const char *dataset_name(const struct dataset *dataset, size_t i);
int32_t dataset_label(const struct dataset *dataset, size_t i); /* -1: none */
size_t dataset_class_count(const struct dataset *dataset);      /* 0: no labels */
const char *dataset_class_name(const struct dataset *dataset, size_t class_index);
/* True where labels speak of the whole scene (count, distance, ...): such images are squeezed to
 * the crop size, never cut. */
bool dataset_is_scene(const struct dataset *dataset);
/* SHA-256 in hex over names and sizes of the split's images, in order. */
const char *dataset_fingerprint(const struct dataset *dataset);

/* Reads the compressed bytes of image i; grows the buffer where needed. IJ_TOO_LARGE over
 * DATASET_FILE_BYTES_MAX, IJ_NOT_FOUND, IJ_IO, IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status dataset_read(const struct dataset *dataset, size_t i,
                                        struct dataset_buffer *buffer, struct ij_err *reterr_err);

#endif
