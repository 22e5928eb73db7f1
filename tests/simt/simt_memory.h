/* Memory that host code cannot touch. See simt_memory.cc. One thread. */
#ifndef TESTS_SIMT_MEMORY_H
#define TESTS_SIMT_MEMORY_H

#include <stddef.h>

/* NULL: full. 256-byte aligned; the first 16 MiB hold NaN. */
void *simt_memory_take(size_t bytes);
void simt_memory_give(void *memory);
/* Opens the region to the caller until the matching close; may nest. */
void simt_memory_open(void);
void simt_memory_close(void);

#endif
