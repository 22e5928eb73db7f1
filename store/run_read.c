/* See run_read.h. */
#include "store/run_read.h"

static void read_state(struct db_query *q, struct run_row *row)
{
    char state[16], desired[16];
    db_text(q, state, sizeof state);
    db_text(q, desired, sizeof desired);
    /* CHECK constraints allow no other names. */
    IJ_ASSERT(run_state_from_name(state, &row->state));
    IJ_ASSERT(run_state_desire_from_name(desired, &row->desired));
    db_text(q, row->reason, sizeof row->reason);
    db_text(q, row->reason_text, sizeof row->reason_text);
    row->deadline_ms = db_int(q);
    row->priority = (int32_t)db_int(q);
    row->queue_pos = db_real(q);
    row->slots = (int32_t)db_int(q);
    db_text(q, row->backend, sizeof row->backend);
    db_text(q, row->device, sizeof row->device);
    row->attempts = (int32_t)db_int(q);
    row->failures = (int32_t)db_int(q);
    row->preemptions = (int32_t)db_int(q);
    db_text(q, row->failure, sizeof row->failure);
    row->same_failures = (int32_t)db_int(q);
    row->not_before_ms = db_int(q);
    row->start_eta_ms = db_int(q);
    row->sweep = db_int(q);
    row->queued_ms = db_int(q);
    row->scratch_attempt = (int32_t)db_int(q);
    db_text(q, row->blocking, sizeof row->blocking);
    db_text(q, row->gpus, sizeof row->gpus);
    row->gpu_memory_bytes = (uint64_t)db_int(q);
    row->preemptible = db_int(q) != 0;
}

static void read_progress(struct db_query *q, struct run_row *row)
{
    row->step = (uint64_t)db_int(q);
    row->steps = (uint64_t)db_int(q);
    row->epoch = db_real(q);
    row->images_per_s = db_real(q);
    row->eta_s = db_real(q);
    db_text(q, row->phase, sizeof row->phase);
}

enum ij_status run_read_row(struct db_query *q, struct run_row *ret_row, struct ij_err *reterr_err)
{
    struct run_row row = {.id = db_int(q)};
    db_text(q, row.name, sizeof row.name);
    db_text(q, row.kind, sizeof row.kind);
    db_text(q, row.user, sizeof row.user);
    row.parent = db_int(q);
    db_text(q, row.build, sizeof row.build);
    read_state(q, &row);
    read_progress(q, &row);
    row.ver = db_int(q);
    row.created_ms = db_int(q);
    row.updated_ms = db_int(q);
    row.started_ms = db_int(q);
    row.finished_ms = db_int(q);
    row.params = db_text_dup(q);
    row.resolved = db_text_dup(q);
    row.tags = db_text_dup(q);
    row.notes = db_text_dup(q);
    row.retention = db_text_dup(q);
    row.dataset = db_text_dup(q);
    row.health = db_text_dup(q);
    row.last = db_text_dup(q);
    enum ij_status status = db_copied(q, reterr_err);
    if (status == IJ_OK)
        *ret_row = row;
    else
        run_row_done(&row);
    return status;
}
