/*
 * The fibres behind simt.h.
 *
 * A fibre is started once per block with makecontext and then switched with _setjmp/_longjmp,
 * which make no system call. The scheduler runs every ready fibre in turn, then lets those go on
 * that wait for something complete; if nothing can go on, the kernel's control flow diverged.
 */
#include "tests/simt/simt.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/simt/simt_memory.h"
#include "tests/simt/simt_race.h"

enum { THREADS_MAX = 1024, STACK_BYTES = 64 << 10, WARP = 32, SHARED_MAX = 227 << 10 };
enum { PAGE = 4096, SHARED_PAGES = (SHARED_MAX + PAGE - 1) / PAGE };
enum state { READY, AT_BARRIER, AT_EXCHANGE, DONE };

struct fibre {
    enum state state;
    bool started;
    jmp_buf here;
    ucontext_t context;
    unsigned exchanges;       /* how many this lane has begun */
    int words;                /* of the exchange it waits in */
    unsigned barriers, syncs; /* of the block and of the warp, that lie behind */
    dim3 index;
};

dim3 threadIdx, blockIdx, blockDim, gridDim;

static struct fibre fibres[THREADS_MAX];
static unsigned char *stacks;
static uint32_t slots[THREADS_MAX / WARP][2][WARP][SIMT_WORDS];
static unsigned char *shared_pages, *shared_memory; /* the memory ends where the pages do */
static jmp_buf scheduler;
static int current, thread_count;
static void (*thread_body)(const void *);
static const void *thread_user;
static unsigned turns; /* of the scheduler: each goes through the fibres in another order */

void simt_fail(const char *what)
{
    fprintf(stderr, "simt: block (%u, %u, %u), thread %d: %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
            current, what);
    abort();
}

unsigned char *simt_shared(void)
{
    return shared_memory;
}

int simt_lane(void)
{
    return current % WARP;
}

static void leave(enum state state)
{
    struct fibre *f = &fibres[current];
    f->state = state;
    if (_setjmp(f->here) == 0)
        _longjmp(scheduler, 1);
}

void simt_barrier(void)
{
    fibres[current].barriers++;
    leave(AT_BARRIER);
}

const uint32_t (*simt_exchange(unsigned mask, const uint32_t *words, int count))[SIMT_WORDS]
{
    struct fibre *f = &fibres[current];
    if (mask != 0xffffffffu)
        simt_fail("an exchange that names only some lanes is not modelled");
    unsigned turn = f->exchanges++ % 2;
    int warp = current / WARP;
    if (count > 0)
        memcpy(slots[warp][turn][current % WARP], words, (size_t)count * 4);
    f->words = count;
    f->syncs += count == 0;
    leave(AT_EXCHANGE);
    return slots[warp][turn];
}

/* Value `high` (0, 1) of a register of two bfloat16. */
static float half_of(uint32_t word, int high)
{
    return __uint_as_float(high ? word & 0xffff0000u : word << 16);
}

/* Element (row, column) of a: register 0 and 1 hold columns 0-7, 2 and 3 columns 8-15; odd ones
 * rows 8-15. Element (row, column) of b: register 0 holds rows 0-7, 1 rows 8-15. */
void simt_mma_16816(float *c, const unsigned *a, const unsigned *b)
{
    uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const uint32_t(*all)[SIMT_WORDS] = simt_exchange(0xffffffffu, words, 6);
    int group = simt_lane() / 4, pair = simt_lane() % 4;
    for (int i = 0; i < 4; i++) {
        int row = group + i / 2 * 8, column = 2 * pair + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            uint32_t left = all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            uint32_t right = all[column * 4 + k % 8 / 2][4 + k / 8];
            sum += half_of(left, k % 2) * half_of(right, k % 2);
        }
        c[i] += sum;
    }
}

static void fibre_main(void)
{
    thread_body(thread_user);
    fibres[current].state = DONE;
    _longjmp(scheduler, 1);
}

