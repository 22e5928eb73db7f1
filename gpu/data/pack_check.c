/* engine_check_pack: does every byte of a pack still have its hash? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/data/pack_format.h"
#include "gpu/data/source.h"
#include "gpu/engine.h"

#define CHUNK ((size_t)1 << 20)

/* The hash over the images of the shard behind `fd`, which has `bytes` of them. */
static enum ij_status hash_shard(int fd, const char *path, uint64_t bytes, uint8_t *chunk,
                                 uint8_t ret_hash[HASH_SIZE], struct ij_err *reterr_err)
{
    struct hash hash;
    hash_init(&hash);
    for (uint64_t at = 0; at < bytes;) {
        size_t want = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;
        ssize_t n = pread(fd, chunk, want, (off_t)(sizeof(struct pack_head) + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return IJ_ERR_SYS(reterr_err, n < 0 ? errno : EIO, "data.path", "cannot read %s", path);
        hash_update(&hash, chunk, (size_t)n);
        at += (uint64_t)n;
    }
    hash_final(&hash, ret_hash);
    return IJ_OK;
}

static enum ij_status check_shard(const struct source *source, uint32_t i, uint8_t *chunk,
                                  void (*report)(void *user, const char *line), void *user,
                                  struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX], line[2 * ENGINE_PATH_MAX + 64];
    uint8_t stated[HASH_SIZE], found[HASH_SIZE];
    struct pack_head head;
    snprintf(path, sizeof path, "%s/%s", source->root, source_text(source, source->shards[i]));
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        pread(fd, stated, HASH_SIZE, (off_t)(sizeof head + head.bytes)) != HASH_SIZE)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot read shard %s", path);
    IJ_TRY(hash_shard(fd, path, head.bytes, chunk, found, reterr_err));
    if (memcmp(stated, found, HASH_SIZE) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, source->field,
                            "shard %s: its SHA-256 does not fit", path);
    snprintf(line, sizeof line, "%s: %llu bytes are sound", path, (unsigned long long)head.bytes);
    report(user, line);
    return IJ_OK;
}

static enum ij_status check_split(const char *path, void (*report)(void *user, const char *line),
                                  void *user, struct ij_err *reterr_err)
{
    enum source_kind kind;
    struct source source = {0};
    IJ_TRY(source_classify(path, "dataset", &kind, reterr_err));
    if (kind != SOURCE_PACK)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "dataset", "%s is no packed dataset", path);
    mem_auto uint8_t *chunk = mem_array(uint8_t, CHUNK);
    if (!chunk)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to check %s", path);
    enum ij_status status = source_load(&source, path, "dataset", reterr_err);
    for (uint32_t i = 0; status == IJ_OK && i < source.shard_count; i++)
        status = check_shard(&source, i, chunk, report, user, reterr_err);
    source_done(&source);
    return status;
}

enum ij_status engine_check_pack(const char *directory,
                                 void (*report)(void *user, const char *line), void *user,
                                 struct ij_err *reterr_err)
{
    struct engine_data data = {.labels = ENGINE_LABELS_NONE};
    struct source_place place;
    if ((size_t)snprintf(data.path, sizeof data.path, "%s", directory) >= sizeof data.path)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "dataset", "must be a path of 1 to %d bytes",
                            ENGINE_PATH_MAX - 1);
    IJ_TRY(source_place_find(&data, false, &place, reterr_err));
    IJ_TRY(check_split(place.path, report, user, reterr_err));
    return place.peer[0] ? check_split(place.peer, report, user, reterr_err) : IJ_OK;
}
