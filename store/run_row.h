/*
 * Rows of table `run`. `ver` counts changes a person or the state machine made; it guards updates
 * and is the ETag. Progress does not count: it changes every second.
 */
#ifndef STORE_RUN_ROW_H
#define STORE_RUN_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/run_state.h"
#include "store/store.h"

#define RUN_ROW_NAME_MAX   128 /* bytes of UTF-8 without the NUL, as all of these */
#define RUN_ROW_USER_MAX   64
#define RUN_ROW_NOTES_MAX  16384
#define RUN_ROW_REASON_MAX 511
#define RUN_ROW_TAGS_MAX   32 /* tags per run */
#define RUN_ROW_LIST_MAX   500
#define RUN_ROW_GPUS_SIZE  768 /* JSON array of the ids of 64 host slots or 16 GPUs */

/*
 * Pointers are NUL-terminated JSON or text. Rows read from the store own them: run_row_done.
 * For run_row_insert and the updates they are borrowed; NULL stands for the default in brackets.
 */
struct run_row {
    int64_t id;                      /* set by insert */
    char name[RUN_ROW_NAME_MAX + 1]; /* any UTF-8 text; "" is allowed */
    char kind[24];                   /* "pretrain", "linear_probe", "knn", ... */
    char user[RUN_ROW_USER_MAX + 1]; /* who submitted it */
    int64_t parent;                  /* run this one was cloned from or evaluates; 0: none */
    int64_t sweep;                   /* which made it; 0: none; written by insert only */
    char *params;                    /* JSON object as submitted [{}] */
    char *resolved;                  /* JSON object with every default filled in [{}] */
    char *tags;                      /* JSON array of strings [[]] */
    char *notes;                     /* [""] */
    char *retention;                 /* JSON object [{}] */
    char *dataset;                   /* path of the training images [""] */
    char build[64];                  /* build id that accepted it */

    enum run_state state;
    enum run_state_desire desired;
    char reason[48]; /* machine code: "user", "hung", "no_slots", ...; "" none */
    char reason_text[RUN_ROW_REASON_MAX + 1]; /* the same for a person, one sentence */
    int64_t deadline_ms;                      /* when the daemon escalates; 0: never */
    int64_t start_eta_ms; /* waiting: when it may start, as far as one can tell; 0: unknown */
    int32_t priority;     /* larger first */
    double queue_pos;     /* smaller first within a priority */
    int32_t slots;        /* devices wanted, >= 1 */
    char backend[16];     /* which kind: "host", "cuda" */
    char device[128];     /* where it runs or ran */
    int32_t attempts;     /* starts so far = number of the newest attempt */
    int32_t failures;     /* failures since the last progress */
    int32_t preemptions;
    char failure[65];        /* fingerprint of the last failure; "" none */
    int32_t same_failures;   /* consecutive failures with that fingerprint */
    int64_t not_before_ms;   /* back-off ends; 0: now */
    int64_t queued_ms;       /* since when it waits, for its age; insert: 0 = created_ms */
    int32_t scratch_attempt; /* its history begins with this attempt; 0: with the first */
    char blocking[160];      /* JSON array: runs that it waits for, as far as they are told [[]] */
    char gpus[RUN_ROW_GPUS_SIZE]; /* JSON array: devices it holds or held last [[]] */

    uint64_t gpu_memory_bytes; /* least memory of each device; 0: any; written by insert only */
    bool preemptible;          /* may be paused for one of higher priority; insert only */

    uint64_t step, steps;              /* done and planned; 0 when unknown */
    double epoch, images_per_s, eta_s; /* NaN: unknown */
    char phase[24];                    /* "loading", "training", ... */
    char *health;                      /* JSON object of the newest health figures [{}] */
    char *last;                        /* JSON object of the newest metrics [{}] */

    int64_t ver; /* starts at 1 */
    int64_t created_ms, updated_ms, started_ms, finished_ms;
};

void run_row_done(struct run_row *row); /* frees the pointers; leaves the row zeroed */

/* Sets row->id, ver = 1, updated_ms = created_ms. queue_pos 0 means the end of the queue. */
IJ_MUST_USE enum ij_status run_row_insert(struct store *store, struct run_row *row,
                                          struct ij_err *reterr_err);
/* IJ_NOT_FOUND if there is none. */
IJ_MUST_USE enum ij_status run_row_get(struct store *store, int64_t id, struct run_row *ret_row,
                                       struct ij_err *reterr_err);
/*
 * Writes the block from `state` to `gpus`, started_ms and finished_ms, where the stored
 * ver still equals row->ver; then ver and updated_ms (= now_ms) move in both. IJ_CONFLICT: somebody
 * changed it since it was read; IJ_NOT_FOUND.
 */
IJ_MUST_USE enum ij_status run_row_update_state(struct store *store, struct run_row *row,
                                                int64_t now_ms, struct ij_err *reterr_err);
/* The same for name, tags, notes, retention and priority. */
IJ_MUST_USE enum ij_status run_row_update_meta(struct store *store, struct run_row *row,
                                               int64_t now_ms, struct ij_err *reterr_err);
/* Writes the block from `step` to `last` without touching ver; at most about once a second per run.
 */
IJ_MUST_USE enum ij_status run_row_update_progress(struct store *store, const struct run_row *row,
                                                   int64_t now_ms, struct ij_err *reterr_err);
/* The first live run that needs this one: waits for it, or reads one of its checkpoints ("r42" or
 * "c7"); *ret_user 0: none. */
IJ_MUST_USE enum ij_status run_row_user(struct store *store, int64_t id, int64_t *ret_user,
                                        struct ij_err *reterr_err);
/* Terminal runs only (IJ_CONFLICT); attempts, results and checkpoint rows go with it. */
IJ_MUST_USE enum ij_status run_row_delete(struct store *store, int64_t id,
                                          struct ij_err *reterr_err);

enum run_row_sort { RUN_ROW_BY_CREATED, RUN_ROW_BY_PRIORITY, RUN_ROW_BY_UPDATED };

struct run_row_cursor {
    int64_t key, id; /* of the last row seen; id 0: from the start */
};

struct run_row_filter {
    uint32_t states;                             /* mask of RUN_STATE_BIT; 0: all */
    const char *kind, *tag, *name_prefix, *user; /* NULL: any */
    int64_t parent;                              /* 0: any */
    enum run_row_sort sort;
    bool ascending; /* false: newest or highest first */
    uint32_t limit; /* 1..RUN_ROW_LIST_MAX, else IJ_INVALID */
    struct run_row_cursor after;
};

struct run_row_list {
    struct run_row *rows;
    size_t count;
    bool more; /* `next` continues the list */
    struct run_row_cursor next;
};
void run_row_list_done(struct run_row_list *list);

/* Ties are broken by id, so pages neither repeat nor miss a row that does not itself move. */
IJ_MUST_USE enum ij_status run_row_list(struct store *store, const struct run_row_filter *filter,
                                        struct run_row_list *ret_list, struct ij_err *reterr_err);
/* How many rows the filter matches; limit and cursor are ignored. */
IJ_MUST_USE enum ij_status run_row_count(struct store *store, const struct run_row_filter *filter,
                                         int64_t *ret_count, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status run_row_count_by_state(struct store *store,
                                                  int64_t ret_counts[RUN_STATE_COUNT],
                                                  struct ij_err *reterr_err);
/* Every live run in scheduling order: priority down, queue_pos up, id up. No limit. */
IJ_MUST_USE enum ij_status run_row_live(struct store *store, struct run_row_list *ret_list,
                                        struct ij_err *reterr_err);

#endif
