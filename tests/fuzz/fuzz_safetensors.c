/* Tensor files: as they are, and with a header size that fits. What opens lies inside the file. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/checkpoint/safetensors.h"

#define COUNT_MAX 65536 /* values copied of one tensor */

static void read_all(const struct safetensors *file)
{
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *t = safetensors_at(file, i);
        unsigned sum = 0;
        for (uint64_t b = 0; b < t->bytes; b += 511)
            sum += ((const uint8_t *)t->data)[b];
        if (t->bytes)
            sum += ((const uint8_t *)t->data)[t->bytes - 1];
        IJ_ASSERT(sum < UINT32_MAX && safetensors_find(file, t->name));
        if (t->count == 0 || t->count > COUNT_MAX)
            continue;
        mem_auto float *values = mem_array(float, (size_t)t->count);
        IJ_ASSERT(values);
        (void)!safetensors_copy_f32(t, values, t->count, NULL);
    }
}

static void open_bytes(const uint8_t *data, size_t size)
{
    char path[64];
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    fd_auto int fd = memfd_create("fuzz", MFD_CLOEXEC);
    IJ_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum ij_status status = safetensors_open(path, &file, &err);
    if (status == IJ_OK)
        read_all(file);
    else
        IJ_ASSERT(err.text[0]);
    safetensors_free(file);
}

const char fuzz_target[] = "safetensors";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_bytes(data, size);
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end)
        return 0;
    /* A header up to the first newline, then data: the size before it is made to fit. */
    uint64_t header = (uint64_t)(end - data);
    mem_auto uint8_t *whole = mem_array(uint8_t, size + 8);
    IJ_ASSERT(whole);
    for (int i = 0; i < 8; i++)
        whole[i] = (uint8_t)(header >> 8 * i);
    memcpy(whole + 8, data, size);
    open_bytes(whole, size + 8);
    return 0;
}
