/*
 * What the GPUs were doing, second by second: utilisation, memory, power and temperature of every
 * GPU as metrics of the machine (run 0, stream = UUID, step = seconds since 1970).
 *
 * Frames are kept for a day, their summaries over 64 s and longer for 30 days. Samples are gathered
 * and stored together every few seconds, so that an idle machine's disk stays quiet; the newest may
 * be lost in a crash. Loop thread.
 */
#ifndef DAEMON_GPU_SAMPLE_H
#define DAEMON_GPU_SAMPLE_H

#include "daemon/gpu_report.h"

#define GPU_SAMPLE_KEEP_S           86400
#define GPU_SAMPLE_KEEP_SUMMARIES_S (30 * 86400)
#define GPU_SAMPLE_STORE_MS         5000
#define GPU_SAMPLE_KEYS             4

/* "utilization_ratio", "memory_used_bytes", "power_w", "temperature_c". */
extern const char *const gpu_sample_keys[GPU_SAMPLE_KEYS];

struct daemon;
struct gpu_sample;

/* Borrows the daemon; stores every `store_ms`, normally GPU_SAMPLE_STORE_MS. */
IJ_MUST_USE enum ij_status gpu_sample_new(struct daemon *daemon, int64_t store_ms,
                                          struct gpu_sample **ret_sample,
                                          struct ij_err *reterr_err);
void gpu_sample_free(struct gpu_sample *sample); /* NULL is fine */

/* Takes in a report, and now and then stores and trims. A report that is not OK counts for nothing.
 * What cannot be stored is lost, and logged. */
void gpu_sample_take(struct gpu_sample *sample, const struct gpu_report *report);

#endif
