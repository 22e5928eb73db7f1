/*
 * Labels of CLEVR-format scenes: what a scenes file says about each image.
 *
 * Count: number of objects, 3..10. Distance: the nearest object's depth in the bins that the CLEVR
 * evaluation tasks use (<= 8, 8.5, 9, 9.5, 10, 100). Shape and colour: those of the object that is
 * largest on screen ("pixel_radius"), or the nearest where the file does not say how large they
 * are.
 */
#ifndef GPU_DATA_SCENE_LABELS_H
#define GPU_DATA_SCENE_LABELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/engine.h"

#define SCENE_LABELS_TEXT_MAX 32

/* What one scene says; `label` is -1 for shape and colour, whose names are the classes. */
struct scene_labels_entry {
    char file[256];
    char name[SCENE_LABELS_TEXT_MAX]; /* class name */
    int32_t label;
};

/* Sorted by file. Free `entries` with mem_free. */
struct scene_labels {
    struct scene_labels_entry *entries;
    size_t count, capacity;
};

/* Reads `path`, scene by scene. IJ_DATA with field "data.labels" names the scene and the key at
 * fault. */
IJ_MUST_USE enum ij_status scene_labels_read(const char *path, enum engine_labels labels,
                                             struct scene_labels *ret_scenes,
                                             struct ij_err *reterr_err);
/* NULL where the file is not listed. */
const struct scene_labels_entry *scene_labels_find(const struct scene_labels *scenes,
                                                   const char *file);
/* The fixed classes of count and distance; NULL past the end and for the other labels. */
const char *scene_labels_class(enum engine_labels labels, size_t class_index);

/* Where the scenes file of the split folder `folder` is; IJ_DATA where there is none. */
IJ_MUST_USE enum ij_status scene_labels_locate(const char *folder,
                                               char ret_path[2 * ENGINE_PATH_MAX],
                                               struct ij_err *reterr_err);

#endif
