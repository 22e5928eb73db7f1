/* Documents of which one member is missing or of another kind: state.json of a checkpoint (with a
 * seal that fits), the header of a tensor file, the report of the GPUs, and the parameters of every
 * kind of run. */
#include "tests/unit/json_mutate.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "daemon/gpu_report.h"
#include "daemon/params.h"
#include "daemon/params_table.h"
#include "gpu/checkpoint/checkpoint_state.h"

struct tally {
    unsigned taken, refused;
    enum engine_kind kind; /* of parameters */
};

/* ---- state.json ------------------------------------------------------------------------------ */

static const char state_text[] =
    "{\"format\": \"ijepad-checkpoint\", \"version\": 1, \"step\": 371, \"epoch\": 2, "
    "\"batch\": 5, \"steps_total\": 400, \"steps_per_epoch\": 150, \"images\": 2968, "
    "\"seed\": \"7\", \"epochs_done\": 2.4, \"build\": \"abc\", \"data\": \"f00d\", "
    "\"parameters\": {\"crop\": 32}, \"trainer\": {}, \"files\": {"
    "\"model.safetensors\": {\"bytes\": 5, \"sha256\": "
    "\"36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8ad2c0c44ca42c\"}, "
    "\"optimizer.safetensors\": {\"bytes\": 3, \"sha256\": "
    "\"3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282\"}}}";

static void decode_state(void *user, const json_t *document)
{
    struct tally *tally = user;
    struct checkpoint_state state, again;
    struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT];
    struct ij_err err = IJ_ERR_INIT;
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE], *text = json_dumps(document, 0);
    size_t hashed = strlen(text) - 1;
    hash_bytes(text, hashed, digest);
    hash_hex(digest, hex);
    mem_auto char *sealed = mem_printf("%.*s,\n  \"sha256\": \"%s\"\n}\n", (int)hashed, text, hex);
    mem_auto char *written = NULL;
    size_t size = 0;
    free(text);
    enum ij_status status =
        checkpoint_state_decode(sealed, strlen(sealed), "x", &state, files, &err);
    if (status != IJ_OK) {
        cr_assert(status == IJ_CORRUPT || status == IJ_UNSUPPORTED, "%s", sealed);
        cr_assert_str_eq(err.field, "state.json");
        tally->refused++;
        return;
    }
    tally->taken++;
    cr_assert_eq(checkpoint_state_encode(&state, files, &written, &size, &err), IJ_OK);
    cr_assert_eq(checkpoint_state_decode(written, size, "x", &again, files, &err), IJ_OK);
    cr_assert(again.step == state.step && strcmp(again.parameters, state.parameters) == 0);
    checkpoint_state_done(&state);
    checkpoint_state_done(&again);
}

Test(wrong_fields, state_of_a_checkpoint)
{
    struct tally tally = {.taken = 0};
    json_t *document = json_loads(state_text, 0, NULL);
    decode_state(&tally, document);
    cr_assert_eq(tally.taken, 1, "the whole one is taken");
    json_mutate(document, decode_state, &tally);
    cr_expect(tally.refused > 180 && tally.taken > 20, "%u taken, %u refused", tally.taken,
              tally.refused);
    json_decref(document);
}

Test(wrong_fields, a_state_that_has_no_json)
{
    struct checkpoint_state state = {.step = 1, .parameters = "[]", .build = "b", .data = "d"};
    struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT] = {{.bytes = 1}};
    struct ij_err err = IJ_ERR_INIT;
    mem_auto char *text = NULL;
    size_t size;
    cr_expect_eq(checkpoint_state_encode(&state, files, &text, &size, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "parameters");
    state.parameters = "{";
    cr_expect_eq(checkpoint_state_encode(&state, files, &text, &size, &err), IJ_INVALID);
    state.parameters = NULL;
    state.trainer = "1";
    cr_expect_eq(checkpoint_state_encode(&state, files, &text, &size, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "trainer");
    state.trainer = NULL;
    uint64_t *const counts[] = {&state.step,        &state.epoch,           &state.batch,
                                &state.steps_total, &state.steps_per_epoch, &state.images};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        *counts[i] = (uint64_t)INT64_MAX + 1;
        cr_expect_eq(checkpoint_state_encode(&state, files, &text, &size, &err), IJ_INVALID);
        *counts[i] = 0;
    }
    state.build = state.data = NULL;
    cr_expect_eq(checkpoint_state_encode(&state, files, &text, &size, &err), IJ_OK);
}

/* ---- The report of the GPUs ------------------------------------------------------------------ */

static void parse_report(void *user, const json_t *document)
{
    static struct gpu_report report;
    struct tally *tally = user;
    struct ij_err err = IJ_ERR_INIT;
    char *text = json_dumps(document, JSON_COMPACT);
    enum ij_status status = gpu_report_parse(text, strlen(text), &report, &err);
    cr_assert(status == IJ_OK || (status == IJ_MALFORMED && err.text[0]), "%s: %s", text, err.text);
    tally->taken += status == IJ_OK;
    tally->refused += status != IJ_OK;
    free(text);
}

