/*
 * engine_check_data: is there at least one image where a run is told to look? Bounded, links no
 * decoder; the daemon calls it before a run is accepted.
 */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/data/scene_labels.h"
#include "gpu/data/source.h"
#include "gpu/engine.h"

#define ENTRIES_MAX 20000u

struct found {
    bool any, in_folder;
};

static enum ij_status note_first(void *user, const char *name, uint64_t size,
                                 struct ij_err *reterr_err)
{
    struct found *found = user;
    (void)size;
    (void)reterr_err;
    found->any = true;
    found->in_folder = strchr(name, '/') != NULL;
    return IJ_STOPPED;
}

static enum ij_status check_tree(const char *path, const char *field, enum engine_labels labels,
                                 struct ij_err *reterr_err)
{
    struct found found = {0};
    enum ij_status status =
        source_folder_walk(path, field, ENTRIES_MAX, note_first, &found, reterr_err);
    if (status == IJ_STOPPED && !found.any)
        return IJ_OK; /* looked long enough */
    if (status != IJ_OK && status != IJ_STOPPED)
        return status;
    if (!found.any)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, field,
                            "%s holds no images (.jpg, .jpeg or .png, any letter case)", path);
    if (labels == ENGINE_LABELS_FOLDER && !found.in_folder)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                            "labels from folders need a sub-folder per class in %s", path);
    return IJ_OK;
}

/* Shards, packs and lists are only opened: the worker reads them. */
static enum ij_status check_place(const char *path, const char *field, enum engine_labels labels,
                                  struct ij_err *reterr_err)
{
    enum source_kind kind;
    bool scenes = labels != ENGINE_LABELS_NONE && labels != ENGINE_LABELS_FOLDER;
    IJ_TRY(source_classify(path, field, &kind, reterr_err));
    if (access(path, R_OK) < 0)
        return IJ_ERR_SYS(reterr_err, errno, field, "cannot read the dataset %s", path);
    if (scenes && kind != SOURCE_FOLDER && kind != SOURCE_PACK)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "data.labels",
                            "labels from scenes need a folder of images, and %s is none", path);
    if (kind == SOURCE_FOLDER)
        IJ_TRY(check_tree(path, field, labels, reterr_err));
    char file[2 * ENGINE_PATH_MAX];
    return scenes ? scene_labels_locate(path, file, reterr_err) : IJ_OK;
}

enum ij_status engine_check_data(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    struct source_place place;
    const struct engine_data *data = &spec->data;
    enum engine_labels labels = data->labels;
    if (spec->kind == ENGINE_BENCHMARK && spec->benchmark.what != ENGINE_BENCHMARK_LOADER)
        return IJ_OK; /* on synthetic images */
    if (spec->kind == ENGINE_BENCHMARK)
        labels = ENGINE_LABELS_NONE;
    /* These kinds take labels from folders where there are some, and need none. */
    if ((spec->kind == ENGINE_PRETRAIN || spec->kind == ENGINE_FEATURES ||
         spec->kind == ENGINE_VISUALIZE || spec->kind == ENGINE_SCAN) &&
        labels == ENGINE_LABELS_FOLDER)
        labels = ENGINE_LABELS_NONE;
    IJ_TRY(source_place_find(data, false, &place, reterr_err));
    IJ_TRY(check_place(place.path, place.field, labels, reterr_err));
    if (place.peer[0])
        IJ_TRY(check_place(place.peer, place.peer_field, labels, reterr_err));
    return IJ_OK;
}
