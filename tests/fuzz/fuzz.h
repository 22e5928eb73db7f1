/*
 * One fuzz target per program: bytes from anywhere, which must neither crash nor be believed.
 *
 * With clang and libFuzzer (`make fuzz`) the inputs are made up; with replay.c (in `make test`)
 * they are the files of corpus/<target>/ and a fixed number of mutations of each.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

extern const char fuzz_target[]; /* its corpus is corpus/<this>/ */
/* Always 0. A property that does not hold ends the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
