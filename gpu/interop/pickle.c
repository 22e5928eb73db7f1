/*
 * See pickle.h: the stack machine. Opcodes are documented in Python's Lib/pickletools.py.
 */
#include "gpu/interop/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/interop/pickle_build.h"
#include "gpu/interop/pickle_stack.h"

static const char *const type_names[] = {"None", "bool", "int",    "float",   "text",   "tuple",
                                         "list", "dict", "global", "storage", "tensor", "mark"};

const char *pickle_type_name(enum pickle_type type)
{
    IJ_ASSERT((size_t)type < COUNT_OF(type_names));
    return type_names[type];
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static enum ij_status take(struct pickle *p, size_t size, const uint8_t **ret_bytes,
                           struct ij_err *reterr_err)
{
    if (size > p->size - p->at)
        return pickle_stack_broken(p, "cut off", reterr_err);
    *ret_bytes = p->data + p->at;
    p->at += size;
    return IJ_OK;
}

static enum ij_status take_uint(struct pickle *p, int size, uint64_t *ret_value,
                                struct ij_err *reterr_err)
{
    const uint8_t *bytes = NULL;
    IJ_TRY(take(p, (size_t)size, &bytes, reterr_err));
    *ret_value = 0;
    for (int i = size - 1; i >= 0; i--)
        *ret_value = *ret_value << 8 | bytes[i];
    return IJ_OK;
}

static enum ij_status push_text(struct pickle *p, enum pickle_type type, const uint8_t *bytes,
                                size_t size, struct ij_err *reterr_err)
{
    struct pickle_value *value = NULL;
    if (memchr(bytes, 0, size))
        return pickle_stack_broken(p, "a text with a NUL", reterr_err);
    char *copy = mem_alloc_zero(size + 1, 1);
    if (!copy)
        return pickle_stack_no_memory(p, reterr_err);
    memcpy(copy, bytes, size);
    enum ij_status status = pickle_stack_push_new(p, type, &value, reterr_err);
    if (status != IJ_OK) {
        mem_free(copy);
        return status;
    }
    value->text = copy;
    return IJ_OK;
}

static enum ij_status read_text(struct pickle *p, int length_size, struct ij_err *reterr_err)
{
    uint64_t size = 0;
    const uint8_t *bytes = NULL;
    IJ_TRY(take_uint(p, length_size, &size, reterr_err));
    IJ_TRY(take(p, size, &bytes, reterr_err));
    return push_text(p, PICKLE_TEXT, bytes, size, reterr_err);
}

static enum ij_status take_line(struct pickle *p, const uint8_t **ret_line, size_t *ret_size,
                                struct ij_err *reterr_err)
{
    const uint8_t *end = memchr(p->data + p->at, '\n', p->size - p->at);
    if (!end)
        return pickle_stack_broken(p, "cut off", reterr_err);
    *ret_line = p->data + p->at;
    *ret_size = (size_t)(end - *ret_line);
    p->at += *ret_size + 1;
    return IJ_OK;
}

/* "module\nname\n" */
static enum ij_status read_global(struct pickle *p, struct ij_err *reterr_err)
{
    const uint8_t *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    IJ_TRY(take_line(p, &module, &module_size, reterr_err));
    IJ_TRY(take_line(p, &name, &name_size, reterr_err));
    mem_auto char *text =
        mem_printf("%.*s %.*s", (int)(module_size < 200 ? module_size : 200), (const char *)module,
                   (int)(name_size < 200 ? name_size : 200), (const char *)name);
    if (!text)
        return pickle_stack_no_memory(p, reterr_err);
    return push_text(p, PICKLE_GLOBAL, (const uint8_t *)text, strlen(text), reterr_err);
}

static enum ij_status stack_global(struct pickle *p, struct ij_err *reterr_err)
{
    struct pickle_value *name = NULL, *module = NULL;
    IJ_TRY(pickle_stack_pop(p, &name, reterr_err));
    IJ_TRY(pickle_stack_pop(p, &module, reterr_err));
    if (name->type != PICKLE_TEXT || module->type != PICKLE_TEXT)
        return pickle_stack_broken(p, "a global whose name is no text", reterr_err);
    mem_auto char *text = mem_printf("%.200s %.200s", module->text, name->text);
    if (!text)
        return pickle_stack_no_memory(p, reterr_err);
    return push_text(p, PICKLE_GLOBAL, (const uint8_t *)text, strlen(text), reterr_err);
}

static enum ij_status push_integer(struct pickle *p, int64_t integer, struct ij_err *reterr_err)
{
    struct pickle_value *value = NULL;
    IJ_TRY(pickle_stack_push_new(p, PICKLE_INT, &value, reterr_err));
    value->integer = integer;
    return IJ_OK;
}

static enum ij_status read_integer(struct pickle *p, int size, struct ij_err *reterr_err)
{
    uint64_t raw = 0;
    IJ_TRY(take_uint(p, size, &raw, reterr_err));
    return push_integer(p, size == 4 ? (int32_t)raw : (int64_t)raw, reterr_err);
}

/* Two's complement of the stated number of bytes, at most 8 here. */
static enum ij_status read_long(struct pickle *p, struct ij_err *reterr_err)
{
    uint64_t size = 0, raw = 0;
    const uint8_t *bytes = NULL;
    IJ_TRY(take_uint(p, 1, &size, reterr_err));
    if (size > 8)
        return pickle_stack_broken(p, "an integer of more than 8 bytes", reterr_err);
    IJ_TRY(take(p, size, &bytes, reterr_err));
    if (size > 0 && bytes[size - 1] & 0x80)
        raw = UINT64_MAX;
    for (size_t i = size; i-- > 0;)
        raw = raw << 8 | bytes[i];
    return push_integer(p, (int64_t)raw, reterr_err);
}

static enum ij_status read_float(struct pickle *p, struct ij_err *reterr_err)
{
    const uint8_t *bytes = NULL;
    struct pickle_value *value = NULL;
    uint64_t raw = 0;
    IJ_TRY(take(p, 8, &bytes, reterr_err));
    for (int i = 0; i < 8; i++)
        raw = raw << 8 | bytes[i];
    IJ_TRY(pickle_stack_push_new(p, PICKLE_FLOAT, &value, reterr_err));
    memcpy(&value->number, &raw, sizeof raw);
    return IJ_OK;
}

/* ---- Containers ------------------------------------------------------------------------------ */

static enum ij_status make_tuple(struct pickle *p, size_t count, struct ij_err *reterr_err)
{
    struct pickle_value *tuple = NULL;
    if (p->depth < count)
        return pickle_stack_broken(p, "the stack is empty", reterr_err);
    for (size_t i = 0; i < count; i++)
        if (p->stack[p->depth - 1 - i]->type == PICKLE_MARK)
            return pickle_stack_broken(p, "the stack is empty", reterr_err);
    IJ_TRY(pickle_stack_push_new(p, PICKLE_TUPLE, &tuple, reterr_err));
    p->depth--;
    IJ_TRY(pickle_stack_move_items(p, tuple, count, reterr_err));
    return pickle_stack_push(p, tuple, reterr_err);
}

static enum ij_status add_items(struct pickle *p, enum pickle_type type, size_t count,
                                struct ij_err *reterr_err)
{
    struct pickle_value *to = NULL;
    if (type == PICKLE_DICT && count % 2 != 0)
        return pickle_stack_broken(p, "a key without a value", reterr_err);
    IJ_TRY(pickle_stack_container(p, count, type, &to, reterr_err));
    return pickle_stack_move_items(p, to, count, reterr_err);
}

static enum ij_status add_marked(struct pickle *p, enum pickle_type type, struct ij_err *reterr_err)
{
    size_t count = 0;
    IJ_TRY(pickle_stack_close_mark(p, &count, reterr_err));
    return add_items(p, type, count, reterr_err);
}

static enum ij_status marked_tuple(struct pickle *p, struct ij_err *reterr_err)
{
    size_t count = 0;
    IJ_TRY(pickle_stack_close_mark(p, &count, reterr_err));
    return make_tuple(p, count, reterr_err);
}

/* A call: the function is one of the few that pickle_build.c knows. */
static enum ij_status reduce(struct pickle *p, struct ij_err *reterr_err)
{
    struct pickle_value *arguments = NULL, *function = NULL, *result = NULL;
    IJ_TRY(pickle_stack_pop(p, &arguments, reterr_err));
    IJ_TRY(pickle_stack_pop(p, &function, reterr_err));
    IJ_TRY(pickle_stack_push_new(p, PICKLE_NONE, &result, reterr_err));
    struct pickle_value *made = result;
    IJ_TRY(pickle_build_call(p->name, function, arguments, &made, reterr_err));
    p->stack[p->depth - 1] = made;
    return IJ_OK;
}

static enum ij_status persistent(struct pickle *p, struct ij_err *reterr_err)
{
    struct pickle_value *id = NULL, *result = NULL;
    IJ_TRY(pickle_stack_pop(p, &id, reterr_err));
    IJ_TRY(pickle_stack_push_new(p, PICKLE_NONE, &result, reterr_err));
    return pickle_build_storage(p->name, id, result, reterr_err);
}

/* State for an object: only the attributes of an ordered dict, which are not needed. */
static enum ij_status build(struct pickle *p, struct ij_err *reterr_err)
{
    struct pickle_value *state = NULL;
    IJ_TRY(pickle_stack_pop(p, &state, reterr_err));
    if (p->depth == 0 || p->stack[p->depth - 1]->type != PICKLE_DICT)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, p->name,
                            "%s: byte %zu sets the state of a %s; only that of a dict is read",
                            p->name, p->at,
                            p->depth ? pickle_type_name(p->stack[p->depth - 1]->type) : "nothing");
    return IJ_OK;
}

