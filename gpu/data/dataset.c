/* See dataset.h. Opening: load the source, name the classes, keep the split's samples, hash. */
#include "gpu/data/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/hash.h"
#include "gpu/data/scene_labels.h"
#include "gpu/data/source.h"

#define EVAL_EVERY 10 /* without a folder of its own, every tenth image is held out */

struct dataset {
    struct source source;
    char **classes; /* sorted; owned */
    size_t class_count;
    bool scene;
    char fingerprint[HASH_HEX_SIZE];
};

void dataset_free(struct dataset *dataset)
{
    if (!dataset)
        return;
    for (size_t i = 0; i < dataset->class_count; i++)
        mem_free(dataset->classes[i]);
    mem_free(dataset->classes);
    source_done(&dataset->source);
    mem_free(dataset);
}

size_t dataset_count(const struct dataset *dataset)
{
    return dataset->source.count;
}

uint64_t dataset_bytes(const struct dataset *dataset)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < dataset->source.count; i++)
        sum += dataset->source.items[i].size;
    return sum;
}

const char *dataset_name(const struct dataset *dataset, size_t i)
{
    IJ_ASSERT(i < dataset->source.count);
    return source_text(&dataset->source, dataset->source.items[i].name);
}

int32_t dataset_label(const struct dataset *dataset, size_t i)
{
    IJ_ASSERT(i < dataset->source.count);
    return dataset->source.items[i].label;
}

size_t dataset_class_count(const struct dataset *dataset)
{
    return dataset->class_count;
}

const char *dataset_class_name(const struct dataset *dataset, size_t class_index)
{
    IJ_ASSERT(class_index < dataset->class_count);
    return dataset->classes[class_index];
}

bool dataset_is_scene(const struct dataset *dataset)
{
    return dataset->scene;
}

const char *dataset_fingerprint(const struct dataset *dataset)
{
    return dataset->fingerprint;
}

/* ---- Class names ----------------------------------------------------------------------------- */

struct name_list {
    const char **names;
    size_t count, capacity;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts and drops repetitions. */
static void unique_names(struct name_list *list)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->names, list->count, sizeof(list->names[0]), compare_texts);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || strcmp(list->names[kept - 1], list->names[i]) != 0)
            list->names[kept++] = list->names[i];
    list->count = kept;
}

