/*
 * The run kind `scan`: is a dataset fit to train on?
 *
 * Lists both splits and looks at every image (gpu/data/image_survey.h). The result, <run
 * directory>/result.json and the same to the host:
 *   {"kind", "check", "dataset", "eval_dataset", "labels", "build",
 *    "splits": {"train" | "eval": {"images", "bytes", "fingerprint", "list_s", "check_s",
 *      "formats": {"jpeg", "png"}, "width" | "height" | "shorter_side": {"min", "median", "max"},
 *      "classes": {"count", "smallest": {"name", "images"}, "largest"} | null,
 *      "bad_images": {"count", "share", "first": [{"name", "cause"}]}}}}
 * and beside it reports/bad_images-<split>.csv (where there are any) and
 * reports/classes-<split>.csv (name, images). Bad images do not end the run. No device is used.
 */
#ifndef GPU_EVAL_SCAN_H
#define GPU_EVAL_SCAN_H

#include "gpu/engine.h"

/* engine_run for kind ENGINE_SCAN; the sink may be NULL. */
IJ_MUST_USE enum ij_status scan_run(const struct engine_spec *spec, const struct engine_sink *sink,
                                    struct ij_err *reterr_err);

#endif
