/* See checkpoint_state.h. */
#include "gpu/checkpoint/checkpoint_state.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define FORMAT_NAME "ijepad-checkpoint"

/* What follows the hashed part of the text, with the hash in the middle. */
#define SEAL_HEAD ",\n  \"sha256\": \""
#define SEAL_TAIL "\"\n}\n"
#define SEAL_SIZE (sizeof SEAL_HEAD - 1 + HASH_HEX_SIZE - 1 + sizeof SEAL_TAIL - 1)

static void json_decref_at(json_t **json)
{
    json_decref(*json);
}
#define json_owned __attribute__((cleanup(json_decref_at))) json_t

const char *checkpoint_state_section_name(enum checkpoint_section section)
{
    IJ_ASSERT(section < CHECKPOINT_SECTION_COUNT);
    return section == CHECKPOINT_MODEL ? "model.safetensors" : "optimizer.safetensors";
}

/* ---- Encode ---------------------------------------------------------------------------------- */

/* New reference to the object in `text`; NULL and an error where it is none. */
static json_t *parse_object(const char *text, const char *field, struct ij_err *reterr_err)
{
    json_error_t error;
    json_t *object = json_loads(text ? text : "{}", JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(object))
        return object;
    (void)IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "%s is not a JSON object: %s", field,
                       object ? "another type" : error.text);
    json_decref(object);
    return NULL;
}

/* NULL: no memory. */
static json_t *files_object(const struct checkpoint_state_file *files)
{
    json_t *object = json_object();
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        const char *name = checkpoint_state_section_name((enum checkpoint_section)i);
        json_t *file = json_pack("{s:I, s:s}", "bytes", (json_int_t)files[i].bytes, "sha256",
                                 files[i].sha256);
        if (json_object_set_new(object, name, file) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *state_object(const struct checkpoint_state *s, json_t *parameters, json_t *trainer,
                            const struct checkpoint_state_file *files)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed); /* text: JSON readers round large integers */
    return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:s, s:s, s:O, s:O, s:o}",
                     "format", FORMAT_NAME, "version", CHECKPOINT_STATE_VERSION, "step",
                     (json_int_t)s->step, "epoch", (json_int_t)s->epoch, "batch",
                     (json_int_t)s->batch, "steps_total", (json_int_t)s->steps_total,
                     "steps_per_epoch", (json_int_t)s->steps_per_epoch, "images",
                     (json_int_t)s->images, "seed", seed, "epochs_done", s->epochs_done, "build",
                     s->build ? s->build : "", "data", s->data ? s->data : "", "parameters",
                     parameters, "trainer", trainer, "files", files_object(files));
}

/* Without memory json_dumps may leave a key out and not say so. */
static bool says_the_same(const char *text, json_t *object)
{
    json_owned *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    return json_equal(again, object);
}

/* Turns "{...\n}" into "{..., "sha256": "..."}". */
static char *seal(const char *text, size_t *ret_size)
{
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    size_t hashed = strlen(text) - 2; /* without "\n}" */
    hash_bytes(text, hashed, digest);
    hash_hex(digest, hex);
    *ret_size = hashed + SEAL_SIZE;
    return mem_printf("%.*s" SEAL_HEAD "%s" SEAL_TAIL, (int)hashed, text, hex);
}

static bool fits_json(const struct checkpoint_state *s)
{
    return s->step <= INT64_MAX && s->epoch <= INT64_MAX && s->batch <= INT64_MAX &&
           s->steps_total <= INT64_MAX && s->steps_per_epoch <= INT64_MAX && s->images <= INT64_MAX;
}

enum ij_status
checkpoint_state_encode(const struct checkpoint_state *state,
                        const struct checkpoint_state_file files[CHECKPOINT_SECTION_COUNT],
                        char **ret_text, size_t *ret_size, struct ij_err *reterr_err)
{
    json_owned *parameters = parse_object(state->parameters, "parameters", reterr_err);
    if (!parameters)
        return IJ_INVALID;
    json_owned *trainer = parse_object(state->trainer, "trainer", reterr_err);
    if (!trainer)
        return IJ_INVALID;
    json_owned *object = fits_json(state) ? state_object(state, parameters, trainer, files) : NULL;
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    if (!text || strlen(text) > CHECKPOINT_STATE_BYTES_MAX - SEAL_SIZE) {
        free(text);
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, CHECKPOINT_STATE_NAME,
                            "the state has a value without a JSON form or exceeds 4 MiB");
    }
    char *sealed = says_the_same(text, object) ? seal(text, ret_size) : NULL;
    free(text);
    if (!sealed)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the state of a checkpoint");
    *ret_text = sealed;
    return IJ_OK;
}