/* ---- The machine ----------------------------------------------------------------------------- */

static enum ij_status push_flag(struct pickle *p, bool flag, struct ij_err *reterr_err)
{
    struct pickle_value *value = NULL;
    IJ_TRY(pickle_stack_push_new(p, PICKLE_BOOL, &value, reterr_err));
    value->flag = flag;
    return IJ_OK;
}

static enum ij_status memo_op(struct pickle *p, uint8_t op, struct ij_err *reterr_err)
{
    uint64_t index = p->memo_count;
    if (op != 0x94)
        IJ_TRY(take_uint(p, op == 'q' || op == 'h' ? 1 : 4, &index, reterr_err));
    return op == 'h' || op == 'j' ? pickle_stack_recall(p, index, reterr_err)
                                  : pickle_stack_put(p, index, reterr_err);
}

static enum ij_status protocol_op(struct pickle *p, uint8_t op, struct ij_err *reterr_err)
{
    uint64_t value = 0;
    IJ_TRY(take_uint(p, op == 0x80 ? 1 : 8, &value, reterr_err));
    if (op == 0x80 && (value < 2 || value > 4))
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, p->name,
                            "%s: pickle protocol %u, expected 2 to 4", p->name, (unsigned)value);
    return IJ_OK; /* the length of a frame is of no use here */
}

