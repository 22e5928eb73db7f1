/*
 * What is known about the GPUs of this machine at one instant, and the line of JSON that carries
 * it from the probe process (`ijepad-worker gpus`) to the daemon.
 *
 * Plain data without pointers (copying the struct copies everything); pure functions; any thread.
 * A quantity that a GPU does not report is NaN, a count -1.
 */
#ifndef DAEMON_GPU_REPORT_H
#define DAEMON_GPU_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define GPU_REPORT_GPUS_MAX      16
#define GPU_REPORT_PROCESSES_MAX 32 /* listed per GPU, biggest first; `process_count` counts all */
#define GPU_REPORT_XIDS_MAX      64 /* per report */
#define GPU_REPORT_UUID_MAX      96
#define GPU_REPORT_NAME_MAX      96
#define GPU_REPORT_LINE_MAX      262144

enum gpu_report_state {
    GPU_REPORT_UNKNOWN, /* not looked yet, or the driver does not answer */
    GPU_REPORT_ABSENT,  /* no NVIDIA driver, or no GPU */
    GPU_REPORT_OK,      /* `gpus` is right */
    GPU_REPORT_STATE_COUNT
};

enum gpu_report_health {
    GPU_REPORT_HEALTHY,
    GPU_REPORT_LOST,         /* fell off the bus, or answers nothing but "lost" */
    GPU_REPORT_RESET_NEEDED, /* row remapping is pending */
    GPU_REPORT_REPLACE,      /* row remapping failed */
    GPU_REPORT_HEALTH_COUNT
};

struct gpu_report_process {
    int32_t pid;
    uint64_t memory_bytes; /* 0 where the driver does not say */
    char command[32];      /* "" where it cannot be read */
};

struct gpu_report_gpu {
    char uuid[GPU_REPORT_UUID_MAX]; /* "GPU-..." : what CUDA_VISIBLE_DEVICES takes */
    char name[GPU_REPORT_NAME_MAX];
    char pci[32];
    uint32_t index; /* in PCI bus order; may change at a boot */
    int32_t compute_major, compute_minor;
    enum gpu_report_health health;
    char trouble[160]; /* why it is not healthy, or "" */
    uint64_t memory_total_bytes, memory_used_bytes;
    double utilization, memory_utilization; /* 0..1 */
    double temperature_c, power_w, power_limit_w, clock_mhz;
    int64_t ecc_uncorrected; /* since the driver was loaded */
    size_t process_count;
    struct gpu_report_process processes[GPU_REPORT_PROCESSES_MAX];
};

/* A critical error that the driver told about. */
struct gpu_report_xid {
    char uuid[GPU_REPORT_UUID_MAX];
    uint32_t xid;
};

struct gpu_report {
    enum gpu_report_state state;
    char reason[256]; /* for people: why `gpus` is empty or old; "" when state is OK */
    char driver[80];
    char unusable[160]; /* why a worker cannot compute on them; "": it can */
    int64_t taken_ms;   /* monotonic, by the daemon's clock; 0: never */
    size_t gpu_count;
    struct gpu_report_gpu gpus[GPU_REPORT_GPUS_MAX];
    size_t xid_count; /* since the last report */
    struct gpu_report_xid xids[GPU_REPORT_XIDS_MAX];
};

const char *gpu_report_state_name(enum gpu_report_state state);    /* "ok"; static */
const char *gpu_report_health_name(enum gpu_report_health health); /* "healthy"; static */

/* One line of JSON without its newline; `taken_ms` is not part of it. */
void gpu_report_write(const struct gpu_report *report, struct buf *buf);
/* IJ_MALFORMED names the member. *ret_report is filled only on success. */
IJ_MUST_USE enum ij_status gpu_report_parse(const char *line, size_t size,
                                            struct gpu_report *ret_report,
                                            struct ij_err *reterr_err);

/* NULL: no such GPU in the report. */
const struct gpu_report_gpu *gpu_report_find(const struct gpu_report *report, const char *uuid);

#endif
