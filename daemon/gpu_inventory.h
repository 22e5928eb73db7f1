/*
 * The daemon's eye on the GPUs: keeps the probe process (`ijepad-worker gpus --watch`) alive and
 * hands out what it reports. The daemon itself never loads NVML: a driver that hangs keeps the
 * probe waiting, nobody else.
 *
 * Without a report for the deadline the state becomes unknown and the probe is killed; one that
 * cannot be killed (stuck in the driver) is waited for without blocking, and none is started beside
 * it. On a machine without NVIDIA driver a probe ends at once and is tried again now and then; on
 * one without any sign of a GPU (and without IJEPAD_NVML in the environment) none is started. Loop
 * thread only.
 */
#ifndef DAEMON_GPU_INVENTORY_H
#define DAEMON_GPU_INVENTORY_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"
#include "daemon/gpu_report.h"

#define GPU_INVENTORY_DEADLINE_MS 5000 /* between reports */

struct gpu_inventory;

struct gpu_inventory_options {
    const char *worker; /* program with the `gpus` command */
    int64_t deadline_ms;
    void *user;
    /* After every report (about once a second) and whenever the state changes without one.
     * report->xids holds what is new. Borrowed for the call. */
    void (*updated)(void *user, const struct gpu_report *report);
};

/* Starts looking; the first report comes through `updated`, where there can be no GPU at once. */
IJ_MUST_USE enum ij_status gpu_inventory_new(sd_event *event,
                                             const struct gpu_inventory_options *options,
                                             struct gpu_inventory **ret_inventory,
                                             struct ij_err *reterr_err);
/* Kills the probe; does not wait for one that is stuck in the driver. NULL is fine. */
void gpu_inventory_free(struct gpu_inventory *inventory);

/* The probe that was started last; 0: none yet. NULL is fine. */
pid_t gpu_inventory_pid(const struct gpu_inventory *inventory);

/* The newest; never NULL. `taken_ms` says how old it is. */
const struct gpu_report *gpu_inventory_report(const struct gpu_inventory *inventory);

#endif
