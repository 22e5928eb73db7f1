/* See pickle_stack.h. Nothing here looks at opcodes. */
#include "gpu/interop/pickle_stack.h"

#include <string.h>

#include "base/mem.h"

#define MEMO_MAX 4000000u

enum ij_status pickle_stack_no_memory(const struct pickle *p, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", p->name);
}

/* Room for one more pointer. False: no memory. */
static bool make_room(struct pickle_value ***array, size_t count, size_t *room)
{
    if (count < *room)
        return true;
    size_t more = *room ? *room * 2 : 64;
    struct pickle_value **grown = mem_grow(*array, more, sizeof *grown);
    if (!grown)
        return false;
    *array = grown;
    *room = more;
    return true;
}

enum ij_status pickle_stack_push(struct pickle *p, struct pickle_value *value,
                                 struct ij_err *reterr_err)
{
    if (!make_room(&p->stack, p->depth, &p->depth_room))
        return pickle_stack_no_memory(p, reterr_err);
    p->stack[p->depth++] = value;
    return IJ_OK;
}

enum ij_status pickle_stack_push_new(struct pickle *p, enum pickle_type type,
                                     struct pickle_value **ret_value, struct ij_err *reterr_err)
{
    if (!make_room(&p->values, p->value_count, &p->value_room))
        return pickle_stack_no_memory(p, reterr_err);
    struct pickle_value *value = mem_new(struct pickle_value);
    if (!value)
        return pickle_stack_no_memory(p, reterr_err);
    p->values[p->value_count++] = value;
    value->type = type;
    if (ret_value)
        *ret_value = value;
    return pickle_stack_push(p, value, reterr_err);
}

enum ij_status pickle_stack_pop(struct pickle *p, struct pickle_value **ret_value,
                                struct ij_err *reterr_err)
{
    if (p->depth == 0 || p->stack[p->depth - 1]->type == PICKLE_MARK)
        return pickle_stack_broken(p, "the stack is empty", reterr_err);
    *ret_value = p->stack[--p->depth];
    return IJ_OK;
}

enum ij_status pickle_stack_container(struct pickle *p, size_t items, enum pickle_type type,
                                      struct pickle_value **ret_value, struct ij_err *reterr_err)
{
    if (p->depth < items + 1 || p->stack[p->depth - items - 1]->type != type)
        return pickle_stack_broken(p, "items for something that takes none", reterr_err);
    *ret_value = p->stack[p->depth - items - 1];
    return IJ_OK;
}

enum ij_status pickle_stack_move_items(struct pickle *p, struct pickle_value *to, size_t count,
                                       struct ij_err *reterr_err)
{
    if (to->list.count + count > to->list.room) {
        size_t room = (to->list.count + count) * 2;
        struct pickle_value **grown = mem_grow(to->list.items, room, sizeof *grown);
        if (!grown)
            return pickle_stack_no_memory(p, reterr_err);
        to->list.items = grown;
        to->list.room = room;
    }
    p->depth -= count;
    if (count > 0)
        memcpy(to->list.items + to->list.count, p->stack + p->depth, count * sizeof *p->stack);
    to->list.count += count;
    return IJ_OK;
}

enum ij_status pickle_stack_close_mark(struct pickle *p, size_t *ret_count,
                                       struct ij_err *reterr_err)
{
    size_t mark = p->depth;
    while (mark > 0 && p->stack[mark - 1]->type != PICKLE_MARK)
        mark--;
    if (mark == 0)
        return pickle_stack_broken(p, "no mark on the stack", reterr_err);
    *ret_count = p->depth - mark;
    memmove(p->stack + mark - 1, p->stack + mark, *ret_count * sizeof *p->stack);
    p->depth--;
    return IJ_OK;
}

enum ij_status pickle_stack_put(struct pickle *p, uint64_t index, struct ij_err *reterr_err)
{
    if (p->depth == 0 || p->stack[p->depth - 1]->type == PICKLE_MARK)
        return pickle_stack_broken(p, "nothing to remember", reterr_err);
    if (index >= MEMO_MAX || index > p->value_count + 1) /* a gap that no writer makes */
        return pickle_stack_broken(p, "a memo index out of range", reterr_err);
    while (p->memo_count <= index) {
        if (!make_room(&p->memo, p->memo_count, &p->memo_room))
            return pickle_stack_no_memory(p, reterr_err);
        p->memo[p->memo_count++] = NULL;
    }
    p->memo[index] = p->stack[p->depth - 1];
    return IJ_OK;
}

enum ij_status pickle_stack_recall(struct pickle *p, uint64_t index, struct ij_err *reterr_err)
{
    if (index >= p->memo_count || !p->memo[index])
        return pickle_stack_broken(p, "an unknown memo index", reterr_err);
    return pickle_stack_push(p, p->memo[index], reterr_err);
}
