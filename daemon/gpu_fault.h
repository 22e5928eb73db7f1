/*
 * What the driver's critical errors (Xids) mean to runs and GPUs: one table, pure; any thread.
 *
 * Numbers, meanings and actions are NVIDIA's ("Xid Errors", catalogue for Ampere and later): what
 * is answered there at once by a restart of the application is the run's own doing, and so is 43,
 * after which the GPU stays healthy; what asks for a reset of the GPU or the machine (48 and 74 by
 * their own procedures) is hardware; what may be ignored is noted. 61 is of older GPUs. NVLink
 * errors of Blackwell (144 to 150) weigh differently by a subcode that NVML does not tell: they are
 * noted. None of it has met a broken GPU. A number that is not in the table is reported, no more.
 */
#ifndef DAEMON_GPU_FAULT_H
#define DAEMON_GPU_FAULT_H

#include <stdint.h>

enum gpu_fault_class {
    GPU_FAULT_NOTED,       /* nothing to do: the end of something else, or only news */
    GPU_FAULT_APPLICATION, /* the run's own doing: what follows counts as its failure */
    GPU_FAULT_HARDWARE,    /* the GPU is cordoned; its run goes on elsewhere, uncounted */
};

struct gpu_fault {
    uint32_t xid;
    enum gpu_fault_class class;
    const char *text; /* for people */
};

/* Never NULL. */
const struct gpu_fault *gpu_fault_find(uint32_t xid);
const char *gpu_fault_class_name(enum gpu_fault_class class); /* "hardware"; static */

#endif
