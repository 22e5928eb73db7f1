/* See routes.h. A new route is a row here, a handler in serve_<noun>.c (and its line in
 * handlers.h), a schema in schemas.c where it has a new form, and a curl line in docs/api.md. */
#include "api/routes.h"

#include "api/handlers.h"
#include "base/mem.h"
#include "store/run_row.h"

#define STEP_MAX INT64_MAX

static const struct query_spec runs_query[] = {
    {"state", QUERY_TEXT, 0, 256,
     "states, parted by commas; \"live\": every one that has not ended"},
    {"kind", QUERY_TEXT, 0, 32, "one kind of run"},
    {"tag", QUERY_TEXT, 0, 64, "runs with this tag"},
    {"name", QUERY_TEXT, 0, 128, "names that begin with this"},
    {"user", QUERY_TEXT, 0, 64, "who submitted"},
    {"parent", QUERY_TEXT, 0, 24, "runs made from this run, like r42"},
    {"sort", QUERY_TEXT, 0, 16, "created, priority or updated; with - before it: descending"},
    {"limit", QUERY_INTEGER, 1, RUN_ROW_LIST_MAX, "items per page, default 50"},
    {"cursor", QUERY_TEXT, 0, 80, "next_cursor of the page before"},
    {"count", QUERY_FLAG, 0, 0, "1: also the total"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec submit_query[] = {
    {"dry_run", QUERY_FLAG, 0, 0, "1: check and resolve only, change nothing"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec delete_query[] = {
    {"dry_run", QUERY_FLAG, 0, 0, "1: say what would be freed, change nothing"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec page_query[] = {
    {"before", QUERY_INTEGER, 1, STEP_MAX, "next_before of the page before"},
    {"limit", QUERY_INTEGER, 1, 500, "items per page, default 50"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec audit_query[] = {
    {"actor", QUERY_TEXT, 0, 64, "what this user did"},
    {"action", QUERY_TEXT, 0, 48, "like run.cancel"},
    {"target", QUERY_TEXT, 0, 64, "like r42"},
    {"before", QUERY_INTEGER, 1, STEP_MAX, "next_before of the page before"},
    {"limit", QUERY_INTEGER, 1, 500, "items per page, default 50"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec run_events_query[] = {
    {"after", QUERY_INTEGER, 0, STEP_MAX, "events with a greater id"},
    {"limit", QUERY_INTEGER, 1, 1000, "default 200"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec logs_query[] = {
    {"attempt", QUERY_INTEGER, 1, 1000000, "default: the newest"},
    {"from", QUERY_INTEGER, 0, STEP_MAX, "byte offset; the answer's Log-Next header goes on"},
    {"tail", QUERY_INTEGER, 1, 100000, "the last lines, default 500"},
    {"search", QUERY_TEXT, 0, 200, "only lines that hold this text, in any case; with from"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec checkpoints_query[] = {
    {"limit", QUERY_INTEGER, 1, 500, "default 200"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec content_query[] = {
    {"file", QUERY_TEXT, 0, 32, "model.safetensors (default), optimizer.safetensors, state.json"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec metrics_query[] = {
    {"runs", QUERY_TEXT, 0, 1024, "ids parted by commas (required)"},
    {"keys", QUERY_TEXT, 0, 2800, "like train/loss, parted by commas (required)"},
    {"from", QUERY_INTEGER, 0, STEP_MAX, "first step"},
    {"to", QUERY_INTEGER, 0, STEP_MAX, "last step"},
    {"max_points", QUERY_INTEGER, 1, 10000, "buckets per series, default 1000"},
    {"agg", QUERY_TEXT, 0, 8, "minmax (default) or none: every point"},
    {"superseded", QUERY_FLAG, 0, 0, "1: what later attempts replaced, instead of what counts"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec samples_query[] = {
    {"from", QUERY_INTEGER, 0, STEP_MAX, "first second since 1970"},
    {"to", QUERY_INTEGER, 0, STEP_MAX, "last second since 1970"},
    {"max_points", QUERY_INTEGER, 1, 10000, "buckets per series, default 1000"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};
static const struct query_spec events_query[] = {
    {"topics", QUERY_TEXT, 0, 512, "runs (default), gpus, metrics, run:r42; parted by commas"},
    {NULL, QUERY_TEXT, 0, 0, NULL},
};

#define TEXT "text/plain; charset=utf-8"

/* clang-format off */
const struct route routes_table[] = {
    /* method, pattern, handler, role, success, tag, summary, request, response, media, query */
    {"GET", "/healthz", serve_health_live, ROUTER_OPEN, 200, "server",
     "The process is alive; touches no database", NULL, "Health", NULL, NULL},
    {"GET", "/readyz", serve_health_ready, ROUTER_OPEN, 200, "server",
     "It can serve; 503 and the failing check otherwise", NULL, "Ready", NULL, NULL},
    {"GET", "/version", serve_health_version, ROUTER_VIEWER, 200, "server",
     "Build and library versions", NULL, "Version", NULL, NULL},
    {"GET", "/metrics", serve_prometheus_text, ROUTER_VIEWER, 200, "server",
     "Figures for Prometheus", NULL, NULL, "text/plain; version=0.0.4; charset=utf-8", NULL},
    {"GET", "/problems/{code}", serve_schema_problem, ROUTER_OPEN, 200, "server",
     "What a problem's code means", NULL, "ProblemType", NULL, NULL},

    {"GET", "/openapi.json", serve_schema_openapi, ROUTER_OPEN, 200, "description",
     "The same as /v1/openapi.json", NULL, "Any", NULL, NULL},
    {"GET", "/v1/openapi.json", serve_schema_openapi, ROUTER_OPEN, 200, "description",
     "This API as an OpenAPI 3.1 document", NULL, "Any", NULL, NULL},
    {"GET", "/v1/schema/{kind}", serve_schema_kind, ROUTER_VIEWER, 200, "description",
     "JSON schema of the parameters of a kind of run", NULL, "Any", NULL, NULL},
    {"GET", "/v1/presets", serve_schema_presets, ROUTER_VIEWER, 200, "description",
     "Named recipes with their sources", NULL, "Presets", NULL, NULL},

    {"GET", "/v1/session", serve_session_show, ROUTER_VIEWER, 200, "access",
     "Who the caller is", NULL, "Session", NULL, NULL},
    {"POST", "/v1/session", serve_session_open, ROUTER_VIEWER, 200, "access",
     "Trade a token for a browser cookie", NULL, "Session", NULL, NULL},
    {"DELETE", "/v1/session", serve_session_close, ROUTER_VIEWER, 200, "access",
     "End the browser session", NULL, "SessionClosed", NULL, NULL},
    {"GET", "/v1/tokens", serve_tokens_list, ROUTER_ADMIN, 200, "access",
     "Every token, without its secret", NULL, "TokenList", NULL, NULL},
    {"POST", "/v1/tokens", serve_tokens_create, ROUTER_ADMIN, 201, "access",
     "Make a token; its text is told only here", "TokenRequest", "TokenCreated", NULL, NULL},
    {"DELETE", "/v1/tokens/{id}", serve_tokens_revoke, ROUTER_ADMIN, 200, "access",
     "Revoke a token at once", NULL, "TokenRevoked", NULL, NULL},

    {"GET", "/v1/runs", serve_runs_list, ROUTER_VIEWER, 200, "runs",
     "Runs, newest first, by page", NULL, "RunList", NULL, runs_query},
    {"POST", "/v1/runs", serve_submit_run, ROUTER_SUBMITTER, 201, "runs",
     "Submit a run; Idempotency-Key makes a repetition harmless", "Submission", "Run", NULL,
     submit_query},
    {"POST", "/v1/runs/bulk", serve_bulk_runs, ROUTER_SUBMITTER, 200, "commands",
     "One command for many runs; the answer tells of each", "Bulk", "BulkDone", NULL, NULL},
    {"GET", "/v1/runs/{id}", serve_runs_show, ROUTER_VIEWER, 200, "runs",
     "One run with its state and progress", NULL, "Run", NULL, NULL},
    {"PATCH", "/v1/runs/{id}", serve_command_patch, ROUTER_SUBMITTER, 200, "runs",
     "Change name, notes, tags or priority; If-Match guards against lost updates", "RunPatch",
     "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/clone", serve_submit_clone, ROUTER_SUBMITTER, 201, "runs",
     "Submit the same again with edits; the new run's parent is this one", "Clone", "Run", NULL,
     submit_query},
    {"DELETE", "/v1/runs/{id}", serve_retention_run, ROUTER_SUBMITTER, 200, "runs",
     "Delete a run that has ended, with its checkpoints, logs and metrics", NULL, "Deleted", NULL,
     delete_query},
    {"GET", "/v1/runs/{id}/config", serve_runs_config, ROUTER_VIEWER, 200, "runs",
     "Parameters as submitted and as resolved", NULL, "RunConfig", NULL, NULL},
    {"GET", "/v1/runs/{id}/attempts", serve_runs_attempts, ROUTER_VIEWER, 200, "runs",
     "Every start of the run, newest first", NULL, "AttemptList", NULL, NULL},
    {"GET", "/v1/runs/{id}/events", serve_runs_events, ROUTER_VIEWER, 200, "runs",
     "What happened to the run", NULL, "EventList", NULL, run_events_query},
    {"GET", "/v1/runs/{id}/results", serve_runs_results, ROUTER_VIEWER, 200, "runs",
     "What an evaluation found", NULL, "ResultList", NULL, NULL},
    {"GET", "/v1/runs/{id}/files", serve_files_list, ROUTER_VIEWER, 200, "runs",
     "Sheets, grids and features that an evaluation wrote", NULL, "FileList", NULL, NULL},
    {"GET", "/v1/runs/{id}/files/{file}", serve_files_content, ROUTER_VIEWER, 200, "runs",
     "One of those files; Range is understood", NULL, NULL, "*/*", NULL},
    {"GET", "/v1/runs/{id}/visuals", serve_visuals_list, ROUTER_VIEWER, 200, "runs",
     "Pictures of the run's checkpoints, by training step", NULL, "VisualList", NULL, NULL},
    {"GET", "/v1/runs/{id}/visuals/{step}/{kind}", serve_visuals_content, ROUTER_VIEWER, 200,
     "runs", "One of them; Range is understood", NULL, NULL, "*/*", NULL},
    {"GET", "/v1/runs/{id}/logs", serve_logs_text, ROUTER_VIEWER, 200, "runs",
     "What the worker printed; control bytes are shown as \\xNN", NULL, NULL, TEXT, logs_query},
    {"GET", "/v1/runs/{id}/metrics", serve_metrics_catalogue, ROUTER_VIEWER, 200, "metrics",
     "The metrics that a run has", NULL, "MetricCatalogue", NULL, NULL},
    {"GET", "/v1/runs/{id}/clock", serve_metrics_clock, ROUTER_VIEWER, 200, "metrics",
     "When the run did which step, at up to 512 steps", NULL, "MetricClock", NULL, NULL},
    {"GET", "/v1/runs/{id}/checkpoints", serve_checkpoints_list, ROUTER_VIEWER, 200, "checkpoints",
     "Checkpoints of a run, highest step first", NULL, "CheckpointList", NULL, checkpoints_query},

    {"POST", "/v1/runs/{id}/pause", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Save a checkpoint and release the device", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/resume", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Back into the queue, ahead of its priority", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/cancel", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Save a checkpoint and end", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/kill", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "End at once and save nothing", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/hold", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Keep a queued run from starting", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/release", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Let a held run start", "Nothing", "Run", NULL, NULL},
    {"POST", "/v1/runs/{id}/requeue", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Another attempt of an ended run: from its newest checkpoint, or anew", "Requeue", "Run", NULL,
     NULL},
    {"POST", "/v1/runs/{id}/checkpoint", serve_command_verb, ROUTER_SUBMITTER, 200, "commands",
     "Save a checkpoint now and go on", "Nothing", "Run", NULL, NULL},

    {"GET", "/v1/queue", serve_runs_queue, ROUTER_VIEWER, 200, "runs",
     "Runs that have not ended, in the order in which they will start", NULL, "Queue", NULL, NULL},
    {"POST", "/v1/queue/move", serve_bulk_move, ROUTER_SUBMITTER, 200, "runs",
     "Another place in the queue for a run that waits", "Move", "Run", NULL, NULL},
    {"GET", "/v1/gpus", serve_gpus_list, ROUTER_VIEWER, 200, "gpus",
     "The devices that runs are given: host slots and GPUs", NULL, "GpuList", NULL, NULL},
    {"GET", "/v1/gpus/{id}", serve_gpus_show, ROUTER_VIEWER, 200, "gpus",
     "One device", NULL, "Gpu", NULL, NULL},
    {"GET", "/v1/gpus/{id}/samples", serve_gpu_samples_list, ROUTER_VIEWER, 200, "gpus",
     "What a GPU was doing: one sample a second for a day, coarser ones for 30 days", NULL,
     "Metrics", NULL, samples_query},
    {"PATCH", "/v1/gpus/{id}", serve_gpus_patch, ROUTER_OPERATOR, 200, "gpus",
     "Cordon (schedulable false) or uncordon a device", "GpuPatch", "Gpu", NULL, NULL},
    {"POST", "/v1/gpus/{id}/cordon", serve_gpus_cordon, ROUTER_OPERATOR, 200, "gpus",
     "Give the device to no new run; the run that holds it goes on", "Cordon", "Gpu", NULL, NULL},
    {"POST", "/v1/gpus/{id}/uncordon", serve_gpus_uncordon, ROUTER_OPERATOR, 200, "gpus",
     "Give the device to runs again", "Nothing", "Gpu", NULL, NULL},
    {"GET", "/v1/sweeps", serve_sweeps_list, ROUTER_VIEWER, 200, "sweeps",
     "Sweeps, newest first", NULL, "SweepList", NULL, page_query},
    {"POST", "/v1/sweeps", serve_sweeps_create, ROUTER_SUBMITTER, 201, "sweeps",
     "Submit many runs that differ in some parameters: a grid or random draws", "SweepRequest",
     "Sweep", NULL, submit_query},
    {"GET", "/v1/sweeps/{id}", serve_sweeps_show, ROUTER_VIEWER, 200, "sweeps",
     "One sweep with its runs", NULL, "Sweep", NULL, NULL},
    {"GET", "/v1/metrics", serve_metrics_query, ROUTER_VIEWER, 200, "metrics",
     "Values of several runs: JSON, or text/csv or application/vnd.ijepad.f32 by Accept", NULL,
     "Metrics", "application/json, text/csv, application/vnd.ijepad.f32", metrics_query},
    {"GET", "/v1/checkpoints/{id}", serve_checkpoints_show, ROUTER_VIEWER, 200, "checkpoints",
     "One checkpoint", NULL, "Checkpoint", NULL, NULL},
    {"GET", "/v1/checkpoints/{id}/content", serve_checkpoints_content, ROUTER_VIEWER, 200,
     "checkpoints", "Download a file of a checkpoint; Range is understood", NULL, NULL,
     "*/*", content_query},
    {"PATCH", "/v1/checkpoints/{id}", serve_retention_pin, ROUTER_SUBMITTER, 200, "checkpoints",
     "Pin a checkpoint, so that nothing deletes it, or unpin it", "Pin", "Checkpoint", NULL, NULL},
    {"DELETE", "/v1/checkpoints/{id}", serve_retention_checkpoint, ROUTER_SUBMITTER, 200,
     "checkpoints", "Delete a checkpoint and its files; never the newest valid one of a run", NULL,
     "Deleted", NULL, delete_query},
    {"GET", "/v1/events", serve_events_stream, ROUTER_VIEWER, 200, "events",
     "Everything that happens, as it happens; Last-Event-ID replays", NULL, NULL,
     "text/event-stream", events_query},
    {"POST", "/v1/preview/masks", serve_masks_preview, ROUTER_VIEWER, 200, "description",
     "Context and target patches of one sample for a set of parameters", "MaskRequest", "Masks",
     NULL, NULL},
    {"GET", "/v1/status", serve_status_show, ROUTER_VIEWER, 200, "server",
     "How the server is: restored or not, alerts, the newest backups", NULL, "Status", NULL, NULL},
    {"GET", "/v1/admin/backups", serve_status_backups, ROUTER_OPERATOR, 200, "server",
     "The verified copies of the databases, newest first", NULL, "BackupList", NULL, NULL},
    {"POST", "/v1/admin/backup", serve_command_backup, ROUTER_ADMIN, 200, "server",
     "Copy the state database to a new file on the server; without a file: one more of the copies "
     "on schedule (202)",
     "Backup", "BackupDone", NULL, NULL},
    {"POST", "/v1/admin/drain", serve_status_drain, ROUTER_OPERATOR, 200, "server",
     "Start nothing new on any device; what runs goes on", "Drain", "Status", NULL, NULL},
    {"POST", "/v1/admin/undrain", serve_status_undrain, ROUTER_OPERATOR, 200, "server",
     "Start runs again", "Nothing", "Status", NULL, NULL},
    {"POST", "/v1/admin/acknowledge", serve_status_acknowledge, ROUTER_OPERATOR, 200, "server",
     "The restored database was looked at: take submissions again", "Nothing", "Acknowledged", NULL,
     NULL},

    {"GET", "/v1/webhooks", serve_webhooks_list, ROUTER_OPERATOR, 200, "webhooks",
     "Every webhook, without its secret", NULL, "WebhookList", NULL, NULL},
    {"POST", "/v1/webhooks", serve_webhooks_create, ROUTER_ADMIN, 201, "webhooks",
     "Have events posted to an address; the secret that signs them is told only here",
     "WebhookRequest", "WebhookCreated", NULL, NULL},
    {"GET", "/v1/webhooks/{id}", serve_webhooks_show, ROUTER_OPERATOR, 200, "webhooks",
     "One webhook", NULL, "Webhook", NULL, NULL},
    {"PATCH", "/v1/webhooks/{id}", serve_webhooks_patch, ROUTER_ADMIN, 200, "webhooks",
     "Switch a webhook off, which gives up what waits, or on again", "WebhookPatch", "Webhook",
     NULL, NULL},
    {"DELETE", "/v1/webhooks/{id}", serve_webhooks_delete, ROUTER_ADMIN, 200, "webhooks",
     "Delete a webhook with its deliveries", NULL, "WebhookDeleted", NULL, NULL},
    {"POST", "/v1/webhooks/{id}/test", serve_webhooks_test, ROUTER_OPERATOR, 202, "webhooks",
     "Send a message that is about nothing", "Nothing", "WebhookTest", NULL, NULL},
    {"GET", "/v1/webhooks/{id}/deliveries", serve_webhooks_deliveries, ROUTER_OPERATOR, 200,
     "webhooks", "What was sent and what came of it, newest first", NULL, "DeliveryList", NULL,
     page_query},
    {"GET", "/v1/audit", serve_audit_list, ROUTER_ADMIN, 200, "server",
     "Who did what, newest first", NULL, "AuditList", NULL, audit_query},
    {"POST", "/v1/admin/gc", serve_retention_gc, ROUTER_ADMIN, 200, "server",
     "Delete old checkpoints of runs that have ended", "Gc", "GcDone", NULL, delete_query},

    {"GET", "/", serve_static_file, ROUTER_OPEN, 200, "dashboard",
     "The dashboard", NULL, NULL, "text/html", NULL},
    {"GET", "/{file}", serve_static_file, ROUTER_OPEN, 200, "dashboard",
     "A file of the dashboard", NULL, NULL, "*/*", NULL},
};
/* clang-format on */

const size_t routes_count = COUNT_OF(routes_table);
_Static_assert(COUNT_OF(routes_table) <= ROUTES_MAX, "the counters have a place for each route");

size_t routes_index(const struct route *route)
{
    return route ? (size_t)(route - routes_table) : ROUTES_MAX;
}
