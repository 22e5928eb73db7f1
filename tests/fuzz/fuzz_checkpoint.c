/*
 * state.json of a checkpoint: as it is, and with a seal that fits, as no random change would have.
 * What is read can be written again, and then reads as the same.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gpu/checkpoint/checkpoint_state.h"

#define SEAL_HEAD ",\n  \"sha256\": \""
#define SEAL_TAIL "\"\n}\n"

static void expect_same(const struct checkpoint_state *a, const struct checkpoint_state *b)
{
    IJ_ASSERT(a->step == b->step && a->epoch == b->epoch && a->batch == b->batch);
    IJ_ASSERT(a->images == b->images && a->seed == b->seed);
    IJ_ASSERT(strcmp(a->parameters, b->parameters) == 0 && strcmp(a->data, b->data) == 0);
}

static void decode(const char *text, size_t size)
{
    struct checkpoint_state state, again;
    struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT], same[CHECKPOINT_SECTION_COUNT];
    struct ij_err err = IJ_ERR_INIT;
    mem_auto char *written = NULL;
    size_t length = 0;
    if (checkpoint_state_decode(text, size, "state.json", &state, files, &err) != IJ_OK) {
        IJ_ASSERT((err.code == IJ_CORRUPT || err.code == IJ_UNSUPPORTED) && err.text[0]);
        return;
    }
    IJ_ASSERT(checkpoint_state_encode(&state, files, &written, &length, &err) == IJ_OK);
    IJ_ASSERT(checkpoint_state_decode(written, length, "again", &again, same, &err) == IJ_OK);
    expect_same(&state, &again);
    checkpoint_state_done(&state);
    checkpoint_state_done(&again);
}

const char fuzz_target[] = "checkpoint";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    struct buf sealed;
    decode(text, size);
    buf_init(&sealed, CHECKPOINT_STATE_BYTES_MAX);
    hash_bytes(data, size, digest);
    hash_hex(digest, hex);
    buf_append(&sealed, text, size);
    buf_printf(&sealed, SEAL_HEAD "%s" SEAL_TAIL, hex);
    if (buf_status(&sealed) == IJ_OK)
        decode(sealed.data, sealed.size);
    buf_done(&sealed);
    return 0;
}
