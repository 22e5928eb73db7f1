/*
 * See scene_labels.h. The published CLEVR files have hundreds of megabytes, so the document is
 * never held as one tree: members of the top-level object are parsed one by one, and "scenes"
 * element by element, each by jansson.
 */
#include "gpu/data/scene_labels.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define SCENES_BYTES_MAX ((size_t)2 << 30)
#define COUNT_MIN        3
#define COUNT_MAX        10

static const double distance_edges[] = {8.0, 8.5, 9.0, 9.5, 10.0, 100.0};

struct reader {
    const char *path, *text;
    size_t size, at;
    enum engine_labels labels;
    struct scene_labels *scenes;
};

const char *scene_labels_class(enum engine_labels labels, size_t class_index)
{
    static const char *const counts[] = {"3", "4", "5", "6", "7", "8", "9", "10"};
    static const char *const distances[] = {"to 8", "to 8.5", "to 9", "to 9.5", "to 10", "to 100"};
    if (labels == ENGINE_LABELS_COUNT && class_index < COUNT_OF(counts))
        return counts[class_index];
    if (labels == ENGINE_LABELS_DISTANCE && class_index < COUNT_OF(distances))
        return distances[class_index];
    return NULL;
}

static enum ij_status bad(const struct reader *reader, const char *what, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels", "%s, scene %zu: %s", reader->path,
                        reader->scenes->count, what);
}

static double depth_of(const json_t *object)
{
    const json_t *depth = json_array_get(json_object_get(object, "pixel_coords"), 2);
    return json_is_number(depth) ? json_number_value(depth) : (double)NAN;
}

/* The object with the largest pixel_radius; without that key, the nearest one. */
static const json_t *main_object(const json_t *objects)
{
    const json_t *best = NULL;
    double best_score = -INFINITY;
    for (size_t i = 0; i < json_array_size(objects); i++) {
        const json_t *object = json_array_get(objects, i);
        const json_t *radius = json_object_get(object, "pixel_radius");
        double score = json_is_number(radius) ? json_number_value(radius) : -depth_of(object);
        if (score > best_score) {
            best = object;
            best_score = score;
        }
    }
    return best;
}

static enum ij_status label_count(const struct reader *reader, const json_t *objects,
                                  struct scene_labels_entry *entry, struct ij_err *reterr_err)
{
    size_t count = json_array_size(objects);
    if (count < COUNT_MIN || count > COUNT_MAX)
        return bad(reader, "the number of objects is not 3 to 10", reterr_err);
    entry->label = (int32_t)count - COUNT_MIN;
    return IJ_OK;
}

static enum ij_status label_distance(const struct reader *reader, const json_t *objects,
                                     struct scene_labels_entry *entry, struct ij_err *reterr_err)
{
    double nearest = INFINITY;
    for (size_t i = 0; i < json_array_size(objects); i++) {
        double depth = depth_of(json_array_get(objects, i));
        if (isnan(depth))
            return bad(reader, "an object lacks pixel_coords[2], its depth", reterr_err);
        nearest = fmin(nearest, depth);
    }
    entry->label = 0;
    while ((size_t)entry->label < COUNT_OF(distance_edges) &&
           distance_edges[entry->label] < nearest)
        entry->label++;
    if ((size_t)entry->label == COUNT_OF(distance_edges))
        return bad(reader, "no object is nearer than 100", reterr_err);
    return IJ_OK;
}

static enum ij_status label_name(const struct reader *reader, const json_t *objects,
                                 const char *key, struct scene_labels_entry *entry,
                                 struct ij_err *reterr_err)
{
    const char *name = json_string_value(json_object_get(main_object(objects), key));
    if (!name || !*name || strlen(name) >= sizeof(entry->name))
        return bad(reader, "an object lacks the key that is to be the label", reterr_err);
    strcpy(entry->name, name);
    return IJ_OK;
}

static enum ij_status grow(struct scene_labels *scenes, struct ij_err *reterr_err)
{
    if (scenes->count < scenes->capacity)
        return IJ_OK;
    size_t capacity = scenes->capacity * 2 + 256;
    struct scene_labels_entry *grown = mem_grow(scenes->entries, capacity, sizeof(*grown));
    if (!grown)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu scenes", capacity);
    scenes->entries = grown;
    scenes->capacity = capacity;
    return IJ_OK;
}

static enum ij_status add_scene(struct reader *reader, const json_t *scene,
                                struct ij_err *reterr_err)
{
    struct scene_labels_entry entry = {.label = -1};
    const char *file = json_string_value(json_object_get(scene, "image_filename"));
    const json_t *objects = json_object_get(scene, "objects");
    if (!file || strlen(file) >= sizeof(entry.file))
        return bad(reader, "\"image_filename\" is missing or longer than 255 bytes", reterr_err);
    if (json_array_size(objects) == 0)
        return bad(reader, "\"objects\" is missing or empty", reterr_err);
    strcpy(entry.file, file);
    if (reader->labels == ENGINE_LABELS_COUNT)
        IJ_TRY(label_count(reader, objects, &entry, reterr_err));
    else if (reader->labels == ENGINE_LABELS_DISTANCE)
        IJ_TRY(label_distance(reader, objects, &entry, reterr_err));
    else if (reader->labels == ENGINE_LABELS_SHAPE)
        IJ_TRY(label_name(reader, objects, "shape", &entry, reterr_err));
    else
        IJ_TRY(label_name(reader, objects, "color", &entry, reterr_err));
    IJ_TRY(grow(reader->scenes, reterr_err));
    reader->scenes->entries[reader->scenes->count++] = entry;
    return IJ_OK;
}

