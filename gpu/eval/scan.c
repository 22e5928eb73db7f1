/* See scan.h. */
#include "gpu/eval/scan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/image_survey.h"
#include "gpu/eval/eval_progress.h"
#include "gpu/eval/eval_result.h"
#include "gpu/eval/features.h"

#define PATIENCE_MS   200
#define CSV_BYTES_MAX ((size_t)256 << 20)

static const char *const split_names[] = {"train", "eval"};
static const char *const label_names[] = {"none", "folder", "count", "distance", "shape", "color"};

struct scan {
    const struct engine_spec *spec;
    const struct engine_sink *sink;
    struct dataset *datasets[2];
    double list_s[2];
    struct eval_progress progress;
    json_t *splits;
};

static double seconds_since(int64_t start_ns)
{
    return (double)(clock_monotonic_ns() - start_ns) * 1e-9;
}

/* A name from a file system, which may be no UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : json_string("(a name that is not UTF-8)");
}

/* ---- Parts of the result --------------------------------------------------------------------- */

static int compare_sides(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts; null where no image is good. */
static json_t *range_json(uint32_t *sides, size_t count)
{
    if (count == 0)
        return json_null();
    qsort(sides, count, sizeof *sides, compare_sides);
    return json_pack("{s:I, s:I, s:I}", "min", (json_int_t)sides[0], "median",
                     (json_int_t)sides[(count - 1) / 2], "max", (json_int_t)sides[count - 1]);
}

static enum ij_status add_sides(const struct image_survey_size *sizes, size_t images, json_t *split,
                                struct ij_err *reterr_err)
{
    static const char *const keys[] = {"width", "height", "shorter_side"};
    mem_auto uint32_t *sides = mem_array(uint32_t, images);
    if (!sides)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the sizes of %zu images", images);
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        size_t count = 0;
        for (size_t i = 0; i < images; i++) {
            uint32_t w = sizes[i].width, h = sizes[i].height;
            if (w)
                sides[count++] = k == 0 ? w : k == 1 ? h : w < h ? w : h;
        }
        json_object_set_new(split, keys[k], range_json(sides, count));
    }
    return IJ_OK;
}

static enum ij_status write_report(const struct scan *scan, const char *name, int split,
                                   const char *text, size_t size, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    snprintf(path, sizeof path, "%s/reports", scan->spec->directory);
    IJ_TRY(file_make_dirs(path, 0700, reterr_err));
    snprintf(path, sizeof path, "%s/reports/%s-%s.csv", scan->spec->directory, name,
             split_names[split]);
    return file_write_durable(path, text, size, 0644, reterr_err);
}

