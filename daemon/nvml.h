/*
 * NVIDIA's management library, opened by name when asked for. Only the probe process uses it: any
 * call may hang with the driver.
 *
 * `IJEPAD_NVML` in the environment names another library file (tests). What a driver or GPU does
 * not offer is left out of the report; only what tells one GPU from another is insisted on. One
 * thread. The interface is declared here from the facts of NVML's documented ABI.
 */
#ifndef DAEMON_NVML_H
#define DAEMON_NVML_H

#include "base/status.h"
#include "daemon/gpu_report.h"

struct nvml;

/* IJ_UNSUPPORTED says why there is no GPU to look at: no library, no driver, no device. */
IJ_MUST_USE enum ij_status nvml_open(struct nvml **ret_nvml, struct ij_err *reterr_err);
void nvml_close(struct nvml *nvml); /* NULL is fine */

/* Everything but `taken_ms`; the Xids that nvml_wait gathered are handed over. */
IJ_MUST_USE enum ij_status nvml_read(struct nvml *nvml, struct gpu_report *ret_report,
                                     struct ij_err *reterr_err);
/* Waits until `deadline_ms` (monotonic), or for less when a GPU tells of a critical error. */
void nvml_wait(struct nvml *nvml, int64_t deadline_ms);

#endif
