/* Bodies of requests: what is accepted can be written and read back to the same. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "api/json_in.h"
#include "base/mem.h"

const char fuzz_target[] = "json";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL, *again = NULL;
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = json_in_parse((const char *)data, size, &value, &err);
    IJ_ASSERT(status == IJ_OK || status == IJ_MALFORMED || status == IJ_NO_MEMORY);
    if (status != IJ_OK) {
        IJ_ASSERT(err.text[0]);
        return 0;
    }
    char *text = json_dumps(value, JSON_COMPACT);
    IJ_ASSERT(text);
    IJ_ASSERT(json_in_parse(text, strlen(text), &again, NULL) == IJ_OK && json_equal(value, again));
    free(text);
    json_decref(value);
    json_decref(again);
    return 0;
}
