/* See source.h. Growing, sorting, and telling the kinds of source apart. */
#include "gpu/data/source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/data/pack_format.h"

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcasecmp(text + n - m, suffix) == 0;
}

bool source_is_image_name(const char *name)
{
    return has_suffix(name, ".jpg") || has_suffix(name, ".jpeg") || has_suffix(name, ".png");
}

void source_done(struct source *source)
{
    mem_free(source->items);
    mem_free(source->text);
    mem_free(source->shards);
    *source = (struct source){0};
}

static enum ij_status grow_text(struct source *source, size_t need, struct ij_err *reterr_err)
{
    if (source->text_size + need <= source->text_capacity)
        return IJ_OK;
    size_t capacity = (source->text_size + need) * 2 + 4096;
    char *grown = mem_grow(source->text, capacity, 1);
    if (!grown)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the names of %zu images",
                      source->count);
    source->text = grown;
    source->text_capacity = capacity;
    return IJ_OK;
}

static enum ij_status add_text(struct source *source, const char *text, size_t length,
                               uint64_t *ret_offset, struct ij_err *reterr_err)
{
    IJ_TRY(grow_text(source, length + 1, reterr_err));
    *ret_offset = source->text_size;
    memcpy(source->text + source->text_size, text, length);
    source->text[source->text_size + length] = '\0';
    source->text_size += length + 1;
    return IJ_OK;
}

static enum ij_status grow_items(struct source *source, struct ij_err *reterr_err)
{
    if (source->count < source->capacity)
        return IJ_OK;
    if (source->count >= SOURCE_ITEMS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, source->field, "%s holds more than %u images",
                            source->root, SOURCE_ITEMS_MAX);
    size_t capacity = source->capacity * 2 + 256;
    struct source_item *grown = mem_grow(source->items, capacity, sizeof(*grown));
    if (!grown)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list of %zu images", capacity);
    source->items = grown;
    source->capacity = capacity;
    return IJ_OK;
}

/* Neighbours mostly share their class, whose text is then stored once. */
static enum ij_status add_class(struct source *source, const char *name, size_t length,
                                uint64_t *ret_offset, struct ij_err *reterr_err)
{
    if (source->count) {
        uint64_t last = source->items[source->count - 1].class_name;
        const char *text = last == SOURCE_NO_CLASS ? NULL : source_text(source, last);
        if (text && strlen(text) == length && memcmp(text, name, length) == 0) {
            *ret_offset = last;
            return IJ_OK;
        }
    }
    return add_text(source, name, length, ret_offset, reterr_err);
}

enum ij_status source_add(struct source *source, const char *name, const char *class_name,
                          size_t class_length, const struct source_item *item,
                          struct ij_err *reterr_err)
{
    struct source_item added = *item;
    added.class_name = SOURCE_NO_CLASS;
    added.label = -1;
    IJ_TRY(grow_items(source, reterr_err));
    IJ_TRY(add_text(source, name, strlen(name), &added.name, reterr_err));
    if (class_name)
        IJ_TRY(add_class(source, class_name, class_length, &added.class_name, reterr_err));
    source->items[source->count++] = added;
    return IJ_OK;
}

enum ij_status source_add_shard(struct source *source, const char *name, struct ij_err *reterr_err)
{
    if (source->shard_count == source->shard_capacity) {
        uint32_t capacity = source->shard_capacity * 2 + 16;
        uint64_t *grown = mem_grow(source->shards, capacity, sizeof(*grown));
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u shards", capacity);
        source->shards = grown;
        source->shard_capacity = capacity;
    }
    uint64_t offset;
    IJ_TRY(add_text(source, name, strlen(name), &offset, reterr_err));
    source->shards[source->shard_count++] = offset;
    return IJ_OK;
}

