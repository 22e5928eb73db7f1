/*
 * What the driver's critical errors (Xids) mean to runs and GPUs: one table, pure; any thread.
 *
 * The numbers and their meanings are NVIDIA's ("XID Errors"); the classes are this project's
 * choice, made without that catalogue's column of actions at hand and not yet met on a GPU. A
 * number that is not in the table is reported and acted on in no other way.
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
