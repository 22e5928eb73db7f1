/* Files of torch.save: a zip archive with a pickle. What opens lies inside the file; a pickle
 * alone is put into an archive that fits, so that the stack machine sees it. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/interop/torch_file.h"

#define COUNT_MAX   65536 /* values copied of one tensor */
#define STORAGE     256   /* bytes of the one storage of a wrapped pickle */
#define ENTRIES     2
#define RECORDS_MAX 512

static void read_all(const struct torch_file *file)
{
    int64_t epoch = -1;
    for (size_t i = 0; i < torch_file_count(file); i++) {
        const struct safetensors_tensor *t = torch_file_at(file, i);
        unsigned sum = 0;
        for (uint64_t b = 0; b < t->bytes; b += 511)
            sum += ((const uint8_t *)t->data)[b];
        if (t->bytes)
            sum += ((const uint8_t *)t->data)[t->bytes - 1];
        IJ_ASSERT(sum < UINT32_MAX && t->name[0]);
        if (t->count == 0 || t->count > COUNT_MAX)
            continue;
        mem_auto float *values = mem_array(float, (size_t)t->count);
        IJ_ASSERT(values);
        (void)!safetensors_copy_f32(t, values, t->count, NULL);
    }
    (void)torch_file_integer(file, "epoch", &epoch);
}

static void open_bytes(const uint8_t *data, size_t size)
{
    char path[64];
    struct torch_file *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    fd_auto int fd = memfd_create("fuzz", MFD_CLOEXEC);
    IJ_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum ij_status status = torch_file_open(path, &file, &err);
    if (status == IJ_OK)
        read_all(file);
    else
        IJ_ASSERT(err.text[0]);
    torch_file_free(file);
}

/* ---- An archive round a pickle --------------------------------------------------------------- */

struct archive {
    uint8_t *bytes;
    size_t size;
};

static void put(struct archive *a, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        a->bytes[a->size++] = (uint8_t)(value >> 8 * i);
}

static void put_block(struct archive *a, const void *data, size_t size)
{
    memcpy(a->bytes + a->size, data, size);
    a->size += size;
}

static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* The fields that a local header and a central record share, and the sizes of a stored entry. */
static void put_common(struct archive *a, const char *name, uint32_t crc, size_t size)
{
    put(a, 20, 2);
    put(a, 0, 2 + 2 + 2 + 2); /* flags, stored, time, date */
    put(a, crc, 4);
    put(a, size, 4);
    put(a, size, 4);
    put(a, strlen(name), 2);
    put(a, 0, 2);
}

static void wrap(const uint8_t *pickle, size_t size)
{
    static const uint8_t zeros[STORAGE];
    const struct {
        const char *name;
        const uint8_t *data;
        size_t size;
    } entries[ENTRIES] = {{"a/data.pkl", pickle, size}, {"a/data/0", zeros, STORAGE}};
    size_t at[ENTRIES], directory;
    mem_auto uint8_t *bytes = mem_array(uint8_t, size + STORAGE + RECORDS_MAX);
    struct archive a = {bytes, 0};
    IJ_ASSERT(bytes);
    for (int i = 0; i < ENTRIES; i++) {
        at[i] = a.size;
        put(&a, 0x04034b50, 4);
        put_common(&a, entries[i].name, checksum(entries[i].data, entries[i].size),
                   entries[i].size);
        put_block(&a, entries[i].name, strlen(entries[i].name));
        put_block(&a, entries[i].data, entries[i].size);
    }
    directory = a.size;
    for (int i = 0; i < ENTRIES; i++) {
        put(&a, 0x02014b50, 4);
        put(&a, 20, 2);
        put_common(&a, entries[i].name, checksum(entries[i].data, entries[i].size),
                   entries[i].size);
        put(&a, 0, 2 + 2 + 2); /* comment, disk, internal attributes */
        put(&a, 0, 4);
        put(&a, at[i], 4);
        put_block(&a, entries[i].name, strlen(entries[i].name));
    }
    size_t length = a.size - directory;
    put(&a, 0x06054b50, 4);
    put(&a, 0, 4);
    put(&a, ENTRIES, 2);
    put(&a, ENTRIES, 2);
    put(&a, length, 4);
    put(&a, directory, 4);
    put(&a, 0, 2);
    open_bytes(a.bytes, a.size);
}

const char fuzz_target[] = "torch";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_bytes(data, size);
    wrap(data, size);
    return 0;
}
