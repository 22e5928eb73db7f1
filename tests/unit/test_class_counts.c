/* Accuracy by class and the confusion matrix, against counts made by hand. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/class_counts.h"

static const int32_t labels[] = {0, 0, 0, 1, 1, 3, -1, 3};
static const int32_t answers[] = {0, 1, 0, 1, 0, 3, 2, 0};

static double number(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

Test(class_counts, shares_and_matrix)
{
    struct class_counts counts;
    cr_assert_eq(class_counts_init(&counts, 4, NULL), IJ_OK);
    class_counts_add(&counts, labels, answers, 4);
    class_counts_add(&counts, labels + 4, answers + 4, 4);
    json_t *object = json_object();
    class_counts_describe(&counts, object);
    const json_t *per_class = json_object_get(object, "per_class");
    cr_assert_float_eq(number(per_class, 0), 2.0 / 3, 1e-12);
    cr_assert_float_eq(number(per_class, 1), 0.5, 1e-12);
    cr_assert(json_is_null(json_array_get(per_class, 2)), "no image, no figure");
    cr_assert_float_eq(number(per_class, 3), 0.5, 1e-12);
    cr_assert_float_eq(json_number_value(json_object_get(object, "mean_per_class")),
                       (2.0 / 3 + 0.5 + 0.5) / 3, 1e-12);
    static const int expected[4][4] = {{2, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 1}};
    for (size_t r = 0; r < 4; r++)
        for (size_t c = 0; c < 4; c++)
            cr_assert_eq(number(json_array_get(json_object_get(object, "confusion"), r), c),
                         expected[r][c], "row %zu column %zu", r, c);
    json_decref(object);
    class_counts_done(&counts);
}

Test(class_counts, the_matrix_is_written_and_left_out_where_it_would_be_too_large)
{
    struct class_counts counts;
    char path[] = "/tmp/test_class_counts.XXXXXX", *data;
    size_t size;
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(class_counts_init(&counts, 4, NULL), IJ_OK);
    class_counts_add(&counts, labels, answers, 8);
    cr_assert_eq(class_counts_save(&counts, path, NULL), IJ_OK);
    cr_assert_eq(file_read(path, 4096, &data, &size, NULL), IJ_OK);
    cr_assert_eq(size, 128 + 16 * 4);
    cr_assert_arr_eq(data + 128, counts.matrix, 16 * 4);
    class_counts_done(&counts);
    unlink(path);
    cr_assert_eq(class_counts_init(&counts, CLASS_COUNTS_MATRIX_MAX, NULL), IJ_OK);
    cr_assert_not_null(counts.matrix);
    class_counts_done(&counts);
    cr_assert_eq(class_counts_init(&counts, CLASS_COUNTS_MATRIX_MAX + 1, NULL), IJ_OK);
    cr_assert_null(counts.matrix);
    json_t *object = json_object();
    class_counts_describe(&counts, object);
    cr_assert_null(json_object_get(object, "confusion"));
    cr_assert_eq(json_array_size(json_object_get(object, "per_class")),
                 CLASS_COUNTS_MATRIX_MAX + 1);
    cr_assert_eq(class_counts_save(&counts, path, NULL), IJ_OK);
    cr_assert_eq(access(path, F_OK), -1, "nothing to write");
    mem_free(data);
    json_decref(object);
    class_counts_done(&counts);
}
