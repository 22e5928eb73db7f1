/*
 * The daemon's configuration: an INI file without sections, one table of keys (config.c).
 *
 * Every key has a type, a range, a default and a line of help; an unknown key is an error that
 * names the line and the nearest key. Read once at start and again at SIGHUP, where only the keys
 * marked reloadable in the table take effect. Plain data: copying the struct copies everything.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "daemon/data_roots.h"

#define CONFIG_PATH_MAX     1024
#define CONFIG_HOSTS_MAX    16
#define CONFIG_HOST_MAX     256
#define CONFIG_DEFAULT_FILE "/etc/ijepad/ijepad.conf"

struct config {
    char state_dir[CONFIG_PATH_MAX]; /* absolute; databases, runs/, logs/ and the lock live here */
    char listen[CONFIG_HOST_MAX];    /* "127.0.0.1:8765", "[::1]:8765"; "" = no TCP */
    char socket[CONFIG_PATH_MAX];    /* Unix socket; default <state_dir>/ijepad.sock; "off" in the
                                        file leaves it empty = none */
    char socket_group[CONFIG_HOST_MAX]; /* members are admin over the Unix socket; "" = none but
                                           root and the daemon's own user */
    char worker[CONFIG_PATH_MAX];       /* default: ijepad-worker beside the running ijepad */
    char gpu_probe[CONFIG_PATH_MAX];    /* default: ijepad-worker beside the running ijepad; "off":
                                           no GPUs are looked for */
    char hosts[CONFIG_HOSTS_MAX][CONFIG_HOST_MAX]; /* Host headers accepted besides localhost,
                                                      127.0.0.1, [::1] and the listen address */
    size_t host_count;
    char data_roots[DATA_ROOTS_SIZE]; /* where requests may name data; "" = anywhere */
    bool allow_remote;                /* listen may be an address beyond loopback */
    bool open_metrics;                /* GET /metrics needs no token */
    uint32_t slots;                   /* runs at a time on the host backend */
    uint32_t threads;                 /* threads of each; 0 = cores / slots */
    uint32_t start_timeout_s, hang_timeout_s, stop_grace_s, pause_grace_s, unkillable_s;
    uint32_t retry_failures_max; /* failures of one cause in a row: failed */
    uint32_t retry_stuck_max;    /* failures without a newer checkpoint before quarantine */
    uint32_t retry_base_ms, retry_cap_ms;
    uint32_t priority_age_s;        /* waiting so long counts as one of priority; 0 = nothing */
    uint32_t preempt_min_runtime_s; /* a run is left alone for so long after its start */
    uint32_t preempt_max;           /* times that a run may be preempted; 0 = never */
    uint64_t log_bytes_max;         /* of one attempt's log */
    uint64_t disk_floor_bytes;      /* below this much free space nothing starts */
    uint32_t body_bytes_max;        /* of an HTTP request */
    uint32_t connections_max;       /* per listening socket */
    uint32_t streams_max, streams_per_token_max; /* event streams */
    uint32_t quota_live_runs, quota_devices;     /* per user; 0: none */
    uint32_t backup_period_s, backup_keep;       /* of state.db; 0: none */
    uint32_t backup_metrics_period_s, backup_metrics_keep;
    uint64_t wal_alarm_bytes;
    char dcgm_map_dir[CONFIG_PATH_MAX];    /* "" = none is written */
    char webhook_program[CONFIG_PATH_MAX]; /* default: ijepad-webhook beside the running ijepad */
    char webhook_socket[CONFIG_PATH_MAX];  /* "" = the daemon starts the program itself */
    bool webhook_allow_local;              /* targets may be this machine or its link */
    uint32_t webhook_tries, webhook_retry_base_ms;
    char log_level[16]; /* "" = as IJEPAD_LOG says */
};

void config_defaults(struct config *config);
/* Reads `path` over the defaults. `must_exist` false: a missing file gives the defaults. The
 * error's field is the key and its text begins with "<path>:<line>: ". */
IJ_MUST_USE enum ij_status config_load(const char *path, bool must_exist, struct config *ret_config,
                                       struct ij_err *reterr_err);
/* The same from memory, `path` only named in errors. */
IJ_MUST_USE enum ij_status config_parse(const char *text, const char *path,
                                        struct config *ret_config, struct ij_err *reterr_err);
/* Every key with its value, its help as comments: a file that config_load reads back. */
void config_print(const struct config *config, struct buf *buf);
/* Takes the reloadable keys of `fresh` over into *config, and appends the names of others that
 * differ, parted by commas, to `left`. */
void config_reload(struct config *config, const struct config *fresh, struct buf *left);
/* docs/configuration.md. */
void config_page(struct buf *buf);

#endif
