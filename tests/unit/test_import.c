/*
 * Official checkpoints and Hugging Face folders into our checkpoints. tests/unit/data/official.*
 * come from PyTorch: tests/interop/make_fixture.py.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/checkpoint/checkpoint.h"
#include "gpu/interop/export.h"
#include "gpu/interop/import.h"
#include "gpu/interop/torch_file.h"
#include "gpu/model/frozen.h"
#include "gpu/model/spec_json.h"

#define OFFICIAL "tests/unit/data/official.pth.tar"
#define EXPECTED "tests/unit/data/official.safetensors"

static char root[] = "/tmp/test_import.XXXXXX";
static struct ij_err err = IJ_ERR_INIT;

static void open_root(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static void close_root(void)
{
    (void)!file_remove_tree(root, NULL);
}

TestSuite(import, .init = open_root, .fini = close_root);

static const char *below(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static enum ij_status import_file(const char *path, const char *directory, uint32_t heads)
{
    const struct engine_import options = {.path = path, .directory = directory, .heads = heads};
    char *json = NULL;
    err = (struct ij_err)IJ_ERR_INIT;
    enum ij_status status = import_run(&options, &json, &err);
    mem_free(json);
    return status;
}

static void export_hf(const char *run, const char *directory)
{
    const struct engine_export options = {.checkpoint = run, .directory = directory};
    char *json = NULL;
    cr_assert_eq(export_run(&options, &json, &err), IJ_OK, "%s", err.text);
    mem_free(json);
}

static char *read_all(const char *path, size_t *ret_size)
{
    char *data = NULL;
    cr_assert_eq(file_read(path, (size_t)1 << 24, &data, ret_size, &err), IJ_OK, "%s", err.text);
    return data;
}

static void write_all(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Replaces every occurrence of `from` by `to`, of the same length, in a copy of the official file.
 */
static const char *with_bytes(const char *from, const char *to)
{
    size_t size, changed = 0, length = strlen(from);
    char *data = read_all(OFFICIAL, &size);
    cr_assert_eq(length, strlen(to));
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(data + i, from, length) == 0) {
            memcpy(data + i, to, length);
            changed++;
        }
    cr_assert_gt(changed, 0);
    write_all(below("changed.pth.tar"), data, size);
    mem_free(data);
    return below("changed.pth.tar");
}

static void assert_refused(const char *path, enum ij_status expected, const char *named)
{
    enum ij_status status = import_file(path, below("out"), 2);
    cr_assert_eq(status, expected, "%s: %s", ij_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, named), "\"%s\" does not name \"%s\"", err.text, named);
    char *data = NULL;
    size_t size;
    cr_assert_eq(file_read(below("out/checkpoints"), 10, &data, &size, NULL), IJ_NOT_FOUND);
}

/* ---- What must load -------------------------------------------------------------------------- */

