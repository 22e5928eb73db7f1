/* See low_shot_select.h. */
#include "gpu/eval/low_shot_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#define FIELD     "low_shot.list"
#define SHOWN_MAX 200 /* bytes of a line in an error */

static int compare_rows(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- A list ---------------------------------------------------------------------------------- */

struct name {
    const char *text; /* borrowed from the dataset */
    uint32_t row;
};

struct names {
    struct name *paths, *files; /* sorted by whole path, and by file name */
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* The part behind the last '/', or behind the shard's ':'. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *colon = strrchr(path, ':');
    return slash ? slash + 1 : colon ? colon + 1 : path;
}

static enum ij_status names_init(struct names *names, const struct dataset *dataset,
                                 struct ij_err *reterr_err)
{
    names->count = dataset_count(dataset);
    names->paths = mem_array(struct name, names->count);
    names->files = mem_array(struct name, names->count);
    if (!names->paths || !names->files)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu names", names->count);
    for (size_t i = 0; i < names->count; i++) {
        const char *path = dataset_name(dataset, i);
        names->paths[i] = (struct name){path, (uint32_t)i};
        names->files[i] = (struct name){file_name(path), (uint32_t)i};
    }
    qsort(names->paths, names->count, sizeof *names->paths, compare_names);
    qsort(names->files, names->count, sizeof *names->files, compare_names);
    return IJ_OK;
}

static enum ij_status find(const struct names *names, const char *line, size_t number,
                           uint32_t *ret_row, struct ij_err *reterr_err)
{
    const struct name *table = strchr(line, '/') ? names->paths : names->files;
    const struct name key = {line, 0};
    const struct name *found = bsearch(&key, table, names->count, sizeof *table, compare_names);
    if (!found)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD,
                            "line %zu: no training image is called \"%.*s\"", number, SHOWN_MAX,
                            line);
    size_t i = (size_t)(found - table);
    if ((i > 0 && compare_names(&table[i - 1], &key) == 0) ||
        (i + 1 < names->count && compare_names(&table[i + 1], &key) == 0))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD,
                            "line %zu: several training images are called \"%.*s\"; give its "
                            "path below the training folder",
                            number, SHOWN_MAX, line);
    *ret_row = found->row;
    return IJ_OK;
}

/* Cuts the text into lines and looks each one up. */
static enum ij_status find_lines(const struct names *names, char *text, uint32_t *rows,
                                 size_t *ret_count, struct ij_err *reterr_err)
{
    size_t number = 0, count = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (count == names->count)
            return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD,
                                "line %zu: the list is longer than the %zu training images", number,
                                names->count);
        IJ_TRY(find(names, line, number, &rows[count++], reterr_err));
    }
    *ret_count = count;
    return IJ_OK;
}

static enum ij_status check_list(const uint32_t *rows, size_t count, const struct dataset *dataset,
                                 const char *path, struct ij_err *reterr_err)
{
    if (count == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD, "%s names no image", path);
    for (size_t i = 1; i < count; i++)
        if (rows[i] == rows[i - 1])
            return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD, "%s names %s twice", path,
                                dataset_name(dataset, rows[i]));
    return IJ_OK;
}

static enum ij_status select_listed(const struct dataset *dataset, const char *path, uint32_t *rows,
                                    size_t *ret_count, struct ij_err *reterr_err)
{
    struct names names = {.paths = NULL};
    mem_auto char *text = NULL;
    size_t size;
    enum ij_status status;
    IJ_TRY(file_read(path, LOW_SHOT_SELECT_BYTES_MAX, &text, &size, reterr_err));
    if (memchr(text, '\0', size))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, FIELD, "%s is not a text file", path);
    IJ_TRY_GOTO(status, names_init(&names, dataset, reterr_err), out);
    IJ_TRY_GOTO(status, find_lines(&names, text, rows, ret_count, reterr_err), out);
    qsort(rows, *ret_count, sizeof *rows, compare_rows);
    status = check_list(rows, *ret_count, dataset, path, reterr_err);
out:
    mem_free(names.paths);
    mem_free(names.files);
    return status;
}

/* ---- A draw ---------------------------------------------------------------------------------- */

/* Moves a random selection of `wanted` to the front of `rows`. */
static void draw(uint32_t *rows, size_t count, size_t wanted, uint64_t seed, size_t class_index)
{
    struct rng rng;
    rng_init(&rng, seed, RNG_SUBSET, 2, class_index);
    for (size_t i = 0; i < wanted; i++) {
        size_t j = i + rng_below(&rng, (uint32_t)(count - i));
        uint32_t kept = rows[i];
        rows[i] = rows[j];
        rows[j] = kept;
    }
}

static size_t wanted_of(const struct engine_low_shot *options, size_t count)
{
    size_t wanted = options->shots;
    if (wanted == 0)
        wanted = (size_t)fmax(1, round(options->fraction * (double)count));
    return wanted < count ? wanted : count;
}

/* `members`: scratch for the rows of one class. */
static size_t draw_all(const struct dataset *dataset, const struct engine_low_shot *options,
                       uint64_t seed, uint32_t *members, uint32_t *rows)
{
    size_t count = 0;
    for (size_t c = 0; c < dataset_class_count(dataset); c++) {
        size_t size = 0;
        for (size_t i = 0; i < dataset_count(dataset); i++)
            if (dataset_label(dataset, i) == (int32_t)c)
                members[size++] = (uint32_t)i;
        size_t wanted = size > 0 ? wanted_of(options, size) : 0;
        draw(members, size, wanted, seed, c);
        memcpy(rows + count, members, wanted * sizeof *rows);
        count += wanted;
    }
    qsort(rows, count, sizeof *rows, compare_rows);
    return count;
}

enum ij_status low_shot_select(const struct dataset *dataset, const struct engine_low_shot *options,
                               uint64_t seed, uint32_t **ret_rows, size_t *ret_count,
                               struct ij_err *reterr_err)
{
    size_t all = dataset_count(dataset);
    mem_auto uint32_t *rows = mem_array(uint32_t, all);
    mem_auto uint32_t *members = mem_array(uint32_t, all);
    if (!rows || !members)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to choose among %zu images", all);
    if (options->list[0])
        IJ_TRY(select_listed(dataset, options->list, rows, ret_count, reterr_err));
    else
        *ret_count = draw_all(dataset, options, seed, members, rows);
    if (*ret_count < 2)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels",
                            "%zu training images are too few to learn from", *ret_count);
    *ret_rows = MEM_TAKE(rows);
    return IJ_OK;
}
