/*
 * The stack machine's values, stack and memo. Private to pickle.c and pickle_stack.c.
 *
 * Values live until the machine is freed, in one list; the stack and the memo point to them.
 */
#ifndef GPU_INTEROP_PICKLE_STACK_H
#define GPU_INTEROP_PICKLE_STACK_H

#include "gpu/interop/pickle.h"

struct pickle {
    const char *name;
    const uint8_t *data;
    size_t size, at;
    struct pickle_value **values; /* owned, each */
    size_t value_count, value_room;
    struct pickle_value **stack;
    size_t depth, depth_room;
    struct pickle_value **memo;
    size_t memo_count, memo_room;
    const struct pickle_value *root;
};

/* IJ_MALFORMED: names the file, the byte and `what`. Here, so that analysers see that it fails. */
IJ_MUST_USE static inline enum ij_status
pickle_stack_broken(const struct pickle *p, const char *what, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, p->name, "%s: byte %zu: %s", p->name, p->at,
                        what);
}
IJ_MUST_USE enum ij_status pickle_stack_no_memory(const struct pickle *p,
                                                  struct ij_err *reterr_err);
/* The stack borrows the value, which the machine owns. */
IJ_MUST_USE enum ij_status pickle_stack_push(struct pickle *p, struct pickle_value *value,
                                             struct ij_err *reterr_err);
/* A new value on the stack, owned by the machine; ret_value may be NULL. */
IJ_MUST_USE enum ij_status pickle_stack_push_new(struct pickle *p, enum pickle_type type,
                                                 struct pickle_value **ret_value,
                                                 struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status pickle_stack_pop(struct pickle *p, struct pickle_value **ret_value,
                                            struct ij_err *reterr_err);
/* The value below the topmost `items`, which must be a `type`. */
IJ_MUST_USE enum ij_status pickle_stack_container(struct pickle *p, size_t items,
                                                  enum pickle_type type,
                                                  struct pickle_value **ret_value,
                                                  struct ij_err *reterr_err);
/* Moves the topmost `count` values into the container. */
IJ_MUST_USE enum ij_status pickle_stack_move_items(struct pickle *p, struct pickle_value *to,
                                                   size_t count, struct ij_err *reterr_err);
/* How many values are above the topmost mark, which goes. */
IJ_MUST_USE enum ij_status pickle_stack_close_mark(struct pickle *p, size_t *ret_count,
                                                   struct ij_err *reterr_err);
/* Remembers the topmost value under `index`. */
IJ_MUST_USE enum ij_status pickle_stack_put(struct pickle *p, uint64_t index,
                                            struct ij_err *reterr_err);
/* Pushes what is remembered under `index`. */
IJ_MUST_USE enum ij_status pickle_stack_recall(struct pickle *p, uint64_t index,
                                               struct ij_err *reterr_err);

#endif
