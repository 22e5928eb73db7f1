/*
 * Text of Prometheus, format 0.0.4: the pieces that GET /metrics is made of. Private to this
 * folder.
 */
#ifndef API_EXPOSITION_H
#define API_EXPOSITION_H

#include "base/buf.h"
#include "base/histogram.h"
#include "base/status.h"

struct api;
struct run_row;

/* The two lines before a metric's samples. */
void exposition_head(struct buf *text, const char *name, const char *type, const char *help);
/* One series of a histogram in seconds; `labels` like "route=\"/v1/runs\"", "" for none. */
void exposition_histogram(struct buf *text, const char *name, const char *labels,
                          const struct histogram *histogram);

/* What is known of the devices and of the `running` runs on them. */
IJ_MUST_USE enum ij_status exposition_devices(struct buf *text, struct api *api,
                                              const struct run_row *runs, size_t run_count,
                                              struct ij_err *reterr_err);

#endif
