/* Reading a row of table `run`. Internal to store/. */
#ifndef STORE_RUN_READ_H
#define STORE_RUN_READ_H

#include "store/db.h"
#include "store/run_row.h"

#define RUN_READ_COLUMNS                                                                           \
    "id,name,kind,user,parent,build,state,desired,reason,reason_text,deadline_ms,priority,"        \
    "queue_pos,slots,backend,device,attempts,failures,preemptions,failure,same_failures,"          \
    "not_before_ms,start_eta_ms,sweep,queued_ms,scratch_attempt,blocking,gpus,gpu_memory_bytes,"   \
    "preemptible,step,steps,epoch,images_per_s,eta_s,phase,ver,created_ms,"                        \
    "updated_ms,"                                                                                  \
    "started_ms,finished_ms,params,resolved,tags,notes,retention,dataset,health,last"

/* From the current row of a statement that selects exactly RUN_READ_COLUMNS. */
IJ_MUST_USE enum ij_status run_read_row(struct db_query *q, struct run_row *ret_row,
                                        struct ij_err *reterr_err);

#endif
