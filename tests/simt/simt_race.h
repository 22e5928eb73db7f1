/* Races in shared memory. See simt_race.cc. */
#ifndef TESTS_SIMT_RACE_H
#define TESTS_SIMT_RACE_H

#include <stddef.h>
#include <stdint.h>

/* Who runs: a thread of block `block` (a number that no other block has), after so many barriers of
 * the block and of its warp. */
struct simt_place {
    uint64_t block;
    uint32_t barriers, syncs;
    int thread; /* -1: no kernel runs */
};
extern struct simt_place simt_here;

/* The dynamic shared memory of the block that runs. */
void simt_race_shared(const unsigned char *memory, size_t bytes);
[[noreturn]] void simt_fail(const char *what);

#endif