/* ---- Decode ---------------------------------------------------------------------------------- */

static enum ij_status refuse(const char *path, const char *what, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, CHECKPOINT_STATE_NAME, "%s: %s", path, what);
}

static bool seal_is_right(const char *text, size_t size)
{
    if (size <= SEAL_SIZE)
        return false;
    const char *hex = text + size - SEAL_SIZE + sizeof SEAL_HEAD - 1;
    const char *tail = hex + HASH_HEX_SIZE - 1;
    uint8_t digest[HASH_SIZE];
    char expected[HASH_HEX_SIZE];
    hash_bytes(text, size - SEAL_SIZE, digest);
    hash_hex(digest, expected);
    return memcmp(text + size - SEAL_SIZE, SEAL_HEAD, sizeof SEAL_HEAD - 1) == 0 &&
           memcmp(hex, expected, HASH_HEX_SIZE - 1) == 0 &&
           memcmp(tail, SEAL_TAIL, sizeof SEAL_TAIL - 1) == 0;
}

static bool get_u64(const json_t *object, const char *key, uint64_t *ret_value)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_value = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_text(const json_t *object, const char *key, const char **ret_text)
{
    const char *text = json_string_value(json_object_get(object, key));
    *ret_text = text ? mem_strdup(text) : NULL;
    return *ret_text != NULL;
}

static bool get_object(const json_t *object, const char *key, const char **ret_text)
{
    const json_t *value = json_object_get(object, key);
    char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
    *ret_text = text ? mem_strdup(text) : NULL;
    free(text);
    return *ret_text != NULL;
}

static bool get_files(const json_t *files, struct checkpoint_state_file *ret_files)
{
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        const char *name = checkpoint_state_section_name((enum checkpoint_section)i);
        const json_t *file = json_object_get(files, name);
        const char *hex = json_string_value(json_object_get(file, "sha256"));
        if (!hex || strlen(hex) != HASH_HEX_SIZE - 1 ||
            !get_u64(file, "bytes", &ret_files[i].bytes))
            return false;
        memcpy(ret_files[i].sha256, hex, HASH_HEX_SIZE);
    }
    return true;
}

/* On false some strings may be set. */
static bool read_fields(const json_t *object, struct checkpoint_state *s,
                        struct checkpoint_state_file *ret_files)
{
    const char *seed = json_string_value(json_object_get(object, "seed"));
    const json_t *epochs_done = json_object_get(object, "epochs_done");
    s->epochs_done = json_number_value(epochs_done);
    return seed && text_to_u64(seed, &s->seed) && json_is_number(epochs_done) &&
           get_u64(object, "step", &s->step) && get_u64(object, "epoch", &s->epoch) &&
           get_u64(object, "batch", &s->batch) && get_u64(object, "steps_total", &s->steps_total) &&
           get_u64(object, "steps_per_epoch", &s->steps_per_epoch) &&
           get_u64(object, "images", &s->images) && get_text(object, "build", &s->build) &&
           get_text(object, "data", &s->data) && get_object(object, "parameters", &s->parameters) &&
           get_object(object, "trainer", &s->trainer) &&
           get_files(json_object_get(object, "files"), ret_files);
}

enum ij_status checkpoint_state_decode(
    const char *text, size_t size, const char *path, struct checkpoint_state *ret_state,
    struct checkpoint_state_file ret_files[CHECKPOINT_SECTION_COUNT], struct ij_err *reterr_err)
{
    if (!seal_is_right(text, size))
        return refuse(path, "its hash does not match its content", reterr_err);
    json_owned *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const char *format = json_string_value(json_object_get(object, "format"));
    uint64_t version;
    if (!format || strcmp(format, FORMAT_NAME) != 0 || !get_u64(object, "version", &version))
        return refuse(path, "it is not a checkpoint of this program", reterr_err);
    if (version != CHECKPOINT_STATE_VERSION)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, CHECKPOINT_STATE_NAME,
                            "%s: format version %" PRIu64 ", this program reads %d", path, version,
                            CHECKPOINT_STATE_VERSION);
    struct checkpoint_state state = {.step = 0};
    if (!read_fields(object, &state, ret_files)) {
        checkpoint_state_done(&state);
        return refuse(path, "a field is missing or has the wrong type", reterr_err);
    }
    *ret_state = state;
    return IJ_OK;
}

void checkpoint_state_done(struct checkpoint_state *state)
{
    mem_free((void *)state->parameters);
    mem_free((void *)state->trainer);
    mem_free((void *)state->build);
    mem_free((void *)state->data);
    *state = (struct checkpoint_state){.step = 0};
}
