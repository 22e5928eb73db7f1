/*
 * engine_pack: a dataset into the files of pack_format.h.
 *
 * What goes where is decided from the list of images alone, so a second start plans the same
 * shards. A shard gets its name once it is complete and on disk, and its key says of which images
 * it is: those that are there and fit are kept, the rest is written. The index comes last.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/pack_format.h"
#include "gpu/data/scene_labels.h"
#include "gpu/data/source.h"
#include "gpu/engine.h"

#define SHARD_BYTES      ((uint64_t)4 << 30) /* where options do not say */
#define SCENES_BYTES_MAX ((size_t)2 << 30)
#define PATH_SIZE        (ENGINE_PATH_MAX + 64)

/* One split on its way into its folder. */
struct pack {
    struct source source;
    char directory[ENGINE_PATH_MAX];
    uint64_t shard_bytes;
    void (*report)(void *user, const char *line);
    void *user;
    struct pack_entry *entries; /* by image; names are set with the index */
    struct pack_shard *shards;
    uint32_t shard_count, shard_capacity, kept;
    bool complete; /* an index is there already */
    struct dataset_buffer buffer;
};

/* ---- The plan -------------------------------------------------------------------------------- */

static enum ij_status add_shard(struct pack *pack, struct ij_err *reterr_err)
{
    if (pack->shard_count == PACK_SHARDS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "shard-mib",
                            "more than %u shards; make them larger", PACK_SHARDS_MAX);
    if (pack->shard_count == pack->shard_capacity) {
        uint32_t capacity = pack->shard_capacity * 2 + 16;
        struct pack_shard *grown = mem_grow(pack->shards, capacity, sizeof *grown);
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u shards", capacity);
        pack->shards = grown;
        pack->shard_capacity = capacity;
    }
    pack->shards[pack->shard_count++] = (struct pack_shard){.bytes = 0};
    return IJ_OK;
}

static const char *class_of(const struct pack *pack, size_t i)
{
    uint64_t class_name = pack->source.items[i].class_name;
    return class_name == SOURCE_NO_CLASS ? NULL : source_text(&pack->source, class_name);
}

/* Name, class and size of an image into its shard's key. */
static void hash_image(const struct pack *pack, size_t i, struct hash *key)
{
    const struct source_item *item = &pack->source.items[i];
    const char *name = source_text(&pack->source, item->name), *class_name = class_of(pack, i);
    uint64_t size = item->size;
    hash_update(key, name, strlen(name) + 1);
    if (class_name)
        hash_update(key, class_name, strlen(class_name));
    hash_update(key, class_name ? "\1" : "\2", 1);
    hash_update(key, &size, sizeof size);
}

static enum ij_status plan(struct pack *pack, struct ij_err *reterr_err)
{
    struct hash key;
    pack->entries = mem_array(struct pack_entry, pack->source.count);
    if (!pack->entries)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list of %zu images",
                      pack->source.count);
    for (size_t i = 0; i < pack->source.count; i++) {
        uint64_t size = pack->source.items[i].size;
        if (size > DATASET_FILE_BYTES_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, pack->source.field,
                                "%s has %llu bytes, more than %u",
                                source_text(&pack->source, pack->source.items[i].name),
                                (unsigned long long)size, DATASET_FILE_BYTES_MAX);
        struct pack_shard *last = pack->shard_count ? &pack->shards[pack->shard_count - 1] : NULL;
        if (!last || (last->bytes && last->bytes + size > pack->shard_bytes)) {
            if (last)
                hash_final(&key, last->key);
            IJ_TRY(add_shard(pack, reterr_err));
            last = &pack->shards[pack->shard_count - 1];
            hash_init(&key);
        }
        hash_image(pack, i, &key);
        pack->entries[i] = (struct pack_entry){.offset = sizeof(struct pack_head) + last->bytes,
                                               .size = (uint32_t)size,
                                               .shard = pack->shard_count - 1};
        last->bytes += size;
    }
    hash_final(&key, pack->shards[pack->shard_count - 1].key);
    return IJ_OK;
}

/* ---- Shards ---------------------------------------------------------------------------------- */

static struct pack_head head_of(const struct pack_shard *shard)
{
    struct pack_head head = {.magic = PACK_SHARD_MAGIC, .bytes = shard->bytes};
    memcpy(head.key, shard->key, sizeof head.key);
    return head;
}

/* Takes a finished shard as it is. *ret_there: is there one at all? IJ_CONFLICT: of others. */
static enum ij_status keep_shard(struct pack_shard *shard, const char *path, bool *ret_there,
                                 struct ij_err *reterr_err)
{
    struct pack_head want = head_of(shard), head;
    off_t end = (off_t)(sizeof head + shard->bytes);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *ret_there = fd >= 0;
    if (fd < 0)
        return errno == ENOENT ? IJ_OK
                               : IJ_ERR_SYS(reterr_err, errno, "directory", "cannot open %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size != end + HASH_SIZE ||
        pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        memcmp(&head, &want, sizeof head) != 0 ||
        pread(fd, shard->hash, HASH_SIZE, end) != HASH_SIZE)
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "directory",
                            "%s is of other images or of another shard size; choose another "
                            "folder or remove it",
                            path);
    return IJ_OK;
}

