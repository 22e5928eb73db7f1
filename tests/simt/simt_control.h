/* What a test can ask of the host build of the CUDA backend. NULL in programs without it. */
#ifndef TESTS_SIMT_CONTROL_H
#define TESTS_SIMT_CONTROL_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The named runtime call, for example "cudaMalloc", fails the next time with this error number. */
__attribute__((weak)) void simt_fail_next(const char *call, int error);
/* Which algorithm the last matrix product ran with: 0 the library's first, 2 the fastest. */
__attribute__((weak)) int simt_blas_last_algorithm(void);

/* Matrix products are a thousandth too large, as a broken GPU's might be. */
__attribute__((weak)) void simt_blas_spoil(bool on);

#ifdef __cplusplus
}
#endif
#endif