static int compare_items(const void *a, const void *b, void *user)
{
    const struct source *source = user;
    const struct source_item *x = a, *y = b;
    int order = strcmp(source_text(source, x->name), source_text(source, y->name));
    return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

static bool has_file(const char *path, const char *name)
{
    char joined[2 * ENGINE_PATH_MAX];
    snprintf(joined, sizeof joined, "%s/%s", path, name);
    return access(joined, F_OK) == 0;
}

static bool folder_has_shards(const char *path)
{
    DIR *directory = opendir(path);
    bool found = false;
    struct dirent *entry;
    while (directory && !found && (entry = readdir(directory)))
        found = entry->d_name[0] != '.' && has_suffix(entry->d_name, ".tar");
    if (directory)
        closedir(directory);
    return found;
}

static enum ij_status classify_folder(const char *path, const char *field,
                                      enum source_kind *ret_kind, struct ij_err *reterr_err)
{
    char shard[PACK_NAME_SIZE];
    pack_shard_name(0, shard);
    if (has_file(path, PACK_INDEX_NAME))
        *ret_kind = SOURCE_PACK;
    else if (has_file(path, shard))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, field,
                            "%s is a pack that was not finished: run ijepad-worker pack again",
                            path);
    else
        *ret_kind = folder_has_shards(path) ? SOURCE_TAR_FOLDER : SOURCE_FOLDER;
    return IJ_OK;
}

enum ij_status source_classify(const char *path, const char *field, enum source_kind *ret_kind,
                               struct ij_err *reterr_err)
{
    static const char *const packed[] = {".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip"};
    struct stat st;
    if (stat(path, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, field, "cannot open the dataset %s", path);
    if (S_ISDIR(st.st_mode))
        return classify_folder(path, field, ret_kind, reterr_err);
    for (size_t i = 0; i < COUNT_OF(packed); i++)
        if (has_suffix(path, packed[i]))
            return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, field,
                                "%s is a compressed archive; unpack it, or repack it as a plain "
                                ".tar",
                                path);
    if (!S_ISREG(st.st_mode) || (!has_suffix(path, ".tar") && !has_suffix(path, ".txt")))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                            "%s is neither a folder nor a .tar shard nor a .txt list", path);
    *ret_kind = has_suffix(path, ".tar") ? SOURCE_TAR : SOURCE_LIST;
    return IJ_OK;
}

/* Splits `path` into the source's root folder and the file's name in it. */
static enum ij_status set_root(struct source *source, const char *path, enum source_kind kind,
                               const char **ret_file, struct ij_err *reterr_err)
{
    if ((size_t)snprintf(source->root, sizeof(source->root), "%s", path) >= sizeof(source->root))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, source->field, "the path is longer than %zu",
                            sizeof(source->root) - 1);
    const char *slash = strrchr(path, '/');
    *ret_file = slash ? slash + 1 : path;
    if (kind != SOURCE_TAR && kind != SOURCE_LIST)
        return IJ_OK;
    if (!slash)
        strcpy(source->root, ".");
    else
        source->root[slash == path ? 1 : slash - path] = '\0';
    return IJ_OK;
}

enum ij_status source_load(struct source *source, const char *path, const char *field,
                           struct ij_err *reterr_err)
{
    *source = (struct source){.field = field};
    enum source_kind kind;
    const char *file = path;
    IJ_TRY(source_classify(path, field, &kind, reterr_err));
    IJ_TRY(set_root(source, path, kind, &file, reterr_err));
    if (kind == SOURCE_FOLDER)
        IJ_TRY(source_folder_load(source, reterr_err));
    else if (kind == SOURCE_TAR)
        IJ_TRY(source_tar_load(source, file, reterr_err));
    else if (kind == SOURCE_TAR_FOLDER)
        IJ_TRY(source_tar_load_folder(source, reterr_err));
    else if (kind == SOURCE_PACK)
        IJ_TRY(source_pack_load(source, reterr_err));
    else
        IJ_TRY(source_list_load(source, file, reterr_err));
    if (source->count == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, field,
                            "%s holds no images (.jpg, .jpeg or .png, any letter case)", path);
    if (kind != SOURCE_PACK) /* its order was checked */
        qsort_r(source->items, source->count, sizeof(source->items[0]), compare_items, source);
    return IJ_OK;
}