static enum ij_status write_images(struct pack *pack, size_t first, size_t end, int fd,
                                   const char *path, struct hash *hash, struct ij_err *reterr_err)
{
    for (size_t i = first; i < end; i++) {
        const struct source *source = &pack->source;
        IJ_TRY(source_read(source, i, &pack->buffer, reterr_err));
        if (pack->buffer.size != pack->entries[i].size)
            return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field,
                                "%s/%s changed while it was packed", source->root,
                                source_text(source, source->items[i].name));
        hash_update(hash, pack->buffer.data, pack->buffer.size);
        IJ_TRY(file_write_all(fd, pack->buffer.data, pack->buffer.size, path, reterr_err));
    }
    return IJ_OK;
}

/* Images first..end into `path`, by way of a file with another name. */
static enum ij_status write_shard(struct pack *pack, struct pack_shard *shard, size_t first,
                                  size_t end, const char *path, struct ij_err *reterr_err)
{
    char part[PATH_SIZE + 8];
    struct pack_head head = head_of(shard);
    struct hash hash;
    snprintf(part, sizeof part, "%s.part", path);
    fd_auto int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, "directory", "cannot create %s", part);
    hash_init(&hash);
    IJ_TRY(file_write_all(fd, &head, sizeof head, part, reterr_err));
    IJ_TRY(write_images(pack, first, end, fd, part, &hash, reterr_err));
    hash_final(&hash, shard->hash);
    IJ_TRY(file_write_all(fd, shard->hash, HASH_SIZE, part, reterr_err));
    if (fsync(fd) < 0 || rename(part, path) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "directory", "cannot finish %s", path);
    return file_fsync_dir(pack->directory, reterr_err);
}

static void say(const struct pack *pack, const char *path, size_t images, uint64_t bytes, bool kept)
{
    char line[PATH_SIZE + 128];
    snprintf(line, sizeof line, "%s: %zu images, %llu bytes%s", path, images,
             (unsigned long long)bytes, kept ? ", there already" : "");
    pack->report(pack->user, line);
}

static enum ij_status make_shard(struct pack *pack, uint32_t i, size_t first, size_t end,
                                 struct ij_err *reterr_err)
{
    char path[PATH_SIZE], name[PACK_NAME_SIZE];
    bool there;
    pack_shard_name(i, name);
    snprintf(path, sizeof path, "%s/%s", pack->directory, name);
    IJ_TRY(keep_shard(&pack->shards[i], path, &there, reterr_err));
    pack->kept += there;
    if (!there && pack->complete)
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "directory",
                            "%s holds a pack of other images, without %s", pack->directory, name);
    if (!there)
        IJ_TRY(write_shard(pack, &pack->shards[i], first, end, path, reterr_err));
    say(pack, path, end - first, pack->shards[i].bytes, there);
    return IJ_OK;
}

static enum ij_status make_shards(struct pack *pack, struct ij_err *reterr_err)
{
    size_t first = 0, count = pack->source.count;
    for (uint32_t i = 0; i < pack->shard_count; i++) {
        size_t end = first;
        while (end < count && pack->entries[end].shard == i)
            end++;
        IJ_TRY(make_shard(pack, i, first, end, reterr_err));
        first = end;
    }
    return IJ_OK;
}

/* ---- The index ------------------------------------------------------------------------------- */

/* Places of the texts, and with `texts` the texts themselves; neighbours share their class's. */
static uint64_t place_texts(struct pack *pack, char *texts)
{
    const char *last = NULL;
    uint64_t at = 0, last_at = 0;
    for (size_t i = 0; i < pack->source.count; i++) {
        const char *name = source_text(&pack->source, pack->source.items[i].name);
        const char *class_name = class_of(pack, i);
        size_t size = strlen(name) + 1;
        pack->entries[i].name = at;
        if (texts)
            memcpy(texts + at, name, size);
        at += size;
        if (class_name && (!last || strcmp(last, class_name) != 0)) {
            size = strlen(class_name) + 1;
            if (texts)
                memcpy(texts + at, class_name, size);
            last = class_name;
            last_at = at;
            at += size;
        }
        pack->entries[i].class_name = class_name ? last_at : PACK_NO_CLASS;
    }
    return at;
}

