/* See class_counts.h. */
#include "gpu/eval/class_counts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/interop/npy.h"

enum ij_status class_counts_init(struct class_counts *counts, size_t classes,
                                 struct ij_err *reterr_err)
{
    *counts = (struct class_counts){.classes = classes};
    counts->right = mem_array(uint64_t, classes);
    counts->all = mem_array(uint64_t, classes);
    if (classes <= CLASS_COUNTS_MATRIX_MAX)
        counts->matrix = mem_array(int32_t, classes * classes);
    if (counts->right && counts->all && (counts->matrix || classes > CLASS_COUNTS_MATRIX_MAX))
        return IJ_OK;
    class_counts_done(counts);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the answers by %zu classes", classes);
}

void class_counts_done(struct class_counts *counts)
{
    mem_free(counts->right);
    mem_free(counts->all);
    mem_free(counts->matrix);
    memset(counts, 0, sizeof *counts);
}

void class_counts_add(struct class_counts *counts, const int32_t *labels, const int32_t *answers,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (labels[i] < 0 || (size_t)labels[i] >= counts->classes)
            continue;
        size_t label = (size_t)labels[i];
        counts->all[label]++;
        counts->right[label] += answers[i] == labels[i];
        if (counts->matrix && answers[i] >= 0 && (size_t)answers[i] < counts->classes)
            counts->matrix[label * counts->classes + (size_t)answers[i]]++;
    }
}

static json_t *matrix_json(const struct class_counts *counts)
{
    json_t *rows = json_array();
    for (size_t r = 0; r < counts->classes; r++) {
        json_t *row = json_array();
        for (size_t c = 0; c < counts->classes; c++)
            json_array_append_new(row, json_integer(counts->matrix[r * counts->classes + c]));
        json_array_append_new(rows, row);
    }
    return rows;
}

void class_counts_describe(const struct class_counts *counts, json_t *object)
{
    json_t *per_class = json_array();
    double sum = 0;
    size_t seen = 0;
    for (size_t c = 0; c < counts->classes; c++) {
        double share = counts->all[c] ? (double)counts->right[c] / (double)counts->all[c] : 0;
        json_array_append_new(per_class, counts->all[c] ? json_real(share) : json_null());
        sum += share;
        seen += counts->all[c] > 0;
    }
    json_object_set_new(object, "per_class", per_class);
    json_object_set_new(object, "mean_per_class",
                        seen ? json_real(sum / (double)seen) : json_null());
    if (counts->matrix && counts->classes <= CLASS_COUNTS_INLINE_MAX)
        json_object_set_new(object, "confusion", matrix_json(counts));
}

enum ij_status class_counts_save(const struct class_counts *counts, const char *path,
                                 struct ij_err *reterr_err)
{
    if (!counts->matrix)
        return IJ_OK;
    const uint64_t shape[] = {counts->classes, counts->classes};
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    IJ_TRY(npy_write_header(fd, path, NPY_I32, 2, shape, reterr_err));
    return file_write_all(fd, counts->matrix,
                          counts->classes * counts->classes * sizeof *counts->matrix, path,
                          reterr_err);
}
