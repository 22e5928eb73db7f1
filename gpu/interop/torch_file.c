/* See torch_file.h. */
#include "gpu/interop/torch_file.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/interop/pickle.h"
#include "gpu/interop/zip_stored.h"

#define MODULE_PREFIX "module."
#define DATA_PKL      "/data.pkl"

struct torch_file {
    const char *path; /* borrowed for the open call */
    struct zip_stored *zip;
    struct pickle *pickle;
    const char *root; /* "archive", the folder of all entries; inside the mapping */
    size_t root_size;
    struct safetensors_tensor *tensors;
    char **names; /* owned, each */
    size_t count, room;
};

static const struct {
    const char *name;
    enum safetensors_type type;
} storages[] = {
    {"FloatStorage", SAFETENSORS_F32}, {"DoubleStorage", SAFETENSORS_F64},
    {"HalfStorage", SAFETENSORS_F16},  {"BFloat16Storage", SAFETENSORS_BF16},
    {"IntStorage", SAFETENSORS_I32},   {"LongStorage", SAFETENSORS_I64},
    {"ByteStorage", SAFETENSORS_U8},
};

/* ---- Tensors --------------------------------------------------------------------------------- */

/* <root>/<folder><name>; NULL: the archive has no such entry. */
static const struct zip_stored_entry *find_entry(const struct torch_file *f, const char *folder,
                                                 const char *name)
{
    char full[1024];
    int n = snprintf(full, sizeof full, "%.*s/%s%s", (int)f->root_size, f->root, folder, name);
    return n > 0 && (size_t)n < sizeof full ? zip_stored_find(f->zip, full, (size_t)n) : NULL;
}

/* Whether the strides are those of a row-major tensor; those of dimensions of size 1 do not matter.
 */
static bool is_row_major(const struct pickle_tensor *t)
{
    uint64_t expected = 1;
    for (int i = t->dims - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != expected)
            return false;
        if (__builtin_mul_overflow(expected, t->shape[i], &expected))
            return false;
    }
    return true;
}

/* NULL, or what is wrong with the tensor. */
static const char *resolve(const struct torch_file *f, const struct pickle_tensor *t,
                           struct safetensors_tensor *ret)
{
    size_t type = 0;
    uint64_t bytes, count = 1, end;
    while (type < COUNT_OF(storages) && strcmp(t->storage->type, storages[type].name) != 0)
        type++;
    if (type == COUNT_OF(storages))
        return "its storage is of an unknown type";
    for (int i = 0; i < t->dims; i++)
        if (__builtin_mul_overflow(count, t->shape[i], &count))
            return "its number of values overflows";
    if (count > 0 && !is_row_major(t))
        return "it is not row-major";
    if (__builtin_add_overflow(t->offset, count, &end) || end > t->storage->count)
        return "it reaches beyond its storage";
    const struct zip_stored_entry *entry = find_entry(f, "data/", t->storage->key);
    size_t size = safetensors_type_size(storages[type].type);
    if (!entry)
        return "its storage is not in the archive";
    if (__builtin_mul_overflow(t->storage->count, size, &bytes) || bytes != entry->size)
        return "its storage has another size than stated";
    *ret = (struct safetensors_tensor){.type = storages[type].type,
                                       .dims = t->dims,
                                       .data = entry->data + t->offset * size,
                                       .count = count,
                                       .bytes = count * size};
    memcpy(ret->shape, t->shape, (size_t)t->dims * sizeof *ret->shape);
    return NULL;
}

static enum ij_status add_tensor(struct torch_file *f, const char *section, const char *key,
                                 const struct pickle_tensor *source, struct ij_err *reterr_err)
{
    if (strncmp(key, MODULE_PREFIX, strlen(MODULE_PREFIX)) == 0)
        key += strlen(MODULE_PREFIX);
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 256;
        char **names = mem_grow(f->names, room, sizeof *names);
        f->names = names ? names : f->names;
        struct safetensors_tensor *grown = names ? mem_grow(f->tensors, room, sizeof *grown) : NULL;
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", f->path);
        f->tensors = grown;
        f->room = room;
    }
    char *name = section ? mem_printf("%s.%s", section, key) : mem_strdup(key);
    if (!name)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", f->path);
    struct safetensors_tensor *tensor = &f->tensors[f->count];
    f->names[f->count++] = name;
    const char *wrong = resolve(f, source, tensor);
    tensor->name = name;
    return wrong ? IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, name, "%s: tensor \"%.100s\": %s",
                                f->path, name, wrong)
                 : IJ_OK;
}

