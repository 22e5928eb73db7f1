/*
 * Tar shards: the headers are scanned once, the members are read in place later.
 *
 * Understood: ustar (POSIX.1-1988), GNU long names ('L') and base-256 sizes, pax records `path` and
 * `size` (POSIX.1-2001). Members that are no regular files are stepped over; sparse ones are
 * refused. Every size is checked against the file's own before it is used.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/text.h"
#include "gpu/data/source.h"

#define TAR_BLOCK     512u
#define TAR_PAX_MAX   (1u << 20)
#define TAR_NAME_SIZE 100

struct tar_header {
    char name[TAR_NAME_SIZE], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char link[100], magic[8], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a tar header is one block");

struct tar {
    int fd;
    const char *file; /* the shard's name below the root */
    struct source *source;
    uint64_t bytes, offset;          /* size of the shard; where the next header stands */
    char next_name[ENGINE_PATH_MAX]; /* from a long-name or pax record; "" = none */
    uint64_t next_size;              /* from a pax record; UINT64_MAX = none */
};

static enum ij_status corrupt(const struct tar *tar, const char *what, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, tar->source->field, "shard %s/%s, offset %llu: %s",
                        tar->source->root, tar->file, (unsigned long long)tar->offset, what);
}

static enum ij_status read_at(const struct tar *tar, uint64_t offset, void *data, size_t size,
                              struct ij_err *reterr_err)
{
    for (size_t used = 0; used < size;) {
        ssize_t n = pread(tar->fd, (char *)data + used, size - used, (off_t)(offset + used));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, tar->source->field, "cannot read shard %s/%s",
                              tar->source->root, tar->file);
        if (n == 0)
            return corrupt(tar, "it ends in the middle of a member", reterr_err);
        used += (size_t)n;
    }
    return IJ_OK;
}