static enum ij_status scalar_op(struct pickle *p, uint8_t op, struct ij_err *reterr_err)
{
    switch (op) {
    case 'N':
        return pickle_stack_push_new(p, PICKLE_NONE, NULL, reterr_err);
    case 0x88:
    case 0x89:
        return push_flag(p, op == 0x88, reterr_err);
    case 'J':
        return read_integer(p, 4, reterr_err);
    case 'K':
        return read_integer(p, 1, reterr_err);
    case 'M':
        return read_integer(p, 2, reterr_err);
    case 0x8a:
        return read_long(p, reterr_err);
    case 'G':
        return read_float(p, reterr_err);
    case 'X':
        return read_text(p, 4, reterr_err);
    case 0x8c:
        return read_text(p, 1, reterr_err);
    case 0x8d:
        return read_text(p, 8, reterr_err);
    default:
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, p->name,
                            "%s: byte %zu: opcode 0x%02x is not one that saved weights need",
                            p->name, p->at - 1, op);
    }
}

static enum ij_status container_op(struct pickle *p, uint8_t op, struct ij_err *reterr_err)
{
    switch (op) {
    case '(':
        return pickle_stack_push_new(p, PICKLE_MARK, NULL, reterr_err);
    case ')':
        return pickle_stack_push_new(p, PICKLE_TUPLE, NULL, reterr_err);
    case ']':
        return pickle_stack_push_new(p, PICKLE_LIST, NULL, reterr_err);
    case '}':
        return pickle_stack_push_new(p, PICKLE_DICT, NULL, reterr_err);
    case 't':
        return marked_tuple(p, reterr_err);
    case 0x85:
    case 0x86:
    case 0x87:
        return make_tuple(p, (size_t)op - 0x84, reterr_err);
    case 'a':
        return add_items(p, PICKLE_LIST, 1, reterr_err);
    case 'e':
        return add_marked(p, PICKLE_LIST, reterr_err);
    case 's':
        return add_items(p, PICKLE_DICT, 2, reterr_err);
    case 'u':
        return add_marked(p, PICKLE_DICT, reterr_err);
    default:
        return scalar_op(p, op, reterr_err);
    }
}

