/* The bytes of one image of a source: a file of its own, or a part of a shard. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/data/source.h"

static enum ij_status open_file(const struct source *source, const struct source_item *item,
                                int *ret_fd, uint64_t *ret_size, struct ij_err *reterr_err)
{
    const char *name = source_text(
        source, item->shard == SOURCE_NO_SHARD ? item->name : source->shards[item->shard]);
    char path[4 * ENGINE_PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : source->root,
             *name == '/' ? "" : "/", name);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_IO, source->field, "%s is not a file", path);
    *ret_size = item->shard == SOURCE_NO_SHARD ? (uint64_t)st.st_size : item->size;
    *ret_fd = FD_TAKE(fd);
    return IJ_OK;
}

static enum ij_status make_room(struct dataset_buffer *buffer, size_t size,
                                struct ij_err *reterr_err)
{
    if (size <= buffer->capacity)
        return IJ_OK;
    size_t capacity = size + size / 2;
    uint8_t *grown = mem_grow(buffer->data, capacity, 1);
    if (!grown)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read an image of %zu bytes", size);
    buffer->data = grown;
    buffer->capacity = capacity;
    return IJ_OK;
}

enum ij_status source_read(const struct source *source, size_t i, struct dataset_buffer *buffer,
                           struct ij_err *reterr_err)
{
    IJ_ASSERT(i < source->count);
    const struct source_item *item = &source->items[i];
    fd_auto int fd = -1;
    uint64_t size;
    IJ_TRY(open_file(source, item, &fd, &size, reterr_err));
    if (size > DATASET_FILE_BYTES_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, source->field, "%llu bytes, more than %u",
                            (unsigned long long)size, DATASET_FILE_BYTES_MAX);
    IJ_TRY(make_room(buffer, (size_t)size + 1, reterr_err));
    for (buffer->size = 0; buffer->size < size;) {
        ssize_t n = pread(fd, buffer->data + buffer->size, size - buffer->size,
                          (off_t)(item->offset + buffer->size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot read %s",
                              source_text(source, item->name));
        if (n == 0)
            break; /* it shrank since it was listed; the decoder will say so */
        buffer->size += (size_t)n;
    }
    return IJ_OK;
}
