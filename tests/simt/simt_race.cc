/*
 * Finds races in shared memory: two threads of a block touch the same place, one of them writes,
 * and neither a barrier of the block nor, within a warp, __syncwarp lies between. A shuffle is no
 * barrier for memory. Whatever the order was in which the fibres ran, the race is seen.
 *
 * The kernels are compiled with -fsanitize=thread, which makes every access call a function; these
 * are the functions. Memory of the device and of a thread's own is not looked at.
 */
#include "tests/simt/simt_race.h"

#include <stdio.h>
#include <string.h>

#include "tests/simt/simt_control.h"

enum { UNIT = 2, SHARED_UNITS = (227 << 10) / UNIT, STATIC_UNITS = 1 << 14, WARP = 32 };
enum { NOBODY = -1, WARP_MATES = -2, MANY = -3 }; /* beside thread numbers */

/* The last access of its kind to a unit. */
struct access {
    uint64_t block;
    uint32_t barriers, syncs;
    int thread, warp;
};
struct unit {
    uintptr_t address;
    struct access write, read;
};

struct simt_place simt_here = {0, 0, 0, NOBODY};

static struct unit shared_units[SHARED_UNITS], static_units[STATIC_UNITS];
static uintptr_t shared_begin, shared_end;
static bool watching = true;
extern char __data_start[], _end[]; /* the program's variables: static shared memory is there */

void simt_watch_races(bool on)
{
    watching = on;
}

void simt_race_shared(const unsigned char *memory, size_t bytes)
{
    shared_begin = (uintptr_t)memory;
    shared_end = shared_begin + bytes;
}

static struct unit *unit_at(uintptr_t address)
{
    struct unit *unit;
    if (address >= shared_begin && address < shared_end)
        unit = &shared_units[(address - shared_begin) / UNIT];
    else if (address >= (uintptr_t)__data_start && address < (uintptr_t)_end)
        unit = &static_units[address / UNIT % STATIC_UNITS];
    else
        return nullptr;
    if (unit->address != address / UNIT) {
        memset(unit, 0, sizeof(*unit));
        unit->address = address / UNIT;
    }
    return unit;
}

/* Did another thread do that, with nothing between it and what is done now? */
static bool is_race(const struct access &a)
{
    const struct simt_place &h = simt_here;
    if (a.block != h.block || a.barriers != h.barriers || a.thread == h.thread)
        return false;
    return a.thread == MANY || a.warp != h.thread / WARP || a.syncs == h.syncs;
}

/* Of several readers it is enough to know whether they are of one warp. */
static void note(struct access *a)
{
    const struct simt_place &h = simt_here;
    bool same = a->block == h.block && a->barriers == h.barriers;
    int warp = h.thread / WARP, thread = h.thread;
    if (same && a->thread != h.thread)
        thread = a->thread == MANY || a->warp != warp ? MANY
                 : a->syncs == h.syncs                ? WARP_MATES
                                                      : h.thread;
    *a = {h.block, h.barriers, h.syncs, thread, warp};
}

static void touch(const void *memory, size_t bytes, bool write)
{
    if (!watching || simt_here.thread == NOBODY)
        return;
    uintptr_t first = (uintptr_t)memory / UNIT * UNIT, end = (uintptr_t)memory + bytes;
    for (uintptr_t at = first; at < end; at += UNIT) {
        struct unit *unit = unit_at(at);
        if (!unit)
            return;
        if (is_race(unit->write) || (write && is_race(unit->read))) {
            fprintf(stderr, "simt: shared memory %s by thread %d, and written or read by %d\n",
                    write ? "written" : "read", simt_here.thread,
                    is_race(unit->write) ? unit->write.thread : unit->read.thread);
            simt_fail("race in shared memory: no barrier between");
        }
        note(write ? &unit->write : &unit->read);
    }
}

extern "C" {
#define HOOKS(bytes)                                                                               \
    void __tsan_read##bytes(const void *at)                                                        \
    {                                                                                              \
        touch(at, bytes, false);                                                                   \
    }                                                                                              \
    void __tsan_write##bytes(void *at)                                                             \
    {                                                                                              \
        touch(at, bytes, true);                                                                    \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(const void *at)                                              \
    {                                                                                              \
        touch(at, bytes, false);                                                                   \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *at)                                                   \
    {                                                                                              \
        touch(at, bytes, true);                                                                    \
    }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(const void *at, size_t bytes)
{
    touch(at, bytes, false);
}
void __tsan_write_range(void *at, size_t bytes)
{
    touch(at, bytes, true);
}
void __tsan_init(void)
{
}
void __tsan_func_entry(void *)
{
}
void __tsan_func_exit(void)
{
}
}