static enum ij_status write_index(struct pack *pack, struct ij_err *reterr_err)
{
    char path[PATH_SIZE];
    size_t images = pack->source.count, shard_bytes = pack->shard_count * sizeof *pack->shards;
    size_t entry_bytes = images * sizeof *pack->entries;
    struct pack_index head = {.magic = PACK_INDEX_MAGIC,
                              .images = images,
                              .text_bytes = place_texts(pack, NULL),
                              .shards = pack->shard_count};
    size_t size = sizeof head + shard_bytes + entry_bytes + head.text_bytes + HASH_SIZE;
    mem_auto uint8_t *data = mem_array(uint8_t, size);
    if (!data)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an index of %zu bytes", size);
    uint8_t *entries = data + sizeof head + shard_bytes;
    place_texts(pack, (char *)entries + entry_bytes);
    memcpy(data, &head, sizeof head);
    memcpy(data + sizeof head, pack->shards, shard_bytes);
    memcpy(entries, pack->entries, entry_bytes);
    hash_bytes(data, size - HASH_SIZE, data + size - HASH_SIZE);
    snprintf(path, sizeof path, "%s/" PACK_INDEX_NAME, pack->directory);
    return file_write_durable(path, data, size, 0644, reterr_err);
}

/* ---- Folders --------------------------------------------------------------------------------- */

/* Nothing of others may be in the folder. */
static enum ij_status look_round(struct pack *pack, struct ij_err *reterr_err)
{
    DIR *folder = opendir(pack->directory);
    enum ij_status status = IJ_OK;
    struct dirent *entry;
    if (!folder)
        return IJ_ERR_SYS(reterr_err, errno, "directory", "cannot read %s", pack->directory);
    while (status == IJ_OK && (entry = readdir(folder))) {
        const char *name = entry->d_name;
        if (strcmp(name, PACK_INDEX_NAME) == 0)
            pack->complete = true;
        else if (name[0] != '.' && strncmp(name, PACK_INDEX_NAME, strlen(PACK_INDEX_NAME)) != 0 &&
                 strncmp(name, "shard-", 6) != 0 && strncmp(name, "scenes.json", 11) != 0)
            status = IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "directory",
                                  "%s holds %s, which is no part of a pack", pack->directory, name);
    }
    closedir(folder);
    return status;
}

/* The scenes file, where the split has one, so that labels go along. */
static enum ij_status copy_scenes(const struct pack *pack, struct ij_err *reterr_err)
{
    char from[2 * ENGINE_PATH_MAX], to[PATH_SIZE];
    mem_auto char *text = NULL;
    size_t size;
    if (scene_labels_locate(pack->source.root, from, NULL) != IJ_OK)
        return IJ_OK;
    snprintf(to, sizeof to, "%s/scenes.json", pack->directory);
    IJ_TRY(file_read(from, SCENES_BYTES_MAX, &text, &size, reterr_err));
    return file_write_durable(to, text, size, 0644, reterr_err);
}

static enum ij_status fill(struct pack *pack, const char *path, const char *field,
                           struct ij_err *reterr_err)
{
    IJ_TRY(source_load(&pack->source, path, field, reterr_err));
    IJ_TRY(file_make_dirs(pack->directory, 0755, reterr_err));
    fd_auto int lock = open(pack->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "directory", "cannot lock %s%s", pack->directory,
                          errno == EWOULDBLOCK ? " (is another one packing there?)" : "");
    IJ_TRY(look_round(pack, reterr_err));
    IJ_TRY(plan(pack, reterr_err));
    IJ_TRY(make_shards(pack, reterr_err));
    IJ_TRY(copy_scenes(pack, reterr_err));
    return write_index(pack, reterr_err);
}

/* One split: the images of `path` into `directory`, or its sub-folder `split`. */
static enum ij_status pack_split(const struct engine_pack *options, const char *path,
                                 const char *field, const char *split,
                                 void (*report)(void *user, const char *line), void *user,
                                 struct ij_err *reterr_err)
{
    struct pack pack = {.shard_bytes = options->shard_bytes ? options->shard_bytes : SHARD_BYTES,
                        .report = report,
                        .user = user};
    int n = snprintf(pack.directory, sizeof pack.directory, "%s%s%s", options->directory,
                     *split ? "/" : "", split);
    if (n <= 0 || (size_t)n >= sizeof pack.directory)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "must be a path of 1 to %d bytes",
                            ENGINE_PATH_MAX - 1);
    enum ij_status status = fill(&pack, path, field, reterr_err);
    source_done(&pack.source);
    mem_free(pack.entries);
    mem_free(pack.shards);
    mem_free(pack.buffer.data);
    return status;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum ij_status engine_pack(const struct engine_pack *options,
                           void (*report)(void *user, const char *line), void *user,
                           struct ij_err *reterr_err)
{
    struct engine_data data = {.labels = ENGINE_LABELS_NONE};
    struct source_place place;
    if ((size_t)snprintf(data.path, sizeof data.path, "%s", options->dataset) >= sizeof data.path)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "dataset", "must be a path of 1 to %d bytes",
                            ENGINE_PATH_MAX - 1);
    IJ_TRY(source_place_find(&data, false, &place, reterr_err));
    if (!place.peer[0])
        return pack_split(options, place.path, "dataset", "", report, user, reterr_err);
    IJ_TRY(pack_split(options, place.path, "dataset", last_part(place.path), report, user,
                      reterr_err));
    return pack_split(options, place.peer, "dataset", last_part(place.peer), report, user,
                      reterr_err);
}
