/* See zip_stored.h. Field offsets are those of the format's specification (APPNOTE.TXT). */
#include "gpu/interop/zip_stored.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"

#define END_SIZE       22
#define END_SEARCH     (END_SIZE + 65535)
#define LOCATOR_SIZE   20
#define END64_SIZE     56
#define CENTRAL_SIZE   46
#define LOCAL_SIZE     30
#define SIGN_END       0x06054b50u
#define SIGN_LOCATOR   0x07064b50u
#define SIGN_END64     0x06064b50u
#define SIGN_CENTRAL   0x02014b50u
#define SIGN_LOCAL     0x04034b50u
#define FLAG_ENCRYPTED 1u
#define EXTRA_ZIP64    1u
#define NAME_MAX_SHOWN 80

struct zip_stored {
    char *path;
    const uint8_t *map;
    uint64_t size;
    struct zip_stored_entry *entries;
    const struct zip_stored_entry **sorted;
    size_t count;
};

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static enum ij_status refuse(const struct zip_stored *zip, const char *what,
                             struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, zip->path, "%s: %s", zip->path, what);
}

static bool inside(const struct zip_stored *zip, uint64_t offset, uint64_t bytes)
{
    return offset <= zip->size && bytes <= zip->size - offset;
}

/* ---- The end of the archive ------------------------------------------------------------------ */

struct directory {
    uint64_t count, size, offset;
};

static enum ij_status find_end(const struct zip_stored *zip, uint64_t *ret_offset,
                               struct ij_err *reterr_err)
{
    uint64_t lowest = zip->size > END_SEARCH ? zip->size - END_SEARCH : 0;
    if (zip->size >= END_SIZE)
        for (uint64_t at = zip->size - END_SIZE + 1; at-- > lowest;)
            if (get(zip->map + at, 4) == SIGN_END &&
                at + END_SIZE + get(zip->map + at + 20, 2) == zip->size) {
                *ret_offset = at;
                return IJ_OK;
            }
    return refuse(zip, "no zip archive, or a truncated one: its end record is missing", reterr_err);
}

static enum ij_status read_end64(const struct zip_stored *zip, uint64_t end,
                                 struct directory *ret_directory, struct ij_err *reterr_err)
{
    const uint8_t *locator = zip->map + end - LOCATOR_SIZE;
    if (end < LOCATOR_SIZE || get(locator, 4) != SIGN_LOCATOR)
        return refuse(zip, "the zip64 locator is missing", reterr_err);
    uint64_t at = get(locator + 8, 8);
    if (!inside(zip, at, END64_SIZE) || get(zip->map + at, 4) != SIGN_END64)
        return refuse(zip, "the zip64 end record is missing", reterr_err);
    const uint8_t *record = zip->map + at;
    *ret_directory =
        (struct directory){get(record + 32, 8), get(record + 40, 8), get(record + 48, 8)};
    return IJ_OK;
}

static enum ij_status read_directory(const struct zip_stored *zip, struct directory *ret_directory,
                                     struct ij_err *reterr_err)
{
    uint64_t end = 0;
    IJ_TRY(find_end(zip, &end, reterr_err));
    const uint8_t *record = zip->map + end;
    *ret_directory =
        (struct directory){get(record + 10, 2), get(record + 12, 4), get(record + 16, 4)};
    bool large = ret_directory->count == 0xffff || ret_directory->size == 0xffffffff ||
                 ret_directory->offset == 0xffffffff;
    if (get(record + 4, 2) != 0 && get(record + 4, 2) != 0xffff)
        return refuse(zip, "the archive is spread over several disks", reterr_err);
    if (large)
        IJ_TRY(read_end64(zip, end, ret_directory, reterr_err));
    if (!inside(zip, ret_directory->offset, ret_directory->size))
        return refuse(zip, "the central directory lies outside the file", reterr_err);
    if (ret_directory->count > ZIP_STORED_ENTRIES_MAX ||
        ret_directory->count > ret_directory->size / CENTRAL_SIZE)
        return refuse(zip, "more entries than the central directory can hold", reterr_err);
    return IJ_OK;
}

/* ---- One entry ------------------------------------------------------------------------------- */

struct central {
    uint64_t flags, method, packed, size, offset;
    const uint8_t *name, *extra;
    size_t name_size, extra_size;
};

/* Values that did not fit 32 bits are in an extra field, in this order. False: it lacks one. */
static bool widen(struct central *c)
{
    uint64_t *wide[] = {&c->size, &c->packed, &c->offset};
    for (size_t at = 0; at + 4 <= c->extra_size;) {
        uint64_t id = get(c->extra + at, 2), size = get(c->extra + at + 2, 2);
        size_t value = at + 4;
        at += 4 + size;
        if (at > c->extra_size)
            return false;
        for (size_t i = 0; id == EXTRA_ZIP64 && i < COUNT_OF(wide); i++) {
            if (*wide[i] != 0xffffffff)
                continue;
            if (value + 8 > at)
                return false;
            *wide[i] = get(c->extra + value, 8);
            value += 8;
        }
    }
    return c->size != 0xffffffff && c->packed != 0xffffffff && c->offset != 0xffffffff;
}

static const char *check_central(const struct central *c)
{
    if (c->flags & FLAG_ENCRYPTED)
        return "it is encrypted";
    if (c->method != 0)
        return "it is compressed; PyTorch stores entries as they are";
    return c->packed == c->size ? NULL : "its two sizes differ";
}

