/*
 * A metric query's result in its three forms. Pure; any thread.
 *
 * JSON    {"width", "tables": [{"run", "stream", "step": [...], "series": [{"key", "count",
 *         "nonfinite", "min", "max", "mean", "last"}]}]}; raw results have "last" only.
 * CSV     run,stream,step,key,min,max,mean,last: one row per point; raw: min, max, mean are empty.
 * f32     "IJF1", u32 size of a JSON head, the head, then the columns, all little-endian. The head
 * is the JSON form in which each column is {"offset", "type"}: the offset counts from the file's
 *         first byte and is a multiple of 8; "f64" for "step", "f32" for the others, "rows"
 * entries.
 */
#ifndef API_METRICS_OUT_H
#define API_METRICS_OUT_H

#include "base/buf.h"
#include "store/metric_query.h"

void metrics_out_json(const struct metric_result *result, struct buf *buf);
void metrics_out_csv(const struct metric_result *result, struct buf *buf);
void metrics_out_f32(const struct metric_result *result, struct buf *buf);

#endif
