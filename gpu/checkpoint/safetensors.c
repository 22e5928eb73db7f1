/* See safetensors.h. The reader maps the file and keeps the parsed header for the names. */
#include "gpu/checkpoint/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"

struct safetensors {
    char *path;
    const uint8_t *map; /* the whole file */
    size_t size;
    const uint8_t *data; /* inside map, after the header */
    uint64_t data_size;
    json_t *header;                           /* owns all names and metadata */
    struct safetensors_tensor *tensors;       /* by place in the file */
    const struct safetensors_tensor **sorted; /* by name */
    size_t count;
};

static const struct {
    const char *name;
    size_t size;
} safetensors_types[] = {
#define X(code, name, bytes) {name, bytes},
    SAFETENSORS_TYPE_MAP(X)
#undef X
};

const char *safetensors_type_name(enum safetensors_type type)
{
    IJ_ASSERT((size_t)type < COUNT_OF(safetensors_types));
    return safetensors_types[type].name;
}

size_t safetensors_type_size(enum safetensors_type type)
{
    IJ_ASSERT((size_t)type < COUNT_OF(safetensors_types));
    return safetensors_types[type].size;
}

static enum ij_status refuse(const struct safetensors *file, const char *name, const char *what,
                             struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "%s: tensor \"%.100s\": %s", file->path, name,
                        what);
}

static bool parse_type(const json_t *value, enum safetensors_type *ret_type)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < COUNT_OF(safetensors_types); i++)
        if (strcmp(text, safetensors_types[i].name) == 0) {
            *ret_type = (enum safetensors_type)i;
            return true;
        }
    return false;
}

/* The shape and the number of values, or what is wrong with them. */
static const char *parse_shape(const json_t *shape, struct safetensors_tensor *tensor)
{
    if (!json_is_array(shape))
        return "shape is not an array";
    if (json_array_size(shape) > SAFETENSORS_DIMS_MAX)
        return "more than 8 dimensions";
    tensor->dims = (int)json_array_size(shape);
    tensor->count = 1;
    for (int i = 0; i < tensor->dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return "shape has something that is not a size";
        tensor->shape[i] = (uint64_t)json_integer_value(dim);
        if (__builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
            return "the number of values overflows";
    }
    return NULL;
}

static const char *parse_tensor(const struct safetensors *file, const json_t *entry,
                                struct safetensors_tensor *tensor)
{
    if (!json_is_object(entry) || json_object_size(entry) != 3)
        return "expected an object of dtype, shape and data_offsets";
    if (!parse_type(json_object_get(entry, "dtype"), &tensor->type))
        return "unknown dtype";
    const char *wrong = parse_shape(json_object_get(entry, "shape"), tensor);
    if (wrong)
        return wrong;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return "data_offsets is not a pair of integers";
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > file->data_size)
        return "data_offsets lie outside the file";
    uint64_t bytes;
    if (__builtin_mul_overflow(tensor->count, safetensors_type_size(tensor->type), &bytes) ||
        bytes != (uint64_t)(to - from))
        return "shape and data_offsets disagree";
    tensor->bytes = bytes;
    tensor->data = file->data + from;
    return NULL;
}

static int compare_places(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* empty ones before the one at the same place */
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    const struct safetensors_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors must tile the data exactly: nothing hidden, nothing shared. */
static enum ij_status check_tiling(const struct safetensors *file, struct ij_err *reterr_err)
{
    const uint8_t *next = file->data;
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (t->data != next)
            return refuse(file, t->name,
                          (const uint8_t *)t->data < next ? "overlaps another tensor"
                                                          : "is preceded by unused bytes",
                          reterr_err);
        next += t->bytes;
    }
    if (next != file->data + file->data_size)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path,
                            "%s: %" PRIu64 " bytes after the last tensor", file->path,
                            file->data_size - (uint64_t)(next - file->data));
    return IJ_OK;
}

static enum ij_status check_metadata(const struct safetensors *file, const json_t *metadata,
                                     struct ij_err *reterr_err)
{
    const char *key;
    json_t *value;
    bool good = json_is_object(metadata);
    json_object_foreach((json_t *)metadata, key, value) good = good && json_is_string(value);
    if (!good)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path,
                            "%s: __metadata__ is not an object of texts", file->path);
    return IJ_OK;
}

