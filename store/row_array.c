/* See row_array.h. */
#include "store/row_array.h"

#include <string.h>

#include "base/mem.h"

struct array {
    char *rows;
    size_t count, capacity, size;
};

static enum ij_status read_all(struct db_query *q, struct array *array,
                               void (*read)(struct db_query *q, void *ret_row),
                               struct ij_err *reterr_err)
{
    bool found;
    for (;;) {
        IJ_TRY(db_next(q, &found, reterr_err));
        if (!found)
            return db_copied(q, reterr_err);
        if (array->count == array->capacity) {
            size_t next = array->capacity ? 2 * array->capacity : 16;
            char *grown = mem_grow(array->rows, next, array->size);
            if (!grown)
                return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list");
            array->rows = grown;
            array->capacity = next;
        }
        char *row = array->rows + array->count++ * array->size;
        memset(row, 0, array->size);
        read(q, row);
    }
}

enum ij_status row_array_read(struct db_query *q, size_t size,
                              void (*read)(struct db_query *q, void *ret_row),
                              void (*done)(void *row), void **ret_rows, size_t *ret_count,
                              struct ij_err *reterr_err)
{
    struct array array = {.size = size};
    enum ij_status status = read_all(q, &array, read, reterr_err);
    if (status != IJ_OK) {
        for (size_t i = 0; done && i < array.count; i++)
            done(array.rows + i * size);
        mem_free(array.rows);
        array = (struct array){.rows = NULL};
    }
    *ret_rows = array.rows;
    *ret_count = array.count;
    return status;
}
