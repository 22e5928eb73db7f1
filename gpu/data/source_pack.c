/* Packed datasets, reading: see pack_format.h. Every number is checked before it is used. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/pack_format.h"
#include "gpu/data/source.h"

#define INDEX_BYTES_MAX                                                                            \
    (sizeof(struct pack_index) + PACK_SHARDS_MAX * sizeof(struct pack_shard) +                     \
     (uint64_t)SOURCE_ITEMS_MAX * sizeof(struct pack_entry) + PACK_TEXT_MAX + HASH_SIZE)

/* The parts of an index in memory. */
struct parts {
    struct pack_index head;
    const uint8_t *shards, *entries;
    const char *text;
};

static enum ij_status corrupt(const struct source *source, const char *what,
                              struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, source->field, "%s/" PACK_INDEX_NAME ": %s",
                        source->root, what);
}

static struct pack_shard shard_at(const struct parts *parts, uint32_t i)
{
    struct pack_shard shard;
    memcpy(&shard, parts->shards + i * sizeof shard, sizeof shard);
    return shard;
}

/* Sizes and the hash; afterwards the parts lie inside the `size` bytes. */
static enum ij_status take_apart(const struct source *source, const uint8_t *data, size_t size,
                                 struct parts *ret_parts, struct ij_err *reterr_err)
{
    struct pack_index *head = &ret_parts->head;
    uint8_t hash[HASH_SIZE];
    if (size < sizeof *head + HASH_SIZE)
        return corrupt(source, "it ends within its head", reterr_err);
    memcpy(head, data, sizeof *head);
    if (memcmp(head->magic, PACK_INDEX_MAGIC, sizeof head->magic) != 0)
        return corrupt(source, "it does not begin as an index of this version does", reterr_err);
    if (head->images > SOURCE_ITEMS_MAX || head->shards > PACK_SHARDS_MAX ||
        head->text_bytes > PACK_TEXT_MAX || head->zero)
        return corrupt(source, "its head names more than the limits allow", reterr_err);
    uint64_t shards = head->shards * sizeof(struct pack_shard);
    uint64_t entries = head->images * sizeof(struct pack_entry);
    if (size != sizeof *head + shards + entries + head->text_bytes + HASH_SIZE)
        return corrupt(source, "its size is not what its head says", reterr_err);
    hash_bytes(data, size - HASH_SIZE, hash);
    if (memcmp(hash, data + size - HASH_SIZE, HASH_SIZE) != 0)
        return corrupt(source, "its SHA-256 does not fit", reterr_err);
    ret_parts->shards = data + sizeof *head;
    ret_parts->entries = ret_parts->shards + shards;
    ret_parts->text = (const char *)ret_parts->entries + entries;
    if (head->text_bytes && ret_parts->text[head->text_bytes - 1] != '\0')
        return corrupt(source, "its texts do not end", reterr_err);
    return IJ_OK;
}

static enum ij_status add_shards(struct source *source, const struct parts *parts,
                                 struct ij_err *reterr_err)
{
    for (uint32_t i = 0; i < parts->head.shards; i++) {
        char name[PACK_NAME_SIZE];
        if (shard_at(parts, i).bytes > INT64_MAX / 2)
            return corrupt(source, "a shard's size is impossible", reterr_err);
        pack_shard_name(i, name);
        IJ_TRY(source_add_shard(source, name, reterr_err));
    }
    return IJ_OK;
}

/* The texts keep their offsets: they come first in the source's own block. */
static enum ij_status take_texts(struct source *source, const struct parts *parts,
                                 struct ij_err *reterr_err)
{
    size_t bytes = (size_t)parts->head.text_bytes;
    source->text = mem_array(char, bytes + 1);
    source->items = mem_array(struct source_item, parts->head.images + 1);
    if (!source->text || !source->items)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list of %llu images",
                      (unsigned long long)parts->head.images);
    memcpy(source->text, parts->text, bytes);
    source->text_size = bytes;
    source->text_capacity = bytes + 1;
    source->capacity = parts->head.images + 1;
    return IJ_OK;
}

static enum ij_status check_entry(const struct source *source, const struct parts *parts,
                                  const struct pack_entry *entry, struct ij_err *reterr_err)
{
    uint64_t texts = parts->head.text_bytes;
    if (entry->name >= texts || (entry->class_name != PACK_NO_CLASS && entry->class_name >= texts))
        return corrupt(source, "a name lies outside its texts", reterr_err);
    if (entry->shard >= parts->head.shards)
        return corrupt(source, "an image lies in a shard that does not exist", reterr_err);
    uint64_t bytes = shard_at(parts, entry->shard).bytes, first = sizeof(struct pack_head);
    if (entry->size > DATASET_FILE_BYTES_MAX || entry->offset < first ||
        entry->offset - first > bytes || entry->size > bytes - (entry->offset - first))
        return corrupt(source, "an image reaches beyond its shard", reterr_err);
    if (source->count && strcmp(source_text(source, source->items[source->count - 1].name),
                                source_text(source, entry->name)) > 0)
        return corrupt(source, "its names are not in order", reterr_err);
    return IJ_OK;
}

enum ij_status source_pack_parse(struct source *source, const uint8_t *data, size_t size,
                                 struct ij_err *reterr_err)
{
    struct parts parts;
    IJ_TRY(take_apart(source, data, size, &parts, reterr_err));
    IJ_TRY(take_texts(source, &parts, reterr_err));
    for (uint64_t i = 0; i < parts.head.images; i++) {
        struct pack_entry entry;
        memcpy(&entry, parts.entries + i * sizeof entry, sizeof entry);
        IJ_TRY(check_entry(source, &parts, &entry, reterr_err));
        source->items[source->count++] = (struct source_item){
            .name = entry.name,
            .class_name = entry.class_name == PACK_NO_CLASS ? SOURCE_NO_CLASS : entry.class_name,
            .offset = entry.offset,
            .size = entry.size,
            .shard = entry.shard,
            .label = -1,
        };
    }
    return add_shards(source, &parts, reterr_err);
}

/* Size, kind and key of a shard's file. */
static enum ij_status check_shard(const struct source *source, uint32_t i,
                                  const struct pack_shard *want, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    struct pack_head head;
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", source->root, source_text(source, source->shards[i]));
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot open shard %s", path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != sizeof head + want->bytes + HASH_SIZE)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, source->field,
                            "shard %s has not the %llu bytes that its index says", path,
                            (unsigned long long)(sizeof head + want->bytes + HASH_SIZE));
    if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot read shard %s", path);
    if (memcmp(head.magic, PACK_SHARD_MAGIC, sizeof head.magic) != 0 || head.bytes != want->bytes ||
        memcmp(head.key, want->key, HASH_SIZE) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, source->field,
                            "shard %s does not belong to its index", path);
    return IJ_OK;
}

enum ij_status source_pack_load(struct source *source, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    mem_auto char *data = NULL;
    struct parts parts;
    size_t size;
    snprintf(path, sizeof path, "%s/" PACK_INDEX_NAME, source->root);
    IJ_TRY(file_read(path, INDEX_BYTES_MAX, &data, &size, reterr_err));
    IJ_TRY(source_pack_parse(source, (const uint8_t *)data, size, reterr_err));
    parts.shards = (const uint8_t *)data + sizeof parts.head;
    for (uint32_t i = 0; i < source->shard_count; i++) {
        struct pack_shard shard = shard_at(&parts, i);
        IJ_TRY(check_shard(source, i, &shard, reterr_err));
    }
    return IJ_OK;
}