/* A numeric field: octal digits between blanks and NULs, or base 256 behind a byte 0x80. */
static bool parse_number(const char *field, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;
    if ((unsigned char)field[0] == 0x80) {
        for (i = 1; i < size; i++) {
            if (value >> 55)
                return false;
            value = value << 8 | (unsigned char)field[i];
        }
        *ret_value = value;
        return true;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0'); /* 12 digits fit easily */
    for (; i < size; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    *ret_value = value;
    return true;
}

static bool is_zero(const struct tar_header *header)
{
    const char *bytes = (const char *)header;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (bytes[i])
            return false;
    return true;
}

/* The sum of all bytes with the checksum field taken as blanks. */
static bool checksum_holds(const struct tar_header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    uint64_t stated, sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += bytes[i];
    for (size_t i = 0; i < sizeof(header->checksum); i++)
        sum += ' ' - (uint64_t)(unsigned char)header->checksum[i];
    return parse_number(header->checksum, sizeof(header->checksum), &stated) && stated == sum;
}

/* One pax record "<length> <key>=<value>\n"; returns its length, 0 where it is malformed. */
static size_t pax_record(struct tar *tar, char *record, size_t left)
{
    char *end;
    unsigned long length = strtoul(record, &end, 10);
    if (end == record || *end != ' ' || length > left || length < (size_t)(end - record) + 4 ||
        record[length - 1] != '\n')
        return 0;
    record[length - 1] = '\0';
    char *key = end + 1, *value = strchr(key, '=');
    if (!value)
        return 0;
    *value++ = '\0';
    if (strcmp(key, "path") == 0) {
        if (strlen(value) >= sizeof(tar->next_name))
            return 0;
        strcpy(tar->next_name, value);
    } else if (strcmp(key, "size") == 0 && !text_to_u64(value, &tar->next_size)) {
        return 0;
    }
    return length;
}

static enum ij_status read_pax(struct tar *tar, uint64_t size, struct ij_err *reterr_err)
{
    if (size > TAR_PAX_MAX)
        return corrupt(tar, "a pax header of more than 1 MiB", reterr_err);
    mem_auto char *data = mem_alloc_zero(size + 1, 1);
    if (!data)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a pax header");
    IJ_TRY(read_at(tar, tar->offset + TAR_BLOCK, data, size, reterr_err));
    for (size_t used = 0, n; used < size && data[used]; used += n)
        if ((n = pax_record(tar, data + used, size - used)) == 0)
            return corrupt(tar, "a malformed pax record", reterr_err);
    return IJ_OK;
}

static enum ij_status read_long_name(struct tar *tar, uint64_t size, struct ij_err *reterr_err)
{
    if (size == 0 || size >= sizeof(tar->next_name)) /* with or without a NUL at its end */
        return corrupt(tar, "a member name of no or more than 1,023 bytes", reterr_err);
    IJ_TRY(read_at(tar, tar->offset + TAR_BLOCK, tar->next_name, size, reterr_err));
    tar->next_name[size] = '\0';
    return IJ_OK;
}

static void member_name(const struct tar *tar, const struct tar_header *header, char *ret_name,
                        size_t size)
{
    bool ustar = memcmp(header->magic, "ustar", 6) == 0;
    if (tar->next_name[0])
        snprintf(ret_name, size, "%s", tar->next_name);
    else if (ustar && header->prefix[0])
        snprintf(ret_name, size, "%.155s/%.100s", header->prefix, header->name);
    else
        snprintf(ret_name, size, "%.100s", header->name);
}

/* The class: the folder that holds the member, or the shard's name without ".tar" if it ends so. */
static const char *member_class(const struct tar *tar, const char *name, size_t *ret_length)
{
    const char *end = strrchr(name, '/'), *start = end;
    while (start && start > name && start[-1] != '/')
        start--;
    if (start && start < end) {
        *ret_length = (size_t)(end - start);
        return start;
    }
    size_t n = strlen(tar->file), suffix = strlen(".tar");
    *ret_length = n > suffix && strcmp(tar->file + n - suffix, ".tar") == 0 ? n - suffix : n;
    return tar->file;
}

static enum ij_status add_member(struct tar *tar, const struct tar_header *header, uint64_t size,
                                 struct ij_err *reterr_err)
{
    char name[ENGINE_PATH_MAX], full[3 * ENGINE_PATH_MAX];
    member_name(tar, header, name, sizeof(name));
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    if (*base == '.' || !source_is_image_name(base))
        return IJ_OK;
    const char *clean = strncmp(name, "./", 2) == 0 ? name + 2 : name;
    snprintf(full, sizeof(full), "%s:%s", tar->file, clean);
    size_t length;
    const char *class_name = member_class(tar, clean, &length);
    struct source_item item = {
        .offset = tar->offset + TAR_BLOCK, .size = size, .shard = tar->source->shard_count - 1};
    return source_add(tar->source, full, class_name, length, &item, reterr_err);
}

static enum ij_status read_member(struct tar *tar, const struct tar_header *header,
                                  uint64_t *ret_size, struct ij_err *reterr_err)
{
    uint64_t size;
    bool extension =
        header->type == 'x' || header->type == 'g' || header->type == 'L' || header->type == 'K';
    if (!checksum_holds(header))
        return corrupt(tar, "the header's checksum is wrong", reterr_err);
    if (!parse_number(header->size, sizeof(header->size), &size))
        return corrupt(tar, "the size is no number", reterr_err);
    if (!extension && tar->next_size != UINT64_MAX)
        size = tar->next_size;
    if (size > tar->bytes - tar->offset - TAR_BLOCK)
        return corrupt(tar, "a member reaches beyond the end of the file", reterr_err);
    *ret_size = size;
    if (header->type == 'x')
        return read_pax(tar, size, reterr_err);
    if (header->type == 'L')
        return read_long_name(tar, size, reterr_err);
    if (extension)
        return IJ_OK;
    if (header->type == 'S')
        return corrupt(tar, "sparse members are not supported", reterr_err);
    if (header->type == '0' || header->type == '\0' || header->type == '7')
        IJ_TRY(add_member(tar, header, size, reterr_err));
    tar->next_name[0] = '\0';
    tar->next_size = UINT64_MAX;
    return IJ_OK;
}

static enum ij_status scan(struct tar *tar, struct ij_err *reterr_err)
{
    while (tar->offset + TAR_BLOCK <= tar->bytes) {
        struct tar_header header;
        uint64_t size = 0;
        IJ_TRY(read_at(tar, tar->offset, &header, sizeof(header), reterr_err));
        if (is_zero(&header))
            return IJ_OK;
        IJ_TRY(read_member(tar, &header, &size, reterr_err));
        tar->offset += TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    }
    if (tar->offset != tar->bytes)
        return corrupt(tar, "it ends in the middle of a block", reterr_err);
    return IJ_OK;
}

enum ij_status source_tar_load(struct source *source, const char *file, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", source->root, file);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot open shard %s", path);
    if (!S_ISREG(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field, "shard %s is not a file", path);
    IJ_TRY(source_add_shard(source, file, reterr_err));
    struct tar tar = {.fd = fd,
                      .file = file,
                      .source = source,
                      .bytes = (uint64_t)st.st_size,
                      .next_size = UINT64_MAX};
    return scan(&tar, reterr_err);
}

static int is_shard(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 4 && strcasecmp(entry->d_name + n - 4, ".tar") == 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

enum ij_status source_tar_load_folder(struct source *source, struct ij_err *reterr_err)
{
    struct dirent **entries;
    enum ij_status status = IJ_OK;
    int count = scandir(source->root, &entries, is_shard, compare_names);
    if (count < 0)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "cannot read %s", source->root);
    for (int i = 0; i < count; i++) {
        if (status == IJ_OK)
            status = source_tar_load(source, entries[i]->d_name, reterr_err);
        free(entries[i]);
    }
    free(entries);
    return status;
}