static enum ij_status index_tensors(struct safetensors *file, struct ij_err *reterr_err)
{
    size_t entries = json_object_size(file->header);
    if (entries > SAFETENSORS_TENSORS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path, "%s: more than %d tensors",
                            file->path, SAFETENSORS_TENSORS_MAX);
    file->tensors = mem_array(struct safetensors_tensor, entries);
    file->sorted = mem_array(const struct safetensors_tensor *, entries);
    if (!file->tensors || !file->sorted)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the tensors of %s", file->path);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            IJ_TRY(check_metadata(file, entry, reterr_err));
            continue;
        }
        struct safetensors_tensor *tensor = &file->tensors[file->count++];
        tensor->name = name;
        const char *wrong = parse_tensor(file, entry, tensor);
        if (wrong)
            return refuse(file, name, wrong, reterr_err);
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_places);
    for (size_t i = 0; i < file->count; i++)
        file->sorted[i] = &file->tensors[i];
    qsort(file->sorted, file->count, sizeof *file->sorted, compare_names);
    return check_tiling(file, reterr_err);
}

static enum ij_status parse_header(struct safetensors *file, struct ij_err *reterr_err)
{
    uint64_t header_size;
    if (file->size < sizeof header_size)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path, "%s is too short for a header",
                            file->path);
    memcpy(&header_size, file->map, sizeof header_size);
    header_size = le64toh(header_size);
    if (header_size > SAFETENSORS_HEADER_MAX || header_size > file->size - sizeof header_size)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path,
                            "%s: a header of %" PRIu64 " bytes is larger than the file or 16 MiB",
                            file->path, header_size);
    file->data = file->map + sizeof header_size + header_size;
    file->data_size = file->size - sizeof header_size - header_size;
    json_error_t error;
    file->header = json_loadb((const char *)file->map + sizeof header_size, (size_t)header_size,
                              JSON_REJECT_DUPLICATES, &error);
    if (!file->header || !json_is_object(file->header))
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, file->path, "%s: bad header: %s", file->path,
                            file->header ? "not an object" : error.text);
    return index_tensors(file, reterr_err);
}

static enum ij_status map_file(struct safetensors *file, struct ij_err *reterr_err)
{
    const char *path = file->path;
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, path, "%s is empty or not a file", path);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot map %s", path);
    file->map = map;
    file->size = (size_t)st.st_size;
    return IJ_OK;
}

enum ij_status safetensors_open(const char *path, struct safetensors **ret_file,
                                struct ij_err *reterr_err)
{
    struct safetensors *file = mem_new(struct safetensors);
    if (!file || !(file->path = mem_strdup(path))) {
        safetensors_free(file);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to open %s", path);
    }
    enum ij_status status = map_file(file, reterr_err);
    if (status == IJ_OK)
        status = parse_header(file, reterr_err);
    if (status != IJ_OK) {
        safetensors_free(file);
        return status;
    }
    *ret_file = file;
    return IJ_OK;
}

void safetensors_free(struct safetensors *file)
{
    if (!file)
        return;
    if (file->map)
        munmap((void *)file->map, file->size);
    json_decref(file->header);
    mem_free(file->tensors);
    mem_free(file->sorted);
    mem_free(file->path);
    mem_free(file);
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    IJ_ASSERT(index < file->count);
    return &file->tensors[index];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    const struct safetensors_tensor key = {.name = name}, *wanted = &key;
    const struct safetensors_tensor **found =
        bsearch(&wanted, file->sorted, file->count, sizeof *file->sorted, compare_names);
    return found ? *found : NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

enum ij_status safetensors_find_shaped(const struct safetensors *file, const char *name, int dims,
                                       const uint64_t *shape,
                                       const struct safetensors_tensor **ret_tensor,
                                       struct ij_err *reterr_err)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    if (!tensor)
        return refuse(file, name, "is missing", reterr_err);
    bool same = tensor->dims == dims;
    for (int i = 0; same && i < dims; i++)
        same = tensor->shape[i] == shape[i];
    if (!same)
        return refuse(file, name, "has another shape than expected", reterr_err);
    *ret_tensor = tensor;
    return IJ_OK;
}
