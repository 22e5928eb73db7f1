/* See checkpoint_file.h. */
#include "gpu/checkpoint/checkpoint_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define BLOCK_BYTES ((size_t)1 << 20)

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum ij_status hash_descriptor(int fd, const char *path, struct hash *hash,
                                      struct ij_err *reterr_err)
{
    mem_auto uint8_t *block = mem_alloc_aligned(64, BLOCK_BYTES);
    if (!block)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", path);
    for (;;) {
        ssize_t n = read(fd, block, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, file_name(path), "cannot read %s", path);
        if (n == 0)
            return IJ_OK;
        hash_update(hash, block, (size_t)n);
    }
}

enum ij_status checkpoint_file_hash(const char *path, uint64_t bytes, uint8_t ret_digest[HASH_SIZE],
                                    struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file_name(path), "%s is missing", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, file_name(path), "cannot open %s", path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file_name(path),
                            "%s has %lld bytes, expected %" PRIu64, path, (long long)st.st_size,
                            bytes);
    struct hash hash;
    hash_init(&hash);
    IJ_TRY(hash_descriptor(fd, path, &hash, reterr_err));
    hash_final(&hash, ret_digest);
    return IJ_OK;
}

void checkpoint_file_combine(uint8_t digests[CHECKPOINT_SECTION_COUNT + 1][HASH_SIZE],
                             char ret_hex[HASH_HEX_SIZE])
{
    uint8_t digest[HASH_SIZE];
    hash_bytes(digests, (CHECKPOINT_SECTION_COUNT + 1) * (size_t)HASH_SIZE, digest);
    hash_hex(digest, ret_hex);
}