Test(import, official_tensors_are_bit_for_bit_those_that_pytorch_saved)
{
    struct safetensors *expected = NULL;
    struct checkpoint *checkpoint = NULL;
    size_t compared = 0;
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_OK, "%s", err.text);
    cr_assert_eq(checkpoint_open_newest(below("run"), &checkpoint, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(safetensors_open(EXPECTED, &expected, &err), IJ_OK, "%s", err.text);
    const struct safetensors *model = checkpoint_get_section(checkpoint, CHECKPOINT_MODEL);
    for (size_t i = 0; i < safetensors_count(expected); i++) {
        const struct safetensors_tensor *e = safetensors_at(expected, i), *found;
        if (strncmp(e->name, "check.", 6) == 0)
            continue;
        cr_assert_eq(safetensors_find_shaped(model, e->name, e->dims, e->shape, &found, &err),
                     IJ_OK, "%s", err.text);
        if (!strstr(e->name, "pos_embed")) /* computed; compared on import */
            cr_assert_eq(memcmp(found->data, e->data, e->bytes), 0, "%s", e->name);
        compared++;
    }
    cr_assert_eq(compared, safetensors_count(model));
    const char *origin = checkpoint_get_state(checkpoint)->trainer;
    cr_assert_not_null(strstr(origin, "\"epoch\":37"), "%s", origin);
    safetensors_free(expected);
    checkpoint_free(checkpoint);
}

Test(import, the_engine_computes_what_pytorch_computes)
{
    struct safetensors *expected = NULL;
    struct checkpoint *checkpoint = NULL;
    struct backend *backend = NULL;
    struct frozen *frozen = NULL;
    struct engine_spec spec = {.kind = ENGINE_KNN};
    float floats[8 * 8 * 3], wanted[4 * 16], tokens[4 * 16], pooled[16];
    uint8_t pixels[8 * 8 * 3];
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_OK, "%s", err.text);
    cr_assert_eq(checkpoint_open_newest(below("run"), &checkpoint, &err), IJ_OK);
    cr_assert_eq(spec_json_read_model(checkpoint_get_state(checkpoint)->parameters, &spec, &err),
                 IJ_OK, "%s", err.text);
    cr_assert_eq(safetensors_open(EXPECTED, &expected, &err), IJ_OK);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(expected, "check.pixels"), floats,
                                      COUNT_OF(floats), &err),
                 IJ_OK);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(expected, "check.output"), wanted,
                                      COUNT_OF(wanted), &err),
                 IJ_OK);
    for (size_t i = 0; i < COUNT_OF(floats); i++)
        pixels[i] = (uint8_t)floats[i];
    const struct vit_config config = vit_config_from_spec(&spec);
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK);
    cr_assert_eq(frozen_new(backend, &config, 1, &frozen, &err), IJ_OK);
    cr_assert_eq(frozen_set_checkpoint(frozen, checkpoint, ENGINE_ENCODER_TARGET, &err), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, 1, pooled, NULL, tokens, &err), IJ_OK);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        cr_assert_float_eq(tokens[i], wanted[i], 1e-5, "value %zu: %g, PyTorch %g", i,
                           (double)tokens[i], (double)wanted[i]);
    frozen_free(frozen);
    backend->ops->free(backend);
    safetensors_free(expected);
    checkpoint_free(checkpoint);
}

Test(import, a_hugging_face_folder_returns_the_encoder_that_was_exported)
{
    size_t size, again_size;
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_OK, "%s", err.text);
    export_hf(below("run"), below("hf"));
    cr_assert_eq(import_file(below("hf"), below("back"), 0), IJ_OK, "%s", err.text);
    export_hf(below("back"), below("again"));
    char *first = read_all(below("hf/model.safetensors"), &size);
    char *again = read_all(below("again/model.safetensors"), &again_size);
    cr_assert_eq(size, again_size);
    cr_assert_eq(memcmp(first, again, size), 0);
    mem_free(first);
    mem_free(again);
}

/* ---- What must be refused -------------------------------------------------------------------- */

Test(import, heads_that_no_one_told)
{
    cr_assert_eq(import_file(OFFICIAL, below("out"), 0), IJ_DATA);
    cr_assert_str_eq(err.field, "heads");
    cr_assert_eq(import_file(OFFICIAL, below("out"), 3), IJ_INVALID); /* 16 / 3 */
}

Test(import, a_directory_with_checkpoints_is_not_overwritten)
{
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_OK);
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_CONFLICT);
}

Test(import, functions_are_named_and_not_run)
{
    assert_refused(with_bytes("_rebuild_tensor_v2", "_rebuild_tensor_vX"), IJ_UNSUPPORTED,
                   "torch._utils _rebuild_tensor_vX");
    assert_refused(with_bytes("ccollections\nOrderedDict", "cosxxxxxxxxx\nsystemsyste"),
                   IJ_UNSUPPORTED, "osxxxxxxxxx systemsyste");
}

Test(import, differences_are_listed)
{
    assert_refused(with_bytes("module.blocks.1.mlp.fc2.bias", "module.blocks.1.mlp.fc2.bia_"),
                   IJ_DATA, "encoder.blocks.1.mlp.fc2.bias");
    cr_assert_not_null(strstr(err.text, "2 missing"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "2 unexpected"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "fc2.bia_"), "%s", err.text);
}

Test(import, storages_of_other_types)
{
    assert_refused(with_bytes("torch\nFloatStorage", "torch\nFloaXStorage"), IJ_MALFORMED,
                   "unknown type");
    /* Half as many bytes as stated. */
    assert_refused(with_bytes("torch\nFloatStorage", "Xorch\nFloatStorage"), IJ_UNSUPPORTED,
                   "Xorch FloatStorage");
}