/* ---- One JSON value after another ------------------------------------------------------------ */

/* The next byte that is no white space; 0 at the end. */
static char peek(struct reader *reader)
{
    while (reader->at < reader->size && strchr(" \t\r\n", reader->text[reader->at]) &&
           reader->text[reader->at])
        reader->at++;
    return reader->at < reader->size ? reader->text[reader->at] : '\0';
}

static bool take(struct reader *reader, char expected)
{
    if (peek(reader) != expected)
        return false;
    reader->at++;
    return true;
}

/* Parses one value; the caller owns *ret_value. */
static enum ij_status take_value(struct reader *reader, json_t **ret_value,
                                 struct ij_err *reterr_err)
{
    json_error_t error;
    (void)peek(reader);
    *ret_value =
        json_loadb(reader->text + reader->at, reader->size - reader->at,
                   JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!*ret_value)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels", "%s is not JSON near byte %zu: %s",
                            reader->path, reader->at + (size_t)error.position, error.text);
    reader->at += (size_t)error.position;
    return IJ_OK;
}

static enum ij_status take_scenes(struct reader *reader, struct ij_err *reterr_err)
{
    if (!take(reader, '['))
        return bad(reader, "\"scenes\" is not an array", reterr_err);
    if (take(reader, ']'))
        return IJ_OK;
    do {
        json_t *scene;
        IJ_TRY(take_value(reader, &scene, reterr_err));
        enum ij_status status = add_scene(reader, scene, reterr_err);
        json_decref(scene);
        IJ_TRY(status);
    } while (take(reader, ','));
    return take(reader, ']') ? IJ_OK : bad(reader, "the array does not end", reterr_err);
}

static enum ij_status take_member(struct reader *reader, struct ij_err *reterr_err)
{
    json_t *key, *value;
    IJ_TRY(take_value(reader, &key, reterr_err));
    bool scenes = json_is_string(key) && strcmp(json_string_value(key), "scenes") == 0;
    json_decref(key);
    if (!take(reader, ':'))
        return bad(reader, "the file is not a JSON object", reterr_err);
    if (scenes)
        return take_scenes(reader, reterr_err);
    IJ_TRY(take_value(reader, &value, reterr_err));
    json_decref(value);
    return IJ_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const struct scene_labels_entry *x = a, *y = b;
    return strcmp(x->file, y->file);
}

enum ij_status scene_labels_read(const char *path, enum engine_labels labels,
                                 struct scene_labels *ret_scenes, struct ij_err *reterr_err)
{
    struct scene_labels scenes = {0};
    mem_auto char *text = NULL;
    struct reader reader = {.path = path, .labels = labels, .scenes = &scenes};
    enum ij_status status = file_read(path, SCENES_BYTES_MAX, &text, &reader.size, reterr_err);
    if (status != IJ_OK)
        return status;
    reader.text = text;
    if (!take(&reader, '{'))
        return bad(&reader, "the file is not a JSON object", reterr_err);
    do
        status = take_member(&reader, reterr_err);
    while (status == IJ_OK && take(&reader, ','));
    if (status == IJ_OK && scenes.count == 0)
        status = bad(&reader, "there are no scenes", reterr_err);
    if (status != IJ_OK) {
        mem_free(scenes.entries);
        return status;
    }
    qsort(scenes.entries, scenes.count, sizeof(scenes.entries[0]), compare_entries);
    *ret_scenes = scenes;
    return IJ_OK;
}

const struct scene_labels_entry *scene_labels_find(const struct scene_labels *scenes,
                                                   const char *file)
{
    struct scene_labels_entry key = {.label = -1};
    if (strlen(file) >= sizeof(key.file))
        return NULL;
    strcpy(key.file, file);
    return bsearch(&key, scenes->entries, scenes->count, sizeof(key), compare_entries);
}

enum ij_status scene_labels_locate(const char *folder, char ret_path[2 * ENGINE_PATH_MAX],
                                   struct ij_err *reterr_err)
{
    static const char *const patterns[] = {
        "%s/../scenes/%s_scenes.json",
        "%s/../scenes/CLEVR_%s_scenes.json",
        "%s/../../scenes/%s_scenes.json",
        "%s/../../scenes/CLEVR_%s_scenes.json",
        "%s/scenes.json",
    };
    char real[PATH_MAX];
    if (!realpath(folder, real))
        return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, "data.path", "cannot open %s", folder);
    const char *slash = strrchr(real, '/'), *split = slash ? slash + 1 : real;
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        char path[2 * ENGINE_PATH_MAX];
        int n = snprintf(path, sizeof(path), patterns[i], real, split);
        if (n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0) {
            strcpy(ret_path, path);
            return IJ_OK;
        }
    }
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                        "these labels need a scenes file: ../scenes/%s_scenes.json beside %s",
                        split, folder);
}