Test(wrong_fields, report_of_the_gpus)
{
    static struct gpu_report report;
    struct tally tally = {.taken = 0};
    struct buf buf;
    report = (struct gpu_report){.state = GPU_REPORT_OK, .gpu_count = 1, .xid_count = 1};
    report.gpus[0] = (struct gpu_report_gpu){
        .uuid = "GPU-a", .name = "H100", .pci = "0000:01:00.0", .process_count = 1};
    report.gpus[0].processes[0] = (struct gpu_report_process){.pid = 100, .command = "python3"};
    report.xids[0] = (struct gpu_report_xid){.uuid = "GPU-a", .xid = 79};
    buf_init(&buf, GPU_REPORT_LINE_MAX);
    gpu_report_write(&report, &buf);
    json_t *document = json_loadb(buf.data, buf.size, 0, NULL);
    cr_assert_not_null(document);
    parse_report(&tally, document);
    cr_assert_eq(tally.taken, 1, "the whole one is taken");
    json_mutate(document, parse_report, &tally);
    cr_expect(tally.refused > 200 && tally.taken > 10, "%u taken, %u refused", tally.taken,
              tally.refused);
    json_decref(document);
    buf_done(&buf);
}

/* ---- The header of a tensor file ------------------------------------------------------------- */

static void open_tensors(void *user, const json_t *document)
{
    struct tally *tally = user;
    char path[64], *header = json_dumps(document, JSON_COMPACT);
    uint64_t size = strlen(header);
    static const uint8_t data[64];
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    fd_auto int fd = memfd_create("tensors", MFD_CLOEXEC);
    cr_assert(fd >= 0 && write(fd, &size, 8) == 8 && write(fd, header, size) == (ssize_t)size);
    cr_assert_eq(write(fd, data, 28), 28);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum ij_status status = safetensors_open(path, &file, &err);
    cr_assert(status == IJ_OK || err.text[0], "%s", header);
    tally->taken += status == IJ_OK;
    tally->refused += status != IJ_OK;
    safetensors_free(file);
    free(header);
}

Test(wrong_fields, header_of_tensors)
{
    static const char text[] =
        "{\"__metadata__\": {\"format\": \"pt\"},"
        "\"a\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": [0, 24]},"
        "\"b\": {\"dtype\": \"I32\", \"shape\": [1], \"data_offsets\": [24, 28]},"
        "\"empty\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [24, 24]}}";
    struct tally tally = {.taken = 0};
    json_t *document = json_loads(text, 0, NULL);
    open_tensors(&tally, document);
    cr_assert_eq(tally.taken, 1, "the whole one is taken");
    json_mutate(document, open_tensors, &tally);
    cr_expect(tally.refused > 200 && tally.taken < 60, "%u taken, %u refused", tally.taken,
              tally.refused);
    json_decref(document);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static void read_params(void *user, const json_t *document)
{
    static struct engine_spec spec;
    struct tally *tally = user;
    struct ij_err err = IJ_ERR_INIT;
    json_t *errors = json_array();
    enum ij_status status = params_from_json(tally->kind, document, "/params", &spec, errors, &err);
    enum ij_status alone = params_from_json(tally->kind, document, "/params", &spec, NULL, NULL);
    cr_assert_eq(status, alone, "told or not, it is the same");
    cr_assert_eq(status == IJ_OK, json_array_size(errors) == 0);
    tally->taken += status == IJ_OK;
    tally->refused += status != IJ_OK;
    json_decref(errors);
}

Test(wrong_fields, parameters_of_every_kind)
{
    for (int kind = 0; kind < ENGINE_KIND_COUNT; kind++) {
        struct tally tally = {.kind = (enum engine_kind)kind};
        struct engine_spec spec;
        json_t *given = json_object();
        if (params_row_find(tally.kind, "dataset"))
            json_object_set_new(given, "dataset", json_string("/d"));
        if (params_row_find(tally.kind, "checkpoint"))
            json_object_set_new(given, "checkpoint", json_string("/c"));
        struct ij_err err = IJ_ERR_INIT;
        cr_assert_eq(params_from_json(tally.kind, given, "/params", &spec, NULL, &err), IJ_OK, "%s",
                     err.text);
        json_t *all = params_to_json(tally.kind, &spec);
        size_t fields = json_object_size(all);
        cr_assert_gt(fields, 5);
        json_mutate(all, read_params, &tally);
        cr_expect(tally.refused > 4 * fields && tally.taken > fields,
                  "kind %d: %u taken, %u refused of %zu fields", kind, tally.taken, tally.refused,
                  fields);
        json_decref(given);
        json_decref(all);
    }
}