/* Follows an entry to its data. NULL, or what is wrong. */
static const char *locate(const struct zip_stored *zip, const struct central *c, uint64_t data_end,
                          struct zip_stored_entry *ret_entry)
{
    const char *wrong = check_central(c);
    if (wrong)
        return wrong;
    if (!inside(zip, c->offset, LOCAL_SIZE) || get(zip->map + c->offset, 4) != SIGN_LOCAL)
        return "its local header is missing";
    const uint8_t *local = zip->map + c->offset;
    uint64_t name_size = get(local + 26, 2), extra_size = get(local + 28, 2);
    uint64_t data = c->offset + LOCAL_SIZE + name_size + extra_size;
    if (!inside(zip, c->offset + LOCAL_SIZE, name_size) || name_size != c->name_size ||
        memcmp(local + LOCAL_SIZE, c->name, name_size) != 0)
        return "its local header has another name";
    if (data > data_end || c->size > data_end - data)
        return "its data lies outside the file";
    *ret_entry =
        (struct zip_stored_entry){(const char *)c->name, c->name_size, zip->map + data, c->size};
    return NULL;
}

static enum ij_status read_entries(struct zip_stored *zip, const struct directory *directory,
                                   struct ij_err *reterr_err)
{
    uint64_t at = directory->offset, end = directory->offset + directory->size;
    for (uint64_t i = 0; i < directory->count; i++) {
        const uint8_t *record = zip->map + at;
        if (end - at < CENTRAL_SIZE || get(record, 4) != SIGN_CENTRAL)
            return refuse(zip, "the central directory is broken", reterr_err);
        struct central c = {.flags = get(record + 8, 2),
                            .method = get(record + 10, 2),
                            .packed = get(record + 20, 4),
                            .size = get(record + 24, 4),
                            .offset = get(record + 42, 4),
                            .name = record + CENTRAL_SIZE,
                            .name_size = get(record + 28, 2),
                            .extra_size = get(record + 30, 2)};
        uint64_t rest = c.name_size + c.extra_size + get(record + 32, 2);
        if (rest > end - at - CENTRAL_SIZE)
            return refuse(zip, "the central directory is broken", reterr_err);
        c.extra = c.name + c.name_size;
        at += CENTRAL_SIZE + rest;
        const char *wrong = widen(&c) ? locate(zip, &c, directory->offset, &zip->entries[i])
                                      : "its zip64 sizes are missing";
        if (wrong)
            return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, zip->path, "%s: entry \"%.*s\": %s",
                                zip->path,
                                (int)(c.name_size < NAME_MAX_SHOWN ? c.name_size : NAME_MAX_SHOWN),
                                (const char *)c.name, wrong);
    }
    zip->count = directory->count;
    return IJ_OK;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static int compare_names(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_entries(const void *a, const void *b)
{
    const struct zip_stored_entry *x = *(const struct zip_stored_entry *const *)a;
    const struct zip_stored_entry *y = *(const struct zip_stored_entry *const *)b;
    return compare_names(x->name, x->name_size, y->name, y->name_size);
}

static enum ij_status sort_names(struct zip_stored *zip, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < zip->count; i++)
        zip->sorted[i] = &zip->entries[i];
    qsort(zip->sorted, zip->count, sizeof *zip->sorted, compare_entries);
    for (size_t i = 1; i < zip->count; i++)
        if (compare_entries(&zip->sorted[i - 1], &zip->sorted[i]) == 0)
            return refuse(zip, "two entries have the same name", reterr_err);
    return IJ_OK;
}

/* ---- Open ------------------------------------------------------------------------------------ */

static enum ij_status map_file(struct zip_stored *zip, const char *path, struct ij_err *reterr_err)
{
    struct stat st;
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return refuse(zip, "not a file with content", reterr_err);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot map %s", path);
    zip->map = map;
    zip->size = (uint64_t)st.st_size;
    return IJ_OK;
}

static enum ij_status read_all(struct zip_stored *zip, struct ij_err *reterr_err)
{
    struct directory directory;
    IJ_TRY(map_file(zip, zip->path, reterr_err));
    IJ_TRY(read_directory(zip, &directory, reterr_err));
    zip->entries = mem_array(struct zip_stored_entry, directory.count + 1);
    zip->sorted = mem_array(const struct zip_stored_entry *, directory.count + 1);
    if (!zip->entries || !zip->sorted)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the entries of %s", zip->path);
    IJ_TRY(read_entries(zip, &directory, reterr_err));
    return sort_names(zip, reterr_err);
}

enum ij_status zip_stored_open(const char *path, struct zip_stored **ret_zip,
                               struct ij_err *reterr_err)
{
    struct zip_stored *zip = mem_new(struct zip_stored);
    if (zip)
        zip->path = mem_strdup(path);
    if (!zip || !zip->path) {
        zip_stored_free(zip);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open %s", path);
    }
    enum ij_status status = read_all(zip, reterr_err);
    if (status != IJ_OK) {
        zip_stored_free(zip);
        return status;
    }
    *ret_zip = zip;
    return IJ_OK;
}

void zip_stored_free(struct zip_stored *zip)
{
    if (!zip)
        return;
    if (zip->map)
        munmap((void *)zip->map, zip->size);
    mem_free(zip->path);
    mem_free(zip->entries);
    mem_free(zip->sorted);
    mem_free(zip);
}

size_t zip_stored_count(const struct zip_stored *zip)
{
    return zip->count;
}

const struct zip_stored_entry *zip_stored_at(const struct zip_stored *zip, size_t index)
{
    IJ_ASSERT(index < zip->count);
    return &zip->entries[index];
}

const struct zip_stored_entry *zip_stored_find(const struct zip_stored *zip, const char *name,
                                               size_t name_size)
{
    size_t low = 0, high = zip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct zip_stored_entry *entry = zip->sorted[middle];
        int order = compare_names(name, name_size, entry->name, entry->name_size);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
