/* Indexes of packed datasets: as they are, and with a hash that fits. What is listed lies inside
 * the texts and below the limits. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "gpu/data/source.h"

static void parse(const uint8_t *data, size_t size)
{
    struct source source = {.root = "/fuzz", .field = "data.path"};
    struct ij_err err = IJ_ERR_INIT;
    if (source_pack_parse(&source, data, size, &err) != IJ_OK)
        IJ_ASSERT(err.text[0]);
    else
        for (size_t i = 0; i < source.count; i++) {
            const struct source_item *item = &source.items[i];
            IJ_ASSERT(item->name < source.text_size && item->shard < source.shard_count &&
                      item->size <= DATASET_FILE_BYTES_MAX &&
                      strlen(source_text(&source, item->name)) < size);
            IJ_ASSERT(item->class_name == SOURCE_NO_CLASS || item->class_name < source.text_size);
        }
    source_done(&source);
}

const char fuzz_target[] = "pack";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    if (size < HASH_SIZE)
        return 0;
    mem_auto uint8_t *copy = mem_array(uint8_t, size);
    IJ_ASSERT(copy);
    memcpy(copy, data, size);
    hash_bytes(copy, size - HASH_SIZE, copy + size - HASH_SIZE);
    parse(copy, size);
    return 0;
}
