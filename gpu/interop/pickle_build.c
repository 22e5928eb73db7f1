/* See pickle_build.h. Forms as torch/_utils.py and torch/serialization.py write them. */
#include "gpu/interop/pickle_build.h"

#include <string.h>

static enum ij_status wrong(const char *name, const char *what, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, name, "%s: %s", name, what);
}

static const struct pickle_value *item(const struct pickle_value *tuple, size_t index,
                                       enum pickle_type type)
{
    if (tuple->type != PICKLE_TUPLE || index >= tuple->list.count)
        return NULL;
    const struct pickle_value *value = tuple->list.items[index];
    return value->type == type ? value : NULL;
}

/* A tuple of sizes. */
static bool read_sizes(const struct pickle_value *tuple, int *ret_count,
                       uint64_t ret_sizes[PICKLE_DIMS_MAX])
{
    if (!tuple || tuple->list.count > PICKLE_DIMS_MAX)
        return false;
    *ret_count = (int)tuple->list.count;
    for (size_t i = 0; i < tuple->list.count; i++) {
        const struct pickle_value *size = item(tuple, i, PICKLE_INT);
        if (!size || size->integer < 0)
            return false;
        ret_sizes[i] = (uint64_t)size->integer;
    }
    return true;
}

/* (storage, offset, size, stride, requires_grad, hooks, ...) */
static enum ij_status build_tensor(const char *name, const struct pickle_value *arguments,
                                   struct pickle_value *result, struct ij_err *reterr_err)
{
    const struct pickle_value *storage = item(arguments, 0, PICKLE_STORAGE);
    const struct pickle_value *offset = item(arguments, 1, PICKLE_INT);
    struct pickle_tensor tensor = {.dims = 0};
    int strides = 0;
    if (!storage || !offset || offset->integer < 0 ||
        !read_sizes(item(arguments, 2, PICKLE_TUPLE), &tensor.dims, tensor.shape) ||
        !read_sizes(item(arguments, 3, PICKLE_TUPLE), &strides, tensor.stride) ||
        strides != tensor.dims)
        return wrong(name, "a tensor that is not made of storage, offset, size and stride",
                     reterr_err);
    tensor.storage = &storage->storage;
    tensor.offset = (uint64_t)offset->integer;
    result->type = PICKLE_TENSOR;
    result->tensor = tensor;
    return IJ_OK;
}

enum ij_status pickle_build_call(const char *name, const struct pickle_value *function,
                                 const struct pickle_value *arguments, struct pickle_value **result,
                                 struct ij_err *reterr_err)
{
    if (function->type != PICKLE_GLOBAL || arguments->type != PICKLE_TUPLE)
        return wrong(name, "a call of something that is no function", reterr_err);
    if (strcmp(function->text, "torch._utils _rebuild_tensor_v2") == 0)
        return build_tensor(name, arguments, *result, reterr_err);
    if (strcmp(function->text, "collections OrderedDict") == 0) {
        if (arguments->list.count != 0)
            return wrong(name, "an ordered dict made from arguments", reterr_err);
        (*result)->type = PICKLE_DICT;
        return IJ_OK;
    }
    if (strcmp(function->text, "torch._utils _rebuild_parameter") == 0) {
        if (!item(arguments, 0, PICKLE_TENSOR))
            return wrong(name, "a parameter without a tensor", reterr_err);
        *result = arguments->list.items[0];
        return IJ_OK;
    }
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, name,
                        "%s calls \"%.120s\", which saved weights do not need; nothing was run",
                        name, function->text);
}

enum ij_status pickle_build_storage(const char *name, const struct pickle_value *id,
                                    struct pickle_value *result, struct ij_err *reterr_err)
{
    const struct pickle_value *word = item(id, 0, PICKLE_TEXT);
    const struct pickle_value *type = item(id, 1, PICKLE_GLOBAL);
    const struct pickle_value *key = item(id, 2, PICKLE_TEXT);
    const struct pickle_value *count = item(id, 4, PICKLE_INT);
    if (!word || strcmp(word->text, "storage") != 0 || !type || !key || !count ||
        count->integer < 0)
        return wrong(name, "a persistent id that is no storage", reterr_err);
    const char *space = strchr(type->text, ' ');
    if (strncmp(type->text, "torch ", 6) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, name,
                            "%s: storage of type \"%.120s\", expected one of torch", name,
                            type->text);
    result->type = PICKLE_STORAGE;
    result->storage = (struct pickle_storage){space + 1, key->text, (uint64_t)count->integer};
    return IJ_OK;
}
