/* See bad_images.h. The list holds the smallest sample indices met so far, in order. */
#include "gpu/data/bad_images.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define LISTED_IN_ERROR 3

struct bad_images {
    const struct dataset *dataset;
    double limit;
    uint64_t allowed;
    pthread_mutex_t mutex;
    uint64_t *seen;         /* guarded by mutex: a bit per sample */
    struct loader_bad list; /* guarded by mutex */
    struct buf csv;         /* guarded by mutex; stops growing at its maximum */
};

enum ij_status bad_images_new(const struct dataset *dataset, double limit,
                              struct bad_images **ret_bad, struct ij_err *reterr_err)
{
    size_t count = dataset_count(dataset);
    struct bad_images *bad = mem_new(struct bad_images);
    uint64_t *seen = mem_array(uint64_t, count / 64 + 1);
    if (!bad || !seen) {
        mem_free(bad);
        mem_free(seen);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a record of %zu images", count);
    }
    bad->dataset = dataset;
    bad->limit = limit;
    bad->allowed = (uint64_t)ceil(limit * (double)count);
    bad->seen = seen;
    pthread_mutex_init(&bad->mutex, NULL);
    buf_init(&bad->csv, BAD_IMAGES_CSV_MAX);
    buf_append_text(&bad->csv, "name,cause\n");
    *ret_bad = bad;
    return IJ_OK;
}

void bad_images_free(struct bad_images *bad)
{
    if (!bad)
        return;
    pthread_mutex_destroy(&bad->mutex);
    buf_done(&bad->csv);
    mem_free(bad->seen);
    mem_free(bad);
}

/* In quotes, doubled where the text has some. */
static size_t quote(char *to, size_t size, const char *text)
{
    size_t used = 0;
    to[used++] = '"';
    for (; *text && used + 3 < size; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        to[used++] = control ? '?' : *text;
        if (*text == '"')
            to[used++] = '"';
    }
    to[used++] = '"';
    to[used] = '\0';
    return used;
}

static void append_csv(struct buf *csv, const char *name, const char *cause)
{
    char quoted_name[2 * LOADER_NAME_MAX], quoted_cause[2 * LOADER_CAUSE_MAX];
    size_t name_size = quote(quoted_name, sizeof(quoted_name), name);
    size_t size = name_size + quote(quoted_cause, sizeof(quoted_cause), cause) + 2;
    if (csv->size + size <= csv->max) /* whole lines only */
        buf_printf(csv, "%s,%s\n", quoted_name, quoted_cause);
}

static void insert(struct loader_bad *list, uint64_t sample, const char *name, const char *cause)
{
    size_t at = list->listed;
    while (at > 0 && list->images[at - 1].sample > sample)
        at--;
    if (at == LOADER_BAD_LISTED)
        return;
    if (list->listed < LOADER_BAD_LISTED)
        list->listed++;
    memmove(list->images + at + 1, list->images + at,
            (list->listed - 1 - at) * sizeof(list->images[0]));
    list->images[at].sample = sample;
    snprintf(list->images[at].name, LOADER_NAME_MAX, "%s", name);
    snprintf(list->images[at].cause, LOADER_CAUSE_MAX, "%s", cause);
}

/* "a.jpg (truncated); b.jpg (too large); ..." */
static void describe(const struct loader_bad *list, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < list->listed && i < LISTED_IN_ERROR && used + 1 < size; i++) {
        int n = snprintf(text + used, size - used, "%s%.80s (%.60s)", i ? "; " : "",
                         list->images[i].name, list->images[i].cause);
        used += n > 0 ? (size_t)n : 0;
    }
}

enum ij_status bad_images_add(struct bad_images *bad, uint64_t sample, const char *cause,
                              struct ij_err *reterr_err)
{
    char text[512];
    pthread_mutex_lock(&bad->mutex);
    uint64_t bit = 1ull << sample % 64;
    if (!(bad->seen[sample / 64] & bit)) {
        bad->seen[sample / 64] |= bit;
        bad->list.count++;
        insert(&bad->list, sample, dataset_name(bad->dataset, sample), cause);
        append_csv(&bad->csv, dataset_name(bad->dataset, sample), cause);
    }
    uint64_t count = bad->list.count;
    describe(&bad->list, text, sizeof(text));
    pthread_mutex_unlock(&bad->mutex);
    if (count <= bad->allowed)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.bad_image_limit",
                        "%llu of %zu images are bad, more than the limit of %g: %s",
                        (unsigned long long)count, dataset_count(bad->dataset), bad->limit, text);
}

enum ij_status bad_images_give_up(struct bad_images *bad, struct ij_err *reterr_err)
{
    char text[512];
    pthread_mutex_lock(&bad->mutex);
    describe(&bad->list, text, sizeof(text));
    pthread_mutex_unlock(&bad->mutex);
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.path",
                        "found no good image in place of a bad one: %s", text);
}

void bad_images_list(struct bad_images *bad, struct loader_bad *ret_list)
{
    pthread_mutex_lock(&bad->mutex);
    *ret_list = bad->list;
    pthread_mutex_unlock(&bad->mutex);
}

enum ij_status bad_images_csv(struct bad_images *bad, char **ret_text, size_t *ret_size,
                              struct ij_err *reterr_err)
{
    pthread_mutex_lock(&bad->mutex);
    char *text = bad->csv.data ? mem_strdup(bad->csv.data) : NULL;
    size_t size = bad->csv.size;
    pthread_mutex_unlock(&bad->mutex);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the list of bad images");
    *ret_text = text;
    *ret_size = size;
    return IJ_OK;
}
