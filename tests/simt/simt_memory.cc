/*
 * "Device" memory: one region of addresses that only kernels, copies and products may touch. While
 * no such call runs the region is closed, so that host code which follows a device pointer ends
 * with a fault, as it would on a GPU.
 */
#include "tests/simt/simt_memory.h"

#include "tests/simt/simt_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCKS_MAX = 65536 };
static const size_t REGION = (size_t)32 << 30, POISON_MAX = (size_t)16 << 20, PAGE = 4096;

struct block {
    size_t offset, size;
    bool used;
};

static unsigned char *region;
static struct block blocks[BLOCKS_MAX];
static int block_count, used_count, open_count;
static size_t top, used_bytes, peak_bytes;

static void fail(const char *what)
{
    fprintf(stderr, "simt: %s\n", what);
    abort();
}

static void protect(int protection)
{
    if (top > 0 && mprotect(region, (top + PAGE - 1) / PAGE * PAGE, protection) != 0)
        fail("device memory cannot be opened or closed");
}

void simt_memory_open(void)
{
    if (open_count++ == 0)
        protect(PROT_READ | PROT_WRITE);
}

void simt_memory_close(void)
{
    if (--open_count == 0)
        protect(PROT_NONE);
}

static struct block *find(size_t size)
{
    for (int i = 0; i < block_count; i++)
        if (!blocks[i].used && blocks[i].size == size)
            return &blocks[i];
    if (block_count == BLOCKS_MAX || top + size > REGION)
        return nullptr;
    struct block *b = &blocks[block_count++];
    *b = {top, size, false};
    top += size;
    return b;
}

size_t simt_memory_used(void)
{
    return used_bytes;
}

size_t simt_memory_peak(void)
{
    return peak_bytes;
}

void *simt_memory_take(size_t bytes)
{
    if (!region) {
        void *at =
            mmap(nullptr, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED)
            fail("no addresses for device memory");
        region = (unsigned char *)at;
    }
    struct block *b = find((bytes + 255) / 256 * 256);
    if (!b)
        return nullptr;
    b->used = true;
    used_bytes += b->size;
    peak_bytes = used_bytes > peak_bytes ? used_bytes : peak_bytes;
    used_count++;
    simt_memory_open();
    memset(region + b->offset, 0xff, b->size < POISON_MAX ? b->size : POISON_MAX);
    simt_memory_close();
    return region + b->offset;
}

void simt_memory_give(void *memory)
{
    if (!memory)
        return;
    size_t offset = (size_t)((unsigned char *)memory - region);
    int i = 0;
    while (i < block_count && (blocks[i].offset != offset || !blocks[i].used))
        i++;
    if (i == block_count)
        fail("memory was released that is not device memory");
    blocks[i].used = false;
    used_bytes -= blocks[i].size;
    if (--used_count > 0)
        return;
    (void)madvise(region, (top + PAGE - 1) / PAGE * PAGE, MADV_DONTNEED);
    block_count = 0;
    top = 0;
}
