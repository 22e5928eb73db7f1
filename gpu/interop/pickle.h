/*
 * The part of Python's pickle format that saved PyTorch state needs, read as data.
 *
 * Nothing is executed: a global is a name, and only the few constructions listed in pickle.c are
 * understood; anything else is refused with the name that was found. Protocols 2 to 4. The bytes
 * are treated as hostile: every length is checked, and each opcode adds a bounded number of values,
 * so memory is linear in the input. Containers may refer to themselves: walk them by key, never to
 * the bottom.
 */
#ifndef GPU_INTEROP_PICKLE_H
#define GPU_INTEROP_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define PICKLE_BYTES_MAX ((size_t)256 << 20)
#define PICKLE_DIMS_MAX  8

enum pickle_type {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,    /* items: key, value, key, value, ... */
    PICKLE_GLOBAL,  /* text: "module name" */
    PICKLE_STORAGE, /* a block of values in another file of the archive */
    PICKLE_TENSOR,  /* a view of a storage */
    PICKLE_MARK,    /* never in a result */
};

struct pickle_value;

struct pickle_storage {
    const char *type; /* "FloatStorage" */
    const char *key;  /* names the file data/<key> */
    uint64_t count;   /* values */
};

struct pickle_tensor {
    const struct pickle_storage *storage;
    uint64_t offset; /* in values */
    int dims;
    uint64_t shape[PICKLE_DIMS_MAX], stride[PICKLE_DIMS_MAX];
};

struct pickle_value {
    enum pickle_type type;
    union {
        bool flag;
        int64_t integer;
        double number;
        const char *text; /* NUL-terminated, no NUL within */
        struct {
            struct pickle_value **items;
            size_t count, room;
        } list; /* tuple, list, dict */
        struct pickle_storage storage;
        struct pickle_tensor tensor;
    };
};

struct pickle; /* owns all values */

/* `name` is for the texts of errors. IJ_MALFORMED: broken; IJ_UNSUPPORTED: names what is outside
 * the subset. The bytes need not stay. Caller frees. */
IJ_MUST_USE enum ij_status pickle_read(const uint8_t *data, size_t size, const char *name,
                                       struct pickle **ret_pickle, struct ij_err *reterr_err);
void pickle_free(struct pickle *pickle); /* NULL is fine */

const struct pickle_value *pickle_root(const struct pickle *pickle);
/* The value under a text key of a dict; NULL: absent, or no dict. */
const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key);
const char *pickle_type_name(enum pickle_type type); /* "dict"; static */

#endif