static void run_fibre(int index)
{
    struct fibre *f = &fibres[index];
    current = index;
    threadIdx = f->index;
    simt_here.thread = index;
    simt_here.barriers = f->barriers;
    simt_here.syncs = f->syncs;
    if (_setjmp(scheduler) != 0)
        return;
    if (f->started)
        _longjmp(f->here, 1);
    f->started = true;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stacks + (size_t)index * STACK_BYTES;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = nullptr;
    makecontext(&f->context, fibre_main, 0);
    setcontext(&f->context);
}

/* Lets the warps go on whose lanes all wait in the same exchange. */
static bool release_warps(void)
{
    bool any = false;
    for (int first = 0; first < thread_count; first += WARP) {
        int waiting = 0;
        for (int i = first; i < first + WARP; i++)
            waiting += fibres[i].state == AT_EXCHANGE && fibres[i].words == fibres[first].words;
        if (waiting < WARP)
            continue;
        for (int i = first; i < first + WARP; i++)
            fibres[i].state = READY;
        any = true;
    }
    return any;
}

static bool release_block(void)
{
    for (int i = 0; i < thread_count; i++)
        if (fibres[i].state != AT_BARRIER)
            return false;
    for (int i = 0; i < thread_count; i++)
        fibres[i].state = READY;
    return true;
}

static bool all_done(void)
{
    for (int i = 0; i < thread_count; i++)
        if (fibres[i].state != DONE)
            return false;
    return true;
}

/* Runs every fibre that can, in an order of its own. */
static void run_turn(void)
{
    static const int strides[] = {1, 41, 37, 53, 43, 47}; /* no factor of a block's size */
    int stride = strides[turns % 6], start = (int)(turns++ * 97) % thread_count;
    for (int i = 0; i < thread_count; i++) {
        int index = (start + i * stride) % thread_count;
        if (fibres[index].state == READY)
            run_fibre(index);
    }
    simt_here.thread = -1;
}

static void run_block(size_t shared)
{
    memset(shared_memory, 0xff, shared); /* NaN in every type */
    simt_here.block++;
    while (!all_done()) {
        run_turn();
        if (all_done())
            break;
        if (!release_warps() && !release_block())
            simt_fail("threads diverged: not all reach the barrier or the exchange");
    }
}

static void reset_fibres(void)
{
    for (int i = 0; i < thread_count; i++) {
        fibres[i].state = READY;
        fibres[i].started = false;
        fibres[i].exchanges = fibres[i].barriers = fibres[i].syncs = 0;
        unsigned n = (unsigned)i;
        fibres[i].index =
            dim3(n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y);
    }
}

/* Shared memory of this size that ends at a page nobody may touch; 16 bytes aligned. */
static void place_shared(size_t bytes)
{
    if (!shared_pages) {
        void *pages = mmap(nullptr, (SHARED_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED ||
            mprotect((char *)pages + SHARED_PAGES * PAGE, PAGE, PROT_NONE) != 0)
            simt_fail("no memory for shared memory");
        shared_pages = (unsigned char *)pages;
    }
    shared_memory = shared_pages + SHARED_PAGES * PAGE - (bytes + 15) / 16 * 16;
    simt_race_shared(shared_memory, bytes);
}

void simt_run(dim3 grid, dim3 block, size_t shared, void (*thread)(const void *), const void *user)
{
    if (!stacks)
        stacks = (unsigned char *)aligned_alloc(64, (size_t)THREADS_MAX * STACK_BYTES);
    unsigned count = block.x * block.y * block.z;
    if (!stacks || count == 0 || count > THREADS_MAX || count % WARP != 0)
        simt_fail("a block is 32 to 1024 threads, in whole warps");
    if (shared > SHARED_MAX || grid.y > 65535 || grid.z > 65535 || grid.x * grid.y * grid.z == 0)
        simt_fail("the grid or its shared memory is beyond the limits");
    thread_count = (int)count;
    thread_body = thread;
    thread_user = user;
    place_shared(shared);
    unsigned first = turns;
    gridDim = grid;
    blockDim = block;
    simt_memory_open();
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = dim3((x + first) % grid.x, y, z); /* no order is promised */
                reset_fibres();
                run_block(shared);
            }
    simt_memory_close();
}