static enum ij_status step(struct pickle *p, uint8_t op, struct ij_err *reterr_err)
{
    switch (op) {
    case 0x80:
    case 0x95:
        return protocol_op(p, op, reterr_err);
    case 'c':
        return read_global(p, reterr_err);
    case 0x93:
        return stack_global(p, reterr_err);
    case 'q':
    case 'r':
    case 'h':
    case 'j':
    case 0x94:
        return memo_op(p, op, reterr_err);
    case 'R':
        return reduce(p, reterr_err);
    case 'Q':
        return persistent(p, reterr_err);
    case 'b':
        return build(p, reterr_err);
    default:
        return container_op(p, op, reterr_err);
    }
}

static enum ij_status run(struct pickle *p, struct ij_err *reterr_err)
{
    while (p->at < p->size) {
        uint8_t op = p->data[p->at++];
        if (op == '.') {
            if (p->depth != 1 || p->stack[0]->type == PICKLE_MARK)
                return pickle_stack_broken(p, "it ends with more or less than one value",
                                           reterr_err);
            p->root = p->stack[0];
            return IJ_OK;
        }
        IJ_TRY(step(p, op, reterr_err));
    }
    return pickle_stack_broken(p, "cut off", reterr_err);
}

enum ij_status pickle_read(const uint8_t *data, size_t size, const char *name,
                           struct pickle **ret_pickle, struct ij_err *reterr_err)
{
    if (size > PICKLE_BYTES_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, name, "%s: more than %zu bytes of pickle",
                            name, PICKLE_BYTES_MAX);
    struct pickle *p = mem_new(struct pickle);
    if (!p)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", name);
    p->name = name;
    p->data = data;
    p->size = size;
    enum ij_status status = run(p, reterr_err);
    mem_free(MEM_TAKE(p->stack));
    mem_free(MEM_TAKE(p->memo));
    if (status != IJ_OK) {
        pickle_free(p);
        return status;
    }
    *ret_pickle = p;
    return IJ_OK;
}

void pickle_free(struct pickle *pickle)
{
    if (!pickle)
        return;
    for (size_t i = 0; i < pickle->value_count; i++) {
        struct pickle_value *v = pickle->values[i];
        if (v->type == PICKLE_TEXT || v->type == PICKLE_GLOBAL)
            mem_free((void *)v->text);
        else if (v->type == PICKLE_TUPLE || v->type == PICKLE_LIST || v->type == PICKLE_DICT)
            mem_free(v->list.items);
        mem_free(v);
    }
    mem_free(pickle->values);
    mem_free(pickle);
}

const struct pickle_value *pickle_root(const struct pickle *pickle)
{
    return pickle->root;
}

const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key)
{
    const struct pickle_value *found = NULL;
    if (dict && dict->type == PICKLE_DICT)
        for (size_t i = 0; i + 1 < dict->list.count; i += 2)
            if (dict->list.items[i]->type == PICKLE_TEXT &&
                strcmp(dict->list.items[i]->text, key) == 0)
                found = dict->list.items[i + 1]; /* a later one wins, as in Python */
    return found;
}
