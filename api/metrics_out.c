/* See metrics_out.h. */
#include "api/metrics_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "api/decimal.h"

/* The columns of a series in their order; a NULL array is left out. */
struct column {
    const char *name;
    const float *values;
};

#define COLUMNS 4

static void columns_of(const struct metric_series *series, struct column ret_columns[COLUMNS])
{
    ret_columns[0] = (struct column){"min", series->min};
    ret_columns[1] = (struct column){"max", series->max};
    ret_columns[2] = (struct column){"mean", series->mean};
    ret_columns[3] = (struct column){"last", series->last};
}

/* `before`, then the value: what holds for most of an answer's bytes is done in one append. */
static void put_number(struct buf *buf, const char *before, float value, const char *otherwise)
{
    char text[1 + DECIMAL_SIZE];
    size_t n = strlen(before);
    memcpy(text, before, n);
    if (isfinite(value)) {
        buf_append(buf, text, n + decimal_from_float(value, text + n));
        return;
    }
    buf_append_text(buf, before);
    buf_append_text(buf, otherwise);
}

static void put_table_head(struct buf *buf, const struct metric_table *table)
{
    buf_printf(buf,
               "{\"run\":\"r%" PRId64 "\",\"stream\":\"%s\",\"rows\":%zu,\"step\":", table->run,
               table->stream, table->rows);
}

/* Keys are printable ASCII without quotes and backslashes (store/metric_store.h). */
static void put_series_head(struct buf *buf, const struct metric_series *series)
{
    buf_printf(buf, "{\"key\":\"%s\",\"count\":%" PRIu64 ",\"nonfinite\":%" PRIu64, series->key,
               series->count, series->nonfinite);
}

static void json_series(struct buf *buf, const struct metric_series *series, size_t rows)
{
    struct column columns[COLUMNS];
    columns_of(series, columns);
    put_series_head(buf, series);
    for (size_t c = 0; c < COLUMNS; c++) {
        if (!columns[c].values)
            continue;
        buf_printf(buf, ",\"%s\":[", columns[c].name);
        for (size_t i = 0; i < rows; i++)
            put_number(buf, i ? "," : "", columns[c].values[i], "null");
        buf_append(buf, "]", 1);
    }
    buf_append(buf, "}", 1);
}

void metrics_out_json(const struct metric_result *result, struct buf *buf)
{
    buf_printf(buf, "{\"width\":%" PRIu64 ",\"tables\":[", result->width);
    for (size_t t = 0; t < result->count; t++) {
        const struct metric_table *table = &result->tables[t];
        buf_append_text(buf, t ? "," : "");
        put_table_head(buf, table);
        for (size_t i = 0; i < table->rows; i++)
            buf_printf(buf, "%s%" PRIu64, i ? "," : "[", table->step[i]);
        buf_append_text(buf, table->rows ? "],\"series\":[" : "[],\"series\":[");
        for (size_t s = 0; s < table->columns; s++) {
            buf_append_text(buf, s ? "," : "");
            json_series(buf, &table->series[s], table->rows);
        }
        buf_append_text(buf, "]}");
    }
    buf_append_text(buf, "]}");
}

static void csv_row(struct buf *buf, const struct metric_table *table, size_t row,
                    const struct metric_series *series)
{
    struct column columns[COLUMNS];
    columns_of(series, columns);
    buf_printf(buf, "r%" PRId64 ",%s,%" PRIu64 ",%s", table->run, table->stream, table->step[row],
               series->key);
    for (size_t c = 0; c < COLUMNS; c++) {
        if (columns[c].values)
            put_number(buf, ",", columns[c].values[row], "nan");
        else
            buf_append(buf, ",", 1);
    }
    buf_append(buf, "\n", 1);
}

void metrics_out_csv(const struct metric_result *result, struct buf *buf)
{
    buf_append_text(buf, "run,stream,step,key,min,max,mean,last\n");
    for (size_t t = 0; t < result->count; t++)
        for (size_t s = 0; s < result->tables[t].columns; s++)
            for (size_t row = 0; row < result->tables[t].rows; row++)
                csv_row(buf, &result->tables[t], row, &result->tables[t].series[s]);
}

/* ---- Binary ---- */

/* Eight bytes are enough for any padding; offsets are written with a fixed width, so that the
 * head's size does not depend on them. */
static size_t padded(size_t size)
{
    return (size + 7) / 8 * 8;
}

static void f32_series_head(struct buf *buf, const struct metric_series *series, size_t rows,
                            size_t *offset)
{
    struct column columns[COLUMNS];
    columns_of(series, columns);
    put_series_head(buf, series);
    for (size_t c = 0; c < COLUMNS; c++) {
        if (!columns[c].values)
            continue;
        buf_printf(buf, ",\"%s\":{\"type\":\"f32\",\"offset\":%12zu}", columns[c].name, *offset);
        *offset += padded(rows * sizeof(float));
    }
    buf_append(buf, "}", 1);
}

/* The head with columns that begin at `offset`. */
static void f32_head(const struct metric_result *result, size_t offset, struct buf *buf)
{
    buf_printf(buf, "{\"width\":%" PRIu64 ",\"tables\":[", result->width);
    for (size_t t = 0; t < result->count; t++) {
        const struct metric_table *table = &result->tables[t];
        buf_append_text(buf, t ? "," : "");
        put_table_head(buf, table);
        buf_printf(buf, "{\"type\":\"f64\",\"offset\":%12zu},\"series\":[", offset);
        offset += table->rows * sizeof(double);
        for (size_t s = 0; s < table->columns; s++) {
            buf_append_text(buf, s ? "," : "");
            f32_series_head(buf, &table->series[s], table->rows, &offset);
        }
        buf_append_text(buf, "]}");
    }
    buf_append_text(buf, "]}");
}

static void pad(struct buf *buf, size_t size)
{
    static const char zeros[8] = {0};
    buf_append(buf, zeros, padded(size) - size);
}

static void f32_columns(const struct metric_table *table, struct buf *buf)
{
    for (size_t i = 0; i < table->rows; i++) {
        double step = (double)table->step[i];
        buf_append(buf, &step, sizeof step);
    }
    for (size_t s = 0; s < table->columns; s++) {
        struct column columns[COLUMNS];
        columns_of(&table->series[s], columns);
        for (size_t c = 0; c < COLUMNS; c++) {
            if (!columns[c].values)
                continue;
            buf_append(buf, columns[c].values, table->rows * sizeof(float));
            pad(buf, table->rows * sizeof(float));
        }
    }
}

void metrics_out_f32(const struct metric_result *result, struct buf *buf)
{
    struct buf head;
    buf_init(&head, buf->max);
    f32_head(result, 0, &head);
    size_t size = padded(head.size);
    buf_done(&head);
    f32_head(result, 8 + size, &head);
    uint32_t written = (uint32_t)size;
    buf_append(buf, "IJF1", 4);
    buf_append(buf, &written, sizeof written);
    buf_append(buf, head.data, head.size);
    static const char spaces[8] = "        ";
    buf_append(buf, spaces, size - head.size);
    for (size_t t = 0; t < result->count; t++)
        f32_columns(&result->tables[t], buf);
    if (buf_status(&head) != IJ_OK)
        buf->status = buf_status(&head);
    buf_done(&head);
}
