/*
 * Every handler of the route table, by file: serve_<noun>.c defines serve_<noun>_<verb>.
 *
 * A handler runs in a listener's thread after the caller, the query and the body were checked; its
 * contract is that of router_handler (router.h).
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/reply.h"
#include "api/request.h"

#define HANDLERS(X)                                                                                \
    X(serve_health_live)                                                                           \
    X(serve_health_ready)                                                                          \
    X(serve_health_version)                                                                        \
    X(serve_prometheus_text)                                                                       \
    X(serve_schema_openapi)                                                                        \
    X(serve_schema_kind)                                                                           \
    X(serve_schema_presets)                                                                        \
    X(serve_schema_problem)                                                                        \
    X(serve_session_open)                                                                          \
    X(serve_session_show)                                                                          \
    X(serve_session_close)                                                                         \
    X(serve_runs_list)                                                                             \
    X(serve_runs_show)                                                                             \
    X(serve_runs_config)                                                                           \
    X(serve_runs_attempts)                                                                         \
    X(serve_runs_events)                                                                           \
    X(serve_runs_results)                                                                          \
    X(serve_runs_queue)                                                                            \
    X(serve_submit_run)                                                                            \
    X(serve_command_verb)                                                                          \
    X(serve_command_patch)                                                                         \
    X(serve_command_backup)                                                                        \
    X(serve_gpu_samples_list)                                                                      \
    X(serve_gpus_list)                                                                             \
    X(serve_gpus_show)                                                                             \
    X(serve_gpus_cordon)                                                                           \
    X(serve_gpus_uncordon)                                                                         \
    X(serve_gpus_patch)                                                                            \
    X(serve_sweeps_list)                                                                           \
    X(serve_sweeps_create)                                                                         \
    X(serve_sweeps_show)                                                                           \
    X(serve_audit_list)                                                                            \
    X(serve_retention_pin)                                                                         \
    X(serve_retention_checkpoint)                                                                  \
    X(serve_retention_run)                                                                         \
    X(serve_retention_gc)                                                                          \
    X(serve_bulk_runs)                                                                             \
    X(serve_bulk_move)                                                                             \
    X(serve_submit_clone)                                                                          \
    X(serve_tokens_list)                                                                           \
    X(serve_tokens_create)                                                                         \
    X(serve_tokens_revoke)                                                                         \
    X(serve_status_show)                                                                           \
    X(serve_status_backups)                                                                        \
    X(serve_status_drain)                                                                          \
    X(serve_status_undrain)                                                                        \
    X(serve_status_acknowledge)                                                                    \
    X(serve_webhooks_list)                                                                         \
    X(serve_webhooks_create)                                                                       \
    X(serve_webhooks_show)                                                                         \
    X(serve_webhooks_patch)                                                                        \
    X(serve_webhooks_delete)                                                                       \
    X(serve_webhooks_test)                                                                         \
    X(serve_webhooks_deliveries)                                                                   \
    X(serve_logs_text)                                                                             \
    X(serve_metrics_clock)                                                                         \
    X(serve_metrics_catalogue)                                                                     \
    X(serve_metrics_query)                                                                         \
    X(serve_checkpoints_list)                                                                      \
    X(serve_checkpoints_show)                                                                      \
    X(serve_checkpoints_content)                                                                   \
    X(serve_files_list)                                                                            \
    X(serve_files_content)                                                                         \
    X(serve_visuals_list)                                                                          \
    X(serve_visuals_content)                                                                       \
    X(serve_masks_preview)                                                                         \
    X(serve_events_stream)                                                                         \
    X(serve_static_file)

#define X(name)                                                                                    \
    enum ij_status name(struct request *request, struct reply *reply, struct ij_err *reterr_err);
HANDLERS(X)
#undef X

/* Calls the loop for a request; every failure is told in *reterr_err and request->problem. */
struct control_request;
struct control_reply;
IJ_MUST_USE enum ij_status serve_command_call(struct request *request,
                                              struct control_request *command,
                                              struct control_reply *ret_reply,
                                              struct ij_err *reterr_err);
/* The same for what makes something: takes the Idempotency-Key along and tells a repetition. */
IJ_MUST_USE enum ij_status serve_command_make(struct request *request,
                                              struct control_request *command,
                                              struct control_reply *ret_reply, struct reply *reply,
                                              struct ij_err *reterr_err);
/* Tells what the loop, or one of its rules, refused. Returns its status. */
enum ij_status serve_command_refusal(struct request *request, const struct control_reply *reply,
                                     struct ij_err *reterr_err);
/* Operators act on every run, submitters on their own: else IJ_FORBIDDEN. */
IJ_MUST_USE enum ij_status serve_command_owner(struct request *request, int64_t run,
                                               struct ij_err *reterr_err);
/* Fills *reply with the run as it is now; *ret_row as show_etag needs it. */
IJ_MUST_USE enum ij_status serve_runs_reply(struct request *request, int64_t run,
                                            struct reply *reply, struct ij_err *reterr_err);
/* A file of serve_files_list by its name, with ETag and Range. IJ_NOT_FOUND. */
IJ_MUST_USE enum ij_status serve_files_reply(struct request *request, int64_t run, const char *name,
                                             struct reply *reply, struct ij_err *reterr_err);
/* {"items": [...]} of a list that has no further page. Takes `items`. */
IJ_MUST_USE enum ij_status serve_runs_items(struct reply *reply, json_t *items,
                                            struct ij_err *reterr_err);

#endif
