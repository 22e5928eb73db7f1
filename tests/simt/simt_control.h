/* What a test can ask of the host build of the CUDA backend. NULL in programs without it. */
#ifndef TESTS_SIMT_CONTROL_H
#define TESTS_SIMT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The named runtime call, for example "cudaMalloc", fails the next time with this error number. */
__attribute__((weak)) void simt_fail_next(const char *call, int error);
/* Looks for races in shared memory, as from the start; off, kernels run several times as fast. */
__attribute__((weak)) void simt_watch_races(bool on);
/* Compute capability that the device has from now on, 90 at the start; its memory, 16 GiB. */
__attribute__((weak)) void simt_set_architecture(int ten_major_and_minor);
__attribute__((weak)) void simt_set_memory(size_t bytes);
/* Bytes of device memory that are allocated now, and the most that ever were. */
__attribute__((weak)) size_t simt_memory_used(void);
__attribute__((weak)) size_t simt_memory_peak(void);
/* Notes copies from pinned memory ("copy s2"), events ("record e1 s1"), waits ("wait s1 e2") and
 * what the host waits for ("host e2"), one per line, from now on; the text so far. */
__attribute__((weak)) void simt_log_begin(void);
__attribute__((weak)) const char *simt_log_text(void);

/* The matrix library refuses scales per row of float8 factors. */
__attribute__((weak)) void simt_blas_refuse_outer(bool on);
/* Which algorithm the last matrix product ran with: 0 the library's first, 2 the fastest. */
__attribute__((weak)) int simt_blas_last_algorithm(void);

/* Matrix products are a thousandth too large, as a broken GPU's might be. */
__attribute__((weak)) void simt_blas_spoil(bool on);

#ifdef __cplusplus
}
#endif
#endif