/* RFC 4180: quotes are doubled; control bytes are shown as '?'. */
static void append_quoted(struct buf *csv, const char *text)
{
    buf_append_text(csv, "\"");
    for (; *text; text++) {
        char byte[] = {(unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, '\0'};
        buf_append_text(csv, *text == '"' ? "\"\"" : byte);
    }
    buf_append_text(csv, "\"");
}

static enum ij_status write_classes(const struct scan *scan, int split, const uint64_t *counts,
                                    struct ij_err *reterr_err)
{
    const struct dataset *dataset = scan->datasets[split];
    struct buf csv;
    buf_init(&csv, CSV_BYTES_MAX);
    buf_append_text(&csv, "class,images\n");
    for (size_t c = 0; c < dataset_class_count(dataset); c++) {
        append_quoted(&csv, dataset_class_name(dataset, c));
        buf_printf(&csv, ",%llu\n", (unsigned long long)counts[c]);
    }
    enum ij_status status = buf_status(&csv);
    if (status == IJ_OK)
        status = write_report(scan, "classes", split, csv.data, csv.size, reterr_err);
    else
        IJ_ERR(reterr_err, status, "no memory for a list of %zu classes",
               dataset_class_count(dataset));
    buf_done(&csv);
    return status;
}

static json_t *class_json(const struct dataset *dataset, const uint64_t *counts, size_t index)
{
    return json_pack("{s:o, s:I}", "name", text_json(dataset_class_name(dataset, index)), "images",
                     (json_int_t)counts[index]);
}

static enum ij_status add_classes(const struct scan *scan, int split, json_t *object,
                                  struct ij_err *reterr_err)
{
    const struct dataset *dataset = scan->datasets[split];
    size_t classes = dataset_class_count(dataset), least = 0, most = 0;
    if (classes == 0) {
        json_object_set_new(object, "classes", json_null());
        return IJ_OK;
    }
    mem_auto uint64_t *counts = mem_array(uint64_t, classes);
    if (!counts)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu classes", classes);
    for (size_t i = 0; i < dataset_count(dataset); i++)
        if (dataset_label(dataset, i) >= 0)
            counts[dataset_label(dataset, i)]++;
    for (size_t c = 1; c < classes; c++) {
        least = counts[c] < counts[least] ? c : least;
        most = counts[c] > counts[most] ? c : most;
    }
    json_object_set_new(object, "classes",
                        json_pack("{s:I, s:o, s:o}", "count", (json_int_t)classes, "smallest",
                                  class_json(dataset, counts, least), "largest",
                                  class_json(dataset, counts, most)));
    return write_classes(scan, split, counts, reterr_err);
}

static enum ij_status add_bad(const struct scan *scan, int split, struct bad_images *bad,
                              json_t *object, struct ij_err *reterr_err)
{
    struct loader_bad list;
    json_t *first = json_array();
    bad_images_list(bad, &list);
    for (size_t i = 0; i < list.listed; i++)
        json_array_append_new(first, json_pack("{s:o, s:o}", "name", text_json(list.images[i].name),
                                               "cause", text_json(list.images[i].cause)));
    double share = (double)list.count / (double)dataset_count(scan->datasets[split]);
    json_object_set_new(object, "bad_images",
                        json_pack("{s:I, s:f, s:o}", "count", (json_int_t)list.count, "share",
                                  share, "first", first));
    if (list.count == 0)
        return IJ_OK;
    mem_auto char *csv = NULL;
    size_t size;
    IJ_TRY(bad_images_csv(bad, &csv, &size, reterr_err));
    return write_report(scan, "bad_images", split, csv, size, reterr_err);
}

static enum ij_status describe(const struct scan *scan, int split, struct image_survey *survey,
                               double check_s, json_t *object, struct ij_err *reterr_err)
{
    const struct dataset *dataset = scan->datasets[split];
    struct image_survey_view view = image_survey_get(survey);
    json_object_set_new(object, "images", json_integer((json_int_t)dataset_count(dataset)));
    json_object_set_new(object, "bytes", json_integer((json_int_t)dataset_bytes(dataset)));
    json_object_set_new(object, "fingerprint", json_string(dataset_fingerprint(dataset)));
    json_object_set_new(object, "list_s", json_real(scan->list_s[split]));
    json_object_set_new(object, "check_s", json_real(check_s));
    json_object_set_new(
        object, "formats",
        json_pack("{s:I, s:I}", "jpeg", (json_int_t)view.jpeg, "png", (json_int_t)view.png));
    IJ_TRY(add_sides(view.sizes, dataset_count(dataset), object, reterr_err));
    IJ_TRY(add_classes(scan, split, object, reterr_err));
    return add_bad(scan, split, image_survey_bad(survey), object, reterr_err);
}

/* ---- The run --------------------------------------------------------------------------------- */

static enum ij_status wait_for_all(struct scan *scan, struct image_survey *survey, uint64_t images,
                                   struct ij_err *reterr_err)
{
    for (uint64_t told = 0, done = 0; told < images; told = done) {
        IJ_TRY(image_survey_wait(survey, PATIENCE_MS, &done, reterr_err));
        IJ_TRY(eval_progress_add(&scan->progress, done - told, "checking", reterr_err));
    }
    return IJ_OK;
}

static enum ij_status check_split(struct scan *scan, int split, struct ij_err *reterr_err)
{
    const struct dataset *dataset = scan->datasets[split];
    struct image_survey *survey = NULL;
    json_t *object = json_object();
    int64_t start_ns = clock_monotonic_ns();
    json_object_set_new(scan->splits, split_names[split], object);
    IJ_TRY(image_survey_new(dataset, scan->spec->data.loader_threads,
                            scan->spec->scan.check == ENGINE_SCAN_PIXELS, &survey, reterr_err));
    enum ij_status status = wait_for_all(scan, survey, dataset_count(dataset), reterr_err);
    if (status == IJ_OK)
        status = describe(scan, split, survey, seconds_since(start_ns), object, reterr_err);
    image_survey_free(survey);
    return status;
}

static enum ij_status open_data(struct scan *scan, struct ij_err *reterr_err)
{
    uint64_t images = 0;
    for (int split = 0; split < 2; split++) {
        int64_t start_ns = clock_monotonic_ns();
        IJ_TRY(dataset_open_any(&scan->spec->data, (enum dataset_split)split,
                                  &scan->datasets[split], reterr_err));
        scan->list_s[split] = seconds_since(start_ns);
        images += dataset_count(scan->datasets[split]);
    }
    eval_progress_init(&scan->progress, scan->sink, images);
    return IJ_OK;
}

static enum ij_status run(struct scan *scan, struct ij_err *reterr_err)
{
    const struct engine_data *data = &scan->spec->data;
    IJ_TRY(open_data(scan, reterr_err));
    for (int split = 0; split < 2; split++)
        IJ_TRY(check_split(scan, split, reterr_err));
    bool pixels = scan->spec->scan.check == ENGINE_SCAN_PIXELS;
    bool labelled = dataset_class_count(scan->datasets[0]) > 0;
    json_t *result =
        json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:O}", "kind", "scan", "check",
                  pixels ? "pixels" : "headers", "dataset", text_json(data->path), "eval_dataset",
                  data->eval_path[0] ? text_json(data->eval_path) : json_null(), "labels",
                  label_names[labelled ? data->labels : ENGINE_LABELS_NONE], "build", build_id(),
                  "splits", scan->splits);
    if (!result)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a result");
    return eval_result_publish(result, scan->spec, scan->sink, "scan", reterr_err);
}

enum ij_status scan_run(const struct engine_spec *spec, const struct engine_sink *sink,
                        struct ij_err *reterr_err)
{
    struct scan scan = {.spec = spec, .sink = sink, .splits = json_object()};
    enum ij_status status = run(&scan, reterr_err);
    for (int split = 0; split < 2; split++)
        dataset_free(scan.datasets[split]);
    json_decref(scan.splits);
    return status;
}