static enum ij_status add_dict(struct torch_file *f, const char *section,
                               const struct pickle_value *dict, struct ij_err *reterr_err)
{
    for (size_t i = 0; i + 1 < dict->list.count; i += 2) {
        const struct pickle_value *key = dict->list.items[i], *value = dict->list.items[i + 1];
        if (key->type == PICKLE_TEXT && value->type == PICKLE_TENSOR)
            IJ_TRY(add_tensor(f, section, key->text, &value->tensor, reterr_err));
    }
    return IJ_OK;
}

static enum ij_status add_all(struct torch_file *f, struct ij_err *reterr_err)
{
    const struct pickle_value *root = pickle_root(f->pickle);
    if (root->type != PICKLE_DICT)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, f->path,
                            "%s holds a %s, expected a dict of weights", f->path,
                            pickle_type_name(root->type));
    IJ_TRY(add_dict(f, NULL, root, reterr_err));
    for (size_t i = 0; i + 1 < root->list.count; i += 2) {
        const struct pickle_value *key = root->list.items[i], *value = root->list.items[i + 1];
        if (key->type == PICKLE_TEXT && value->type == PICKLE_DICT)
            IJ_TRY(add_dict(f, key->text, value, reterr_err));
    }
    return IJ_OK;
}

/* ---- Open ------------------------------------------------------------------------------------ */

static enum ij_status find_root(struct torch_file *f, const struct zip_stored_entry **ret_pickle,
                                struct ij_err *reterr_err)
{
    size_t tail = strlen(DATA_PKL);
    for (size_t i = 0; i < zip_stored_count(f->zip); i++) {
        const struct zip_stored_entry *entry = zip_stored_at(f->zip, i);
        if (entry->name_size <= tail || entry->name_size > 512 ||
            memcmp(entry->name + entry->name_size - tail, DATA_PKL, tail) != 0)
            continue;
        f->root = entry->name;
        f->root_size = entry->name_size - tail;
        *ret_pickle = entry;
        return IJ_OK;
    }
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, f->path,
                        "%s is a zip archive without data.pkl: not written by torch.save", f->path);
}

/* Files before torch 1.6 begin with a pickle, those of torch 0.1 with a tar header. */
static enum ij_status refuse_old(const char *path, struct ij_err *reterr_err)
{
    unsigned char head[2] = {0, 0};
    file_auto FILE *file = fopen(path, "rb");
    if (file && fread(head, 1, sizeof head, file) == sizeof head && head[0] == 0x80 && head[1] == 2)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, path,
                            "%s is in torch's format before 1.6; load and save it once with a "
                            "newer torch",
                            path);
    return IJ_OK;
}

static enum ij_status check_byte_order(const struct torch_file *f, struct ij_err *reterr_err)
{
    const struct zip_stored_entry *entry = find_entry(f, "", "byteorder");
    if (!entry || (entry->size == 6 && memcmp(entry->data, "little", 6) == 0))
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, f->path,
                        "%s: byte order \"%.*s\", expected \"little\"", f->path,
                        (int)(entry->size < 16 ? entry->size : 16), (const char *)entry->data);
}

static enum ij_status read_file(struct torch_file *f, struct ij_err *reterr_err)
{
    const struct zip_stored_entry *entry = NULL;
    IJ_TRY(refuse_old(f->path, reterr_err));
    IJ_TRY(zip_stored_open(f->path, &f->zip, reterr_err));
    IJ_TRY(find_root(f, &entry, reterr_err));
    IJ_TRY(check_byte_order(f, reterr_err));
    IJ_TRY(pickle_read(entry->data, entry->size, f->path, &f->pickle, reterr_err));
    return add_all(f, reterr_err);
}

enum ij_status torch_file_open(const char *path, struct torch_file **ret_file,
                               struct ij_err *reterr_err)
{
    struct torch_file *f = mem_new(struct torch_file);
    if (!f)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open %s", path);
    f->path = path;
    enum ij_status status = read_file(f, reterr_err);
    if (status != IJ_OK) {
        torch_file_free(f);
        return status;
    }
    f->path = NULL;
    *ret_file = f;
    return IJ_OK;
}

void torch_file_free(struct torch_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->count; i++)
        mem_free(file->names[i]);
    mem_free(file->names);
    mem_free(file->tensors);
    pickle_free(file->pickle);
    zip_stored_free(file->zip);
    mem_free(file);
}

size_t torch_file_count(const struct torch_file *file)
{
    return file->count;
}

const struct safetensors_tensor *torch_file_at(const struct torch_file *file, size_t index)
{
    IJ_ASSERT(index < file->count);
    return &file->tensors[index];
}

bool torch_file_integer(const struct torch_file *file, const char *key, int64_t *ret_value)
{
    const struct pickle_value *value = pickle_get(pickle_root(file->pickle), key);
    if (!value || value->type != PICKLE_INT)
        return false;
    *ret_value = value->integer;
    return true;
}