Test(import, compressed_entries_and_old_formats)
{
    static const char old[] = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.";
    write_all(below("old.pth"), old, sizeof old - 1);
    assert_refused(below("old.pth"), IJ_UNSUPPORTED, "before 1.6");
    write_all(below("text.pth"), "not a checkpoint", 16);
    assert_refused(below("text.pth"), IJ_MALFORMED, "no zip archive");
    write_all(below("empty.pth"), "", 0);
    assert_refused(below("empty.pth"), IJ_MALFORMED, "not a file with content");
    size_t size;
    char *data = read_all(OFFICIAL, &size);
    char *central = memmem(data, size, "PK\x01\x02", 4);
    cr_assert_not_null(central);
    central[10] = 8; /* method: deflate */
    write_all(below("deflate.pth"), data, size);
    mem_free(data);
    assert_refused(below("deflate.pth"), IJ_MALFORMED, "compressed");
}

/* Every length of the file below the whole: refused, and never read beyond. */
Test(import, truncations, .timeout = 120)
{
    size_t size;
    char *data = read_all(OFFICIAL, &size);
    for (size_t cut = 0; cut < size; cut += cut < size - 2000 ? 1009 : 7) {
        struct torch_file *file = NULL;
        write_all(below("cut.pth"), data, cut);
        enum ij_status status = torch_file_open(below("cut.pth"), &file, &err);
        cr_assert(status == IJ_MALFORMED || status == IJ_UNSUPPORTED, "%zu: %s", cut, err.text);
        cr_assert_null(file);
    }
    mem_free(data);
}

/* Bit flips in what describes the file: the pickle, and the directory at its end. Either the file
 * is refused with a text, or it is still a list of tensors that can be read to the last byte. */
static void flip(char *data, size_t size, size_t at, int bit)
{
    struct torch_file *file = NULL;
    err = (struct ij_err)IJ_ERR_INIT;
    data[at] = (char)(data[at] ^ 1 << bit);
    write_all(below("flip.pth"), data, size);
    data[at] = (char)(data[at] ^ 1 << bit);
    if (torch_file_open(below("flip.pth"), &file, &err) != IJ_OK) {
        cr_assert_neq(err.text[0], '\0');
        return;
    }
    unsigned sum = 0;
    for (size_t i = 0; i < torch_file_count(file); i++) {
        const struct safetensors_tensor *t = torch_file_at(file, i);
        for (uint64_t b = 0; b < t->bytes; b++)
            sum += ((const uint8_t *)t->data)[b];
    }
    cr_assert_geq(sum, 0);
    torch_file_free(file);
}

Test(import, bit_flips, .timeout = 300)
{
    size_t size;
    char *data = read_all(OFFICIAL, &size);
    char *first = memmem(data, size, "PK\x01\x02", 4);
    size_t directory = (size_t)(first - data);
    unsigned state = 1;
    for (int i = 0; i < 1500; i++) {
        state = state * 1664525u + 1013904223u;
        size_t at = state >> 8;
        flip(data, size, i % 2 ? at % 9000 : directory + at % (size - directory),
             (int)(state >> 5 & 7));
    }
    mem_free(data);
}

Test(import, a_configuration_that_this_engine_does_not_compute)
{
    static const struct {
        const char *from, *to, *named;
    } cases[] = {
        {"\"gelu\"", "\"relu\"", "hidden_act"},
        {"\"ijepa\"", "\"vitxx\"", "model_type"},
        {"\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "num_attention_heads"},
        {"\"layer_norm_eps\"", "\"layer_norm_epX\"", "layer_norm_eps"},
        {"\"image_size\": 8", "\"image_size\": 9999999", "image_size"},
    };
    size_t size;
    cr_assert_eq(import_file(OFFICIAL, below("run"), 2), IJ_OK);
    export_hf(below("run"), below("hf"));
    char *config = read_all(below("hf/config.json"), &size);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *at = strstr(config, cases[i].from);
        cr_assert_not_null(at, "%s", cases[i].from);
        char *changed = mem_printf("%.*s%s%s", (int)(at - config), config, cases[i].to,
                                   at + strlen(cases[i].from));
        write_all(below("hf/config.json"), changed, strlen(changed));
        mem_free(changed);
        cr_assert_eq(import_file(below("hf"), below("out"), 0), IJ_UNSUPPORTED, "%s", err.text);
        cr_assert_str_eq(err.field, cases[i].named);
    }
    mem_free(config);
}
