/*
 * A source: the images of one folder tree, shard collection, pack or file list, before labels and
 * limits.
 *
 * Private to this folder. Texts live in one growing block and
 * are referred to by offset, so that millions of names cost little more than their letters. Not
 * thread-safe while it is filled, immutable afterwards.
 */
#ifndef GPU_DATA_SOURCE_H
#define GPU_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/data/dataset.h"
#include "gpu/engine.h"

#define SOURCE_NO_CLASS  UINT64_MAX
#define SOURCE_NO_SHARD  UINT32_MAX
#define SOURCE_ITEMS_MAX 50000000u
#define SOURCE_DEPTH_MAX 16

struct source_item {
    uint64_t name;         /* offset of its text */
    uint64_t class_name;   /* offset of its text, or SOURCE_NO_CLASS */
    uint64_t offset, size; /* bytes of the image within its file or shard */
    uint32_t shard;        /* index, or SOURCE_NO_SHARD */
    int32_t label;
};

struct source {
    char root[ENGINE_PATH_MAX]; /* the folder that names and shards are relative to */
    const char *field;          /* static: the parameter to blame */
    struct source_item *items;
    size_t count, capacity;
    char *text;
    size_t text_size, text_capacity;
    uint64_t *shards; /* offsets of the shards' file names */
    uint32_t shard_count, shard_capacity;
};

/* The text of a name or class. */
static inline const char *source_text(const struct source *source, uint64_t offset)
{
    return source->text + offset;
}

/* Lists all images of `path` in bytewise order of their names; `field` is kept by reference. The
 * errors of dataset_open. The caller ends it with source_done whatever is returned. */
IJ_MUST_USE enum ij_status source_load(struct source *source, const char *path, const char *field,
                                       struct ij_err *reterr_err);
void source_done(struct source *source);

/* dataset_read, of item i. */
IJ_MUST_USE enum ij_status source_read(const struct source *source, size_t i,
                                       struct dataset_buffer *buffer, struct ij_err *reterr_err);

/* Appends an image; `class_name` (of `class_length` bytes) may be NULL. */
IJ_MUST_USE enum ij_status source_add(struct source *source, const char *name,
                                      const char *class_name, size_t class_length,
                                      const struct source_item *item, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status source_add_shard(struct source *source, const char *name,
                                            struct ij_err *reterr_err);
bool source_is_image_name(const char *name); /* by its extension */

enum source_kind { SOURCE_FOLDER, SOURCE_TAR, SOURCE_TAR_FOLDER, SOURCE_LIST, SOURCE_PACK };
/* What `path` is, by its type, extension and, for a folder, the index or shards directly in it. */
IJ_MUST_USE enum ij_status source_classify(const char *path, const char *field,
                                           enum source_kind *ret_kind, struct ij_err *reterr_err);

/* Receives each image; IJ_STOPPED ends the visit early. */
typedef enum ij_status source_visit(void *user, const char *name, uint64_t size,
                                    struct ij_err *reterr_err);
/* Walks a tree in directory order. `budget` limits the entries looked at (0: none); where it is
 * used up or `visit` stops, the result is IJ_STOPPED. */
IJ_MUST_USE enum ij_status source_folder_walk(const char *root, const char *field, uint64_t budget,
                                              source_visit *visit, void *user,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status source_folder_load(struct source *source, struct ij_err *reterr_err);

/* Adds the image members of shard `file` (below the root). */
IJ_MUST_USE enum ij_status source_tar_load(struct source *source, const char *file,
                                           struct ij_err *reterr_err);
/* Adds the members of every shard directly in the root, in order of the names. */
IJ_MUST_USE enum ij_status source_tar_load_folder(struct source *source, struct ij_err *reterr_err);

IJ_MUST_USE enum ij_status source_list_load(struct source *source, const char *file,
                                            struct ij_err *reterr_err);

/* Takes the images from the root's index (pack_format.h) and looks at every shard's head.
 * IJ_CORRUPT names what does not fit; nothing of the index is believed before its hash was. */
IJ_MUST_USE enum ij_status source_pack_load(struct source *source, struct ij_err *reterr_err);
/* The part of it that looks at no other file: an index in memory. */
IJ_MUST_USE enum ij_status source_pack_parse(struct source *source, const uint8_t *data,
                                             size_t size, struct ij_err *reterr_err);

/* Where a split lies. */
struct source_place {
    char path[ENGINE_PATH_MAX];
    char peer[ENGINE_PATH_MAX]; /* the other split's place; "" where both share `path` */
    const char *field, *peer_field;
};
IJ_MUST_USE enum ij_status source_place_find(const struct engine_data *data, bool eval,
                                             struct source_place *ret_place,
                                             struct ij_err *reterr_err);

#endif
