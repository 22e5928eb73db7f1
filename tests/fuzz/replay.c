/* Runs a fuzz target on its corpus and on mutations of it; the seed is fixed, so that a failure is
 * there again in the next run. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

#define MUTATIONS  300 /* of each file */
#define BYTES_MAX  (1u << 20)
#define CHANGES    4 /* bytes of one mutation, at most */
#define CORPUS_DIR "tests/fuzz/corpus"

/* Some bytes other than they were, or the end missing. */
static size_t mutate(struct rng *rng, uint8_t *data, size_t size)
{
    uint32_t changes = 1 + rng_below(rng, CHANGES);
    if (rng_below(rng, 8) == 0)
        return rng_below(rng, (uint32_t)size);
    for (uint32_t i = 0; i < changes; i++) {
        uint8_t *byte = &data[rng_below(rng, (uint32_t)size)];
        *byte = rng_below(rng, 2) ? (uint8_t)(*byte ^ (1u << rng_below(rng, 8)))
                                  : (uint8_t)rng_below(rng, 256);
    }
    return size;
}

static void run_file(const char *path)
{
    mem_auto char *data = NULL;
    size_t size = 0;
    struct rng rng;
    cr_assert_eq(file_read(path, BYTES_MAX, &data, &size, NULL), IJ_OK, "%s", path);
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    rng_init(&rng, 1, RNG_TEST, size, 0);
    for (int i = 0; i < MUTATIONS && size > 0; i++) {
        mem_auto uint8_t *copy =
            mem_array(uint8_t, size); /* exactly as large: a guard sees overruns */
        cr_assert_not_null(copy);
        memcpy(copy, data, size);
        size_t left = mutate(&rng, copy, size);
        LLVMFuzzerTestOneInput(copy, left);
    }
}

Test(fuzz, corpus, .timeout = 120)
{
    char path[512];
    snprintf(path, sizeof path, CORPUS_DIR "/%s", fuzz_target);
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort), files = 0;
    cr_assert_gt(count, 0, "no files in %s", path);
    for (int i = 0; i < count; i++) {
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            run_file(file);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    cr_assert_gt(files, 0);
}
