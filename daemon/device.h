/*
 * The devices of this machine: what runs hold, the scheduler gives out and the API shows.
 *
 * Host slots ("host-0", ...) come from the configuration, GPUs (by UUID) from reports of the GPU
 * inventory. A run holds devices by identity from its start to its worker's burial. A device that
 * is cordoned, faulted, gone or used by somebody else's process is given to no new run; the run
 * that holds it goes on.
 *
 * The loop thread changes the table; any thread may copy it out. One mutex, never held across I/O.
 */
#ifndef DAEMON_DEVICE_H
#define DAEMON_DEVICE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"
#include "daemon/gpu_report.h"
#include "store/cordon_row.h"

#define DEVICE_SLOTS_MAX 64
#define DEVICE_MAX       (DEVICE_SLOTS_MAX + 2 * GPU_REPORT_GPUS_MAX) /* GPUs that went count too */
#define DEVICE_ID_SIZE   GPU_REPORT_UUID_MAX
#define DEVICE_IDS_MAX   64 /* of one run */

#define DEVICE_XIDS_MAX 16

enum device_kind { DEVICE_HOST, DEVICE_GPU, DEVICE_KIND_COUNT };

/* The first that fits, from the top. */
#define DEVICE_STATE_MAP(X)                                                                        \
    X(FAULTED, "faulted")   /* the driver lost it, or it broke: see `trouble` */                   \
    X(GONE, "gone")         /* no report lists it any more; a slot beyond those configured */      \
    X(UNKNOWN, "unknown")   /* the driver does not answer */                                       \
    X(HELD, "held")         /* by `run`, cordoned or not */                                        \
    X(CORDONED, "cordoned") /* by a person or by the daemon */                                     \
    X(FOREIGN, "foreign")   /* a process that is no worker of ours computes on it */               \
    X(FREE, "free")

enum device_state {
#define X(code, name) DEVICE_##code,
    DEVICE_STATE_MAP(X)
#undef X
        DEVICE_STATE_COUNT
};

struct device_xid {
    uint32_t xid;
    uint64_t count;  /* since the daemon's start; 0: the place is empty */
    int64_t last_ms; /* wall clock */
};

struct device {
    char id[DEVICE_ID_SIZE];
    enum device_kind kind;
    uint32_t index; /* of the slot, or the GPU's in PCI order */
    char name[GPU_REPORT_NAME_MAX];
    uint64_t memory_bytes; /* GPU: its own; slot: its share of the machine's */
    bool present, unknown;
    char trouble[160];        /* faulted: what is wrong; "" otherwise */
    struct cordon_row cordon; /* ts_ms 0: not cordoned */
    int64_t run;              /* who holds it; 0: nobody */
    pid_t worker;             /* leader of the holder's process group; 0: none yet */
    size_t foreign_count;     /* processes on it that are no worker's of ours */
    pid_t foreign_pid;        /* one of them */
    char foreign_command[32];
    int64_t death_run, death_ms; /* the last run that failed on it, and when (monotonic) */
    struct device_xid xids[DEVICE_XIDS_MAX]; /* the first kinds that it told of */
    struct gpu_report_gpu gpu;               /* DEVICE_GPU: the newest figures */
};

struct device_table;

enum device_state device_state_of(const struct device *device);
const char *device_state_name(enum device_state state); /* static */
const char *device_kind_name(enum device_kind kind);    /* "host", "gpu"; static */
/* Why a device is not given out, for people: "host-0 is cordoned by ann: fan". */
void device_explain(const struct device *device, char *ret_text, size_t size);

/* `cordons` (copied) may name devices that are not there yet. */
IJ_MUST_USE enum ij_status device_table_new(const struct cordon_row *cordons, size_t cordon_count,
                                            struct device_table **ret_table,
                                            struct ij_err *reterr_err);
void device_table_free(struct device_table *table); /* NULL is fine */

/* Loop thread. True: something that the scheduler looks at has changed. */
bool device_table_set_slots(struct device_table *table, uint32_t slots);
bool device_table_update(struct device_table *table, const struct gpu_report *report);

/* Loop thread. Devices by their place in the table, which never changes. */
size_t device_table_count(const struct device_table *table);
const struct device *device_table_at(const struct device_table *table, size_t place);
/* By id; *ret_place set where it is there. */
bool device_table_find(const struct device_table *table, const char *id, size_t *ret_place);
void device_table_hold(struct device_table *table, size_t place, int64_t run);
void device_table_set_worker(struct device_table *table, int64_t run, pid_t worker);
void device_table_release(struct device_table *table, int64_t run); /* all that it holds */
void device_table_note_death(struct device_table *table, size_t place, int64_t run, int64_t now_ms);
void device_table_count_xid(struct device_table *table, size_t place, uint32_t xid, int64_t now_ms);
/* `cordon` NULL: no longer. */
void device_table_cordon(struct device_table *table, size_t place, const struct cordon_row *cordon);
/* JSON array of the ids that `run` holds, cut at a whole id. */
void device_table_ids(const struct device_table *table, int64_t run, char *ret_text, size_t size);

/* Any thread. True: the newest report says that this machine has no GPU, and why. */
bool device_table_lacks_gpu(struct device_table *table, char *ret_reason, size_t size);

/* Any thread. Is there a GPU that a worker can compute on, in use or not? What `auto` means. */
bool device_table_has_usable_gpu(struct device_table *table);

/* Any thread. How many GPUs are here, and how many of them have so much memory; the largest one's.
 * Those that are held, cordoned or used by others count too. */
struct device_room {
    size_t gpus, large_enough;
    uint64_t largest_bytes;
};
struct device_room device_table_room(struct device_table *table, uint64_t bytes);

/* Any thread: a copy of every device, present, held or cordoned; the caller frees it. */
IJ_MUST_USE enum ij_status device_table_copy(struct device_table *table,
                                             struct device **ret_devices, size_t *ret_count,
                                             struct ij_err *reterr_err);

#endif