static enum ij_status push_name(struct name_list *list, const char *name, struct ij_err *reterr_err)
{
    if (list->count && strcmp(list->names[list->count - 1], name) == 0)
        return IJ_OK;
    if (list->count == list->capacity) {
        unique_names(list);
        size_t capacity = list->count * 2 + 256;
        const char **grown = mem_grow(list->names, capacity, sizeof(*grown));
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu class names", capacity);
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return IJ_OK;
}

static enum ij_status push_classes(struct name_list *list, const struct source *source,
                                   struct ij_err *reterr_err)
{
    for (size_t i = 0; i < source->count; i++)
        if (source->items[i].class_name != SOURCE_NO_CLASS)
            IJ_TRY(push_name(list, source_text(source, source->items[i].class_name), reterr_err));
    return IJ_OK;
}

/* Makes the dataset's own copy of the class names. */
static enum ij_status keep_classes(struct dataset *dataset, struct name_list *list,
                                   struct ij_err *reterr_err)
{
    unique_names(list);
    dataset->classes = mem_array(char *, list->count);
    if (!dataset->classes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu class names", list->count);
    for (size_t i = 0; i < list->count; i++) {
        dataset->classes[i] = mem_strdup(list->names[i]);
        if (!dataset->classes[i])
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu class names", list->count);
        dataset->class_count++;
    }
    return IJ_OK;
}

static int32_t find_class(const struct dataset *dataset, const char *name)
{
    char **found = bsearch(&name, dataset->classes, dataset->class_count,
                           sizeof(dataset->classes[0]), compare_texts);
    IJ_ASSERT(found);
    return (int32_t)(found - dataset->classes);
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static bool all_have_classes(const struct source *source)
{
    for (size_t i = 0; i < source->count; i++)
        if (source->items[i].class_name == SOURCE_NO_CLASS)
            return false;
    return true;
}

static enum ij_status label_by_folder(struct dataset *dataset, const struct source_place *place,
                                      struct ij_err *reterr_err)
{
    struct source *source = &dataset->source, peer = {0};
    struct name_list list = {0};
    enum ij_status status = IJ_OK;
    if (place->peer[0])
        IJ_TRY_GOTO(status, source_load(&peer, place->peer, place->peer_field, reterr_err), out);
    IJ_TRY_GOTO(status, push_classes(&list, source, reterr_err), out);
    IJ_TRY_GOTO(status, push_classes(&list, &peer, reterr_err), out);
    IJ_TRY_GOTO(status, keep_classes(dataset, &list, reterr_err), out);
    for (size_t i = 0; i < source->count; i++) {
        struct source_item *item = &source->items[i];
        if (item->class_name == SOURCE_NO_CLASS) {
            status = IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                                  "labels from folders need a sub-folder per class, but %s lies in "
                                  "%s itself",
                                  source_text(source, item->name), place->path);
            goto out;
        }
        item->label = find_class(dataset, source_text(source, item->class_name));
    }
out:
    mem_free(list.names);
    source_done(&peer);
    return status;
}

/* Shape and colour: the classes are the names that occur in either split's scenes. */
static enum ij_status scene_classes(struct dataset *dataset, const struct scene_labels *own,
                                    const struct scene_labels *peer, enum engine_labels labels,
                                    struct ij_err *reterr_err)
{
    struct name_list list = {0};
    enum ij_status status = IJ_OK;
    const char *name;
    for (size_t i = 0; status == IJ_OK && (name = scene_labels_class(labels, i)); i++)
        status = push_name(&list, name, reterr_err);
    if (list.count == 0) {
        for (size_t i = 0; status == IJ_OK && i < own->count; i++)
            status = push_name(&list, own->entries[i].name, reterr_err);
        for (size_t i = 0; status == IJ_OK && i < peer->count; i++)
            status = push_name(&list, peer->entries[i].name, reterr_err);
        unique_names(&list);
    }
    dataset->classes = status == IJ_OK ? mem_array(char *, list.count) : NULL;
    for (size_t i = 0; dataset->classes && i < list.count; i++)
        if ((dataset->classes[i] = mem_strdup(list.names[i])))
            dataset->class_count++;
    if (status == IJ_OK && dataset->class_count != list.count)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu class names", list.count);
    mem_free(list.names);
    return status;
}

static enum ij_status label_items(struct dataset *dataset, const struct scene_labels *scenes,
                                  struct ij_err *reterr_err)
{
    struct source *source = &dataset->source;
    for (size_t i = 0; i < source->count; i++) {
        const char *name = source_text(source, source->items[i].name);
        const char *slash = strrchr(name, '/');
        const struct scene_labels_entry *entry =
            scene_labels_find(scenes, slash ? slash + 1 : name);
        if (!entry)
            return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                                "the scenes file does not list %s", name);
        source->items[i].label =
            entry->label >= 0 ? entry->label : find_class(dataset, entry->name);
    }
    return IJ_OK;
}

static enum ij_status label_by_scene(struct dataset *dataset, const struct source_place *place,
                                     enum engine_labels labels, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    struct scene_labels own = {0}, peer = {0};
    enum ij_status status;
    dataset->scene = true;
    IJ_TRY(scene_labels_locate(place->path, path, reterr_err));
    IJ_TRY_GOTO(status, scene_labels_read(path, labels, &own, reterr_err), out);
    if (place->peer[0] && !scene_labels_class(labels, 0)) { /* names come from both splits */
        IJ_TRY_GOTO(status, scene_labels_locate(place->peer, path, reterr_err), out);
        IJ_TRY_GOTO(status, scene_labels_read(path, labels, &peer, reterr_err), out);
    }
    IJ_TRY_GOTO(status, scene_classes(dataset, &own, &peer, labels, reterr_err), out);
    status = label_items(dataset, &own, reterr_err);
out:
    mem_free(own.entries);
    mem_free(peer.entries);
    return status;
}

/* ---- Selection ------------------------------------------------------------------------------- */

static enum ij_status keep_split(struct source *source, bool eval, struct ij_err *reterr_err)
{
    size_t kept = 0, all = source->count;
    for (size_t i = 0; i < all; i++)
        if ((i % EVAL_EVERY == EVAL_EVERY - 1) == eval)
            source->items[kept++] = source->items[i];
    source->count = kept;
    if (kept == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field,
                            "%s holds %zu images; to hold out every tenth it takes %d (or set "
                            "data.eval_path)",
                            source->root, all, EVAL_EVERY);
    return IJ_OK;
}

static void keep_limit(struct source *source, uint32_t limit)
{
    size_t all = source->count;
    if (limit == 0 || limit >= all)
        return;
    for (size_t i = 0; i < limit; i++)
        source->items[i] = source->items[i * all / limit];
    source->count = limit;
}

static void take_fingerprint(struct dataset *dataset)
{
    struct hash hash;
    uint8_t digest[HASH_SIZE], size[8];
    const struct source *source = &dataset->source;
    hash_init(&hash);
    for (size_t i = 0; i < source->count; i++) {
        const char *name = source_text(source, source->items[i].name);
        for (int j = 0; j < 8; j++)
            size[j] = (uint8_t)(source->items[i].size >> 8 * j);
        hash_update(&hash, name, strlen(name) + 1);
        hash_update(&hash, size, sizeof(size));
    }
    hash_final(&hash, digest);
    hash_hex(digest, dataset->fingerprint);
}

/* `labelled`: labels that folders do not give are an error, else there are none. */
static enum ij_status fill(struct dataset *dataset, const struct engine_data *data, bool eval,
                           bool labelled, struct ij_err *reterr_err)
{
    struct source_place place;
    IJ_TRY(source_place_find(data, eval, &place, reterr_err));
    IJ_TRY(source_load(&dataset->source, place.path, place.field, reterr_err));
    if (data->labels == ENGINE_LABELS_FOLDER) {
        if (labelled || all_have_classes(&dataset->source))
            IJ_TRY(label_by_folder(dataset, &place, reterr_err));
    } else if (data->labels != ENGINE_LABELS_NONE)
        IJ_TRY(label_by_scene(dataset, &place, data->labels, reterr_err));
    if (!place.peer[0])
        IJ_TRY(keep_split(&dataset->source, eval, reterr_err));
    keep_limit(&dataset->source, eval ? data->eval_limit : data->limit);
    take_fingerprint(dataset);
    return IJ_OK;
}

static enum ij_status open_split(const struct engine_data *data, enum dataset_split split,
                                 bool labelled, struct dataset **ret_dataset,
                                 struct ij_err *reterr_err)
{
    struct dataset *dataset = mem_new(struct dataset);
    if (!dataset)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a dataset");
    enum ij_status status = fill(dataset, data, split == DATASET_EVAL, labelled, reterr_err);
    if (status != IJ_OK) {
        dataset_free(dataset);
        return status;
    }
    *ret_dataset = dataset;
    return IJ_OK;
}

enum ij_status dataset_open(const struct engine_data *data, enum dataset_split split,
                            struct dataset **ret_dataset, struct ij_err *reterr_err)
{
    return open_split(data, split, true, ret_dataset, reterr_err);
}

enum ij_status dataset_open_any(const struct engine_data *data, enum dataset_split split,
                                struct dataset **ret_dataset, struct ij_err *reterr_err)
{
    return open_split(data, split, false, ret_dataset, reterr_err);
}

enum ij_status dataset_keep(struct dataset *dataset, const uint32_t *rows, size_t count,
                            struct ij_err *reterr_err)
{
    struct source *source = &dataset->source;
    struct source_item *kept = mem_array(struct source_item, count);
    if (!kept)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a selection of %zu images", count);
    for (size_t i = 0; i < count; i++) {
        IJ_ASSERT(rows[i] < source->count);
        kept[i] = source->items[rows[i]];
    }
    mem_free(source->items);
    source->items = kept;
    source->count = source->capacity = count;
    take_fingerprint(dataset);
    return IJ_OK;
}

enum ij_status dataset_read(const struct dataset *dataset, size_t i, struct dataset_buffer *buffer,
                            struct ij_err *reterr_err)
{
    return source_read(&dataset->source, i, buffer, reterr_err);
}
