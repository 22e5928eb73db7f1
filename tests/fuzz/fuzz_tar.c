/* Tar shards: as they are, and with checksums that fit. What is listed lies inside the file. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/data/source.h"

#define BLOCK 512u

static void load(const uint8_t *data, size_t size)
{
    char name[16];
    struct source source = {.root = "/proc/self/fd", .field = "data.path"};
    struct ij_err err = IJ_ERR_INIT;
    fd_auto int fd = memfd_create("fuzz", MFD_CLOEXEC);
    IJ_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(name, sizeof name, "%d", fd);
    if (source_tar_load(&source, name, &err) != IJ_OK)
        IJ_ASSERT(err.text[0]);
    else
        for (size_t i = 0; i < source.count; i++)
            IJ_ASSERT(source.items[i].offset <= size &&
                      source.items[i].size <= size - source.items[i].offset &&
                      source.items[i].name < source.text_size);
    source_done(&source);
}

/* Writes the checksum that a header of these bytes must have. */
static void sum_up(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (unsigned i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum & 0777777);
}

const char fuzz_target[] = "tar";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load(data, size);
    mem_auto uint8_t *copy = mem_array(uint8_t, size + 1);
    IJ_ASSERT(copy);
    if (size)
        memcpy(copy, data, size);
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK)
        if (memcmp(copy + at + 257, "ustar", 5) == 0)
            sum_up(copy + at);
    load(copy, size);
    return 0;
}
