/*
 * See schemas.h. Written in a short form: "name: type" pairs, where a type is
 *   s text, i integer, n number, b boolean, t time, o object, a array, * anything,
 *   @Name another schema, [Name] an array of it; a leading ? means "or null" (not for @Name).
 */
#include "api/schemas.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/params.h"
#include "daemon/submit.h"

struct member {
    const char *name, *type, *help;
};

struct schema {
    const char *name, *help;
    const char *required;      /* member that a request must have; NULL: none */
    struct member members[52]; /* ends with a NULL name */
};

/* clang-format off */
static const struct schema schemas[] = {
    {"Any", "See the description.", NULL, {{NULL, NULL, NULL}}},
    {"Nothing", "An empty object, or no body.", NULL, {{NULL, NULL, NULL}}},
    {"Health", "The process is alive.", NULL,
     {{"status", "s", "\"ok\""}, {"uptime_s", "n", "seconds since the start"},
      {"degraded", "b", "restored from a backup, not acknowledged: see /v1/status"}}},
    {"Ready", "Whether it can serve.", NULL,
     {{"status", "s", "\"ready\" or \"not_ready\""}, {"checks", "o", "\"ok\" or why not"},
      {"degraded", "b", "restored from a backup: submissions are refused"}}},
    {"Version", "What is running.", NULL,
     {{"api", "s", "\"v1\""}, {"build", "s", "commit"}, {"sqlite", "s", "version"},
      {"libmicrohttpd", "s", "version"}}},
    {"ProblemType", "What a code means.", NULL,
     {{"code", "s", "what programs switch on"}, {"title", "s", "for people"},
      {"status", "i", "HTTP status"}}},
    {"Problem", "An error (RFC 9457).", NULL,
     {{"type", "s", "/problems/<code>"}, {"title", "s", "what kind of error"},
      {"status", "i", "HTTP status"}, {"detail", "s", "what is wrong here"},
      {"instance", "s", "the path asked for"}, {"code", "s", "what programs switch on"},
      {"request_id", "s", "also in the Request-Id header"},
      {"errors", "[FieldError]", "each wrong field"},
      {"state", "s", "state of the run that refused"},
      {"allowed", "a", "commands that this state allows"}}},
    {"FieldError", "One wrong field.", NULL,
     {{"pointer", "s", "JSON pointer into the body"}, {"detail", "s", "what was expected"}}},
    {"Run", "A run.", NULL,
     {{"id", "s", "like r42"}, {"name", "s", NULL}, {"kind", "s", NULL},
      {"state", "s", "held, queued, starting, running, pausing, paused, stopping, backoff, "
                     "succeeded, failed, canceled, quarantined"},
      {"desired", "s", "what was last asked for: run, hold, pause, cancel, kill"},
      {"reason", "?s", "why it is in this state, for programs"},
      {"reason_text", "?s", "the same for people"},
      {"deadline", "?t", "when the daemon escalates"},
      {"not_before", "?t", "end of a back-off"},
      {"pending", "?o", "why it waits: code, text, blocking_runs, and eta where one can be told"},
      {"backend", "?s", "host or cuda"}, {"device", "?s", NULL},
      {"attempts", "i", "starts so far"}, {"failures", "i", "since the last progress"},
      {"phase", "?s", "loading, training, evaluating, saving"},
      {"step", "i", "optimiser steps done"}, {"steps", "?i", "planned"},
      {"progress", "?n", "0 to 1"}, {"epoch", "?n", NULL}, {"images_per_s", "?n", NULL},
      {"eta_s", "?n", "seconds to the end"}, {"last", "?o", "newest metrics"},
      {"health", "?o", "verdict (healthy, watch, collapsing), rule, text, step, since_step, "
                       "figures; empty before the first check"},
      {"user", "s", "who submitted it"},
      {"parent", "?s", "run it was made from"},
      {"sweep", "?s", "sweep that made it, like s3"}, {"priority", "i", "higher first"},
      {"gpus", "a", "devices that it holds or held last, by id"},
      {"gpus_wanted", "i", "how many it asks for"},
      {"gpu_memory_bytes", "i", "least memory of each"},
      {"preemptible", "b", "may be paused for a run of higher priority"},
      {"preemptions", "i", "times that it was"},
      {"queued", "t", "since when it waits or waited last"},
      {"tags", "a", NULL}, {"notes", "s", NULL}, {"dataset", "?s", "path of the images"},
      {"retention", "@Retention", "empty: the defaults"},
      {"created", "t", NULL}, {"updated", "t", NULL}, {"started", "?t", NULL},
      {"finished", "?t", NULL}}},
    {"RunList", "A page of runs.", NULL,
     {{"items", "[Run]", NULL}, {"next_cursor", "?s", "null on the last page"},
      {"total", "i", "only with count=1"}}},
    {"Queue", "Runs that have not ended.", NULL,
     {{"active", "[Run]", "have a worker"}, {"waiting", "[Run]", "in the order of their start"},
      {"parked", "[Run]", "held or paused"}}},
    {"Gpu", "A device: a slot of the host, or a GPU.", NULL,
     {{"id", "s", "host-0, or the GPU's UUID"}, {"kind", "s", "host or gpu"},
      {"index", "i", "number of the slot, or of the GPU in PCI order"}, {"name", "s", NULL},
      {"state", "s", "free, held, cordoned, foreign, faulted, unknown, gone"},
      {"run", "?s", "run that holds it, like r42"},
      {"schedulable", "b", "new runs may be given it: not cordoned, faulted, unknown or gone"},
      {"cordon", "?o", "by whom, why and since when it is kept out of use: by, reason, since"},
      {"trouble", "?s", "what is wrong with it"},
      {"foreign", "a", "processes on it that are no worker of ours: pid, command, memory_bytes"},
      {"xids", "a",
       "errors that the driver told of since the start: xid, class, text, count, last"},
      {"memory_bytes", "i", "the GPU's own; of a slot: its share of the machine's"},
      {"memory_used_bytes", "?i", NULL}, {"utilization_ratio", "?n", "0 to 1"},
      {"temperature_c", "?n", NULL}, {"power_w", "?n", NULL}, {"power_limit_w", "?n", NULL},
      {"clock_mhz", "?n", NULL}, {"compute", "?s", "compute capability, like 9.0"},
      {"ecc_uncorrected", "?i", "errors since the driver was loaded"}}},
    {"GpuList", "The devices.", NULL, {{"items", "[Gpu]", "host slots first"}}},
    {"Cordon", "Why.", "reason", 
     {{"reason", "s", "1 to 255 bytes, shown to everybody"},
      {"evict", "?b", "true: the run that holds it saves and goes on elsewhere"}}},
    {"GpuPatch", "In use or not.", "schedulable",
     {{"schedulable", "b", "false: cordon; true: uncordon"},
      {"reason", "?s", "why; required to cordon"}}},
    {"RunConfig", "Parameters of a run.", NULL,
     {{"id", "s", NULL}, {"kind", "s", NULL}, {"submitted", "o", "as sent"},
      {"resolved", "o", "with every default"}, {"build", "?s", "commit that accepted it"},
      {"parent", "?s", "run it was made from"},
      {"diff", "?[ConfigDiff]", "resolved parameters that differ from the parent's; null without a "
                               "parent of the same kind"}}},
    {"ConfigDiff", "One parameter that differs.", NULL,
     {{"key", "s", NULL}, {"parent", "*", "there; null: it has none"},
      {"value", "*", "here; null: it has none"}}},
    {"Clone", "Edits of the run to clone; what is left out stays.", NULL,
     {{"name", "s", NULL}, {"params", "o", "merged over those submitted; null: the default"},
      {"priority", "i", NULL}, {"after", "a", NULL}, {"tags", "a", NULL}, {"notes", "s", NULL},
      {"hold", "b", NULL}, {"gpus", "i", NULL}, {"gpu_memory_bytes", "i", NULL},
      {"preemptible", "b", NULL}, {"retention", "@Retention", "takes the place of the whole"}}},
    {"Bulk", "One command for many runs.", "action",
     {{"action", "s", "cancel, kill, pause, resume, hold, release, requeue, checkpoint"},
      {"ids", "a", "1 to 200 runs"}}},
    {"BulkDone", "What came of each.", NULL,
     {{"action", "s", NULL}, {"done", "i", NULL}, {"refused", "i", NULL},
      {"items", "[BulkItem]", "in the order asked"}}},
    {"BulkItem", "What came of one.", NULL,
     {{"id", "s", NULL}, {"status", "i", "as the single command would have answered"},
      {"state", "?s", "of the run now"}, {"code", "?s", "why it was refused, for programs"},
      {"detail", "?s", "the same for people"}}},
    {"Move", "Where to; one of before, after and top.", "run",
     {{"run", "s", "which"}, {"before", "s", "this run, taking over its priority"},
      {"after", "s", "this run, taking over its priority"},
      {"top", "b", "true: before every run of its priority"}}},
    {"RunPatch", "What may be changed.", NULL,
     {{"name", "s", NULL}, {"notes", "s", NULL}, {"tags", "a", "names"},
      {"priority", "i", "-1000 to 1000"},
      {"retention", "@Retention", "keys left out stay"}}},
    {"Retention", "What checkpoints of a run stay.", NULL,
     {{"latest", "i", "so many newest, 1 or more"}, {"best", "i", "so many best, 0 or more"},
      {"best_by", "s", "knn or rankme"},
      {"every_epochs", "n", "and the first after each multiple of so many epochs; 0: off"}}},
    {"Requeue", "Where to go on.", NULL,
     {{"from", "?s", "\"checkpoint\": the newest one; \"scratch\": anew"}}},
    {"AttemptList", "Starts of a run.", NULL, {{"items", "[Attempt]", NULL}}},
    {"Attempt", "One start of a run.", NULL,
     {{"n", "i", "1, 2, ..."}, {"pid", "?i", NULL}, {"started", "t", NULL}, {"ended", "?t", NULL},
      {"exit_code", "?i", NULL}, {"signal", "?i", NULL}, {"cause", "?s", "for programs"},
      {"text", "?s", "for people"}, {"from_step", "i", NULL}, {"last_step", "i", NULL},
      {"device", "?s", NULL}, {"gpus", "a", "devices that it held, by id"}}},
    {"EventList", "What happened.", NULL, {{"items", "[Event]", NULL}}},
    {"Event", "One event.", NULL,
     {{"id", "i", "also the id in the stream"}, {"time", "t", NULL}, {"run", "?s", NULL},
      {"type", "s", NULL}, {"data", "o", NULL}}},
    {"ResultList", "Results.", NULL, {{"items", "[Result]", NULL}}},
    {"Result", "One result.", NULL,
     {{"name", "s", NULL}, {"step", "i", NULL}, {"created", "t", NULL}, {"result", "o", NULL}}},
    {"FileList", "Files of an evaluation.", NULL, {{"items", "[File]", NULL}}},
    {"File", "One file.", NULL,
     {{"name", "s", "as in its path"}, {"folder", "s", "visualize or features"},
      {"type", "s", "media type"}, {"size_bytes", "i", NULL}}},
    {"VisualList", "Pictures of a run, the newest visualisations first.", NULL,
     {{"items", "[Visual]", NULL}}},
    {"Visual", "Pictures of one checkpoint.", NULL,
     {{"step", "i", "training step"}, {"epoch", "?n", NULL},
      {"sha256", "?s", "of the checkpoint"}, {"run", "s", "the visualisation that made them"},
      {"created", "t", NULL},
      {"kinds", "o", "by kind (masks, pca, error, similarity, attention, neighbors, decoder, "
                     "grids) the name of the file"}}},
    {"DryRun", "What would be submitted.", NULL,
     {{"dry_run", "b", NULL}, {"resolved", "*", "with every default; of a sweep: each run's"},
      {"plan", "*", "memory and work; null: unknown. bytes_total: the most that a batch can take; "
                    "bytes_resident: what of it a host is to hold after 16 batches"}}},
    {"CheckpointList", "Checkpoints.", NULL, {{"items", "[Checkpoint]", NULL}}},
    {"Checkpoint", "One checkpoint.", NULL,
     {{"id", "s", "like c7"}, {"run", "s", NULL}, {"attempt", "i", NULL}, {"step", "i", NULL},
      {"epoch", "?n", NULL}, {"state", "s", "writing, valid, deleting, gone, corrupt"},
      {"size_bytes", "i", NULL}, {"sha256", "?s", "over the files' hashes"},
      {"path", "s", "on the server"}, {"pinned", "b", NULL},
      {"score", "?n", "k-NN or RankMe up to then"},
      {"created", "t", NULL},
      {"kept_for", "a", "latest, best, epoch, pinned; empty: may go. Only in lists"}}},
    {"SweepRequest", "A submission, and what varies in its parameters.", "kind",
     {{"kind", "s", NULL}, {"name", "s", "at most 58 characters"},
      {"params", "o", "what all share"},
      {"priority", "i", NULL}, {"tags", "a", NULL}, {"notes", "s", NULL}, {"hold", "b", NULL},
      {"gpus", "i", NULL}, {"gpu_memory_bytes", "i", NULL}, {"preemptible", "b", NULL},
      {"retention", "@Retention", NULL},
      {"max_parallel", "i", "runs at a time, 1 to 64, default 1"},
      {"grid", "o", "arrays of values by parameter: every combination"},
      {"random", "o", "count, seed, and space: by parameter an array of choices or an object "
                      "uniform, log or integer with [low, high]"}}},
    {"Sweep", "A sweep.", NULL,
     {{"id", "s", "like s3"}, {"name", "s", NULL}, {"user", "s", NULL},
      {"max_parallel", "i", NULL}, {"created", "t", NULL}, {"count", "i", "runs"},
      {"ended", "i", "runs that have ended"}, {"spec", "o", "as sent"},
      {"runs", "a", "ids, oldest first; not in lists"}}},
    {"SweepList", "A page of sweeps.", NULL,
     {{"items", "[Sweep]", NULL}, {"next_before", "?i", "null on the last page"}}},
    {"AuditList", "A page of the audit log.", NULL,
     {{"items", "[AuditEntry]", NULL}, {"next_before", "?i", "null on the last page"}}},
    {"AuditEntry", "Who did what.", NULL,
     {{"id", "i", NULL}, {"time", "t", NULL}, {"actor", "s", NULL}, {"address", "?s", NULL},
      {"action", "s", "like run.cancel"}, {"target", "?s", "like r42"}, {"detail", "?o", NULL}}},
    {"WebhookList", "Webhooks.", NULL, {{"items", "[Webhook]", NULL}}},
    {"Webhook", "Who is told of which events.", NULL,
     {{"id", "s", "like w3"}, {"url", "s", NULL}, {"events", "a", "names"}, {"note", "?s", NULL},
      {"user", "s", "who made it"}, {"enabled", "b", NULL},
      {"reason", "?s", "why it is switched off"}, {"created", "t", NULL},
      {"waiting", "i", "deliveries still to be made"},
      {"last_state", "?s", "of the newest that has ended: delivered or failed"},
      {"last_http", "?i", "its last answer; null: none came"}, {"last_ended", "?t", NULL}}},
    {"WebhookRequest", "A webhook to make.", "url",
     {{"url", "s", "http or https"},
      {"events", "a", "1 to 32 of *, run.state, run.<state>, run.checkpoint, run.result, "
                      "run.warning, run.rewind, run.health, run.changed, run.deleted, "
                      "run.checkpoint_pinned, run.checkpoint_deleted, server"},
      {"note", "?s", "at most 128 bytes"}}},
    {"WebhookCreated", "The new webhook.", NULL,
     {{"id", "s", NULL}, {"url", "s", NULL}, {"events", "a", NULL}, {"note", "?s", NULL},
      {"user", "s", NULL}, {"enabled", "b", NULL}, {"reason", "?s", NULL}, {"created", "t", NULL},
      {"waiting", "i", NULL}, {"last_state", "?s", NULL}, {"last_http", "?i", NULL},
      {"last_ended", "?t", NULL},
      {"secret", "?s", "told only here; null when an Idempotency-Key is used again"}}},
    {"WebhookPatch", "Whether it is on.", "enabled", {{"enabled", "b", NULL}}},
    {"WebhookDeleted", "It is gone.", NULL, {{"id", "s", NULL}, {"deleted", "b", NULL}}},
    {"WebhookTest", "What was made.", NULL, {{"delivery", "s", "like d17"}}},
    {"DeliveryList", "A page of deliveries.", NULL,
     {{"items", "[Delivery]", NULL}, {"next_before", "?i", "null on the last page"}}},
    {"Delivery", "One message to one webhook.", NULL,
     {{"id", "s", "like d17: the header webhook-id"}, {"event", "s", "name of the event"},
      {"event_id", "?i", "its id; null: a test"}, {"run", "?s", NULL},
      {"state", "s", "waiting, delivered, failed"}, {"tries", "i", "so far"},
      {"next", "?t", "of the next try"}, {"http", "?i", "last answer; null: none came"},
      {"error", "?s", "why the last try failed"}, {"created", "t", NULL}, {"ended", "?t", NULL}}},
    {"Pin", "Whether it stays.", "pinned", {{"pinned", "b", NULL}}},
    {"Deleted", "What went, or would go.", NULL,
     {{"id", "s", NULL}, {"dry_run", "b", NULL}, {"freed_bytes", "i", "of files on disk"}}},
    {"Gc", "What to keep.", NULL,
     {{"keep", "?i", "newest checkpoints of each run that stay, 1 to 1000, default 1"}}},
    {"GcDone", "What went, or would go.", NULL,
     {{"dry_run", "b", NULL}, {"freed_bytes", "i", NULL},
      {"items", "[GcItem]", "at most 100 a call"}, {"more", "b", "there is more: ask again"}}},
    {"GcItem", "One checkpoint.", NULL,
     {{"id", "s", NULL}, {"run", "s", NULL}, {"step", "i", NULL}, {"freed_bytes", "i", NULL},
      {"detail", "?s", "why it stays; null: it went"}}},
    {"MetricCatalogue", "Metrics of a run.", NULL, {{"items", "[MetricKey]", NULL}}},
    {"MetricKey", "One metric.", NULL,
     {{"key", "s", "stream and name, like train/loss"}, {"count", "i", NULL},
      {"nonfinite", "i", NULL}, {"first_step", "i", NULL}, {"last_step", "i", NULL},
      {"min", "?n", NULL}, {"max", "?n", NULL}, {"last", "?n", NULL}}},
    {"MetricClock", "When a run did which step.", NULL,
     {{"start", "?t", "of the first step"}, {"step", "a", "ascending"},
      {"elapsed_s", "a", "since start, pauses included"}}},
    {"Metrics", "Values in columns.", NULL,
     {{"width", "i", "steps per bucket, a power of two"}, {"tables", "[MetricTable]", NULL}}},
    {"MetricTable", "Columns that share their steps.", NULL,
     {{"run", "s", NULL}, {"stream", "s", NULL}, {"rows", "i", NULL},
      {"step", "a", "first step of each bucket"}, {"series", "[MetricSeries]", NULL}}},
    {"MetricSeries", "One metric.", NULL,
     {{"key", "s", NULL}, {"count", "i", "points behind it"}, {"nonfinite", "i", NULL},
      {"min", "a", NULL}, {"max", "a", NULL}, {"mean", "a", NULL}, {"last", "a", NULL}}},
    {"Presets", "Named recipes.", NULL, {{"items", "a", "name, kind, source, help, params"}}},
    {"MaskRequest", "What to preview.", NULL,
     {{"params", "o", "of a pretrain run; dataset may be left out"},
      {"sample", "?i", "which sample"},
      {"draws", "?i", "0 to 1000: also tell how many patches so many samples would show"}}},
    {"Masks", "Patch numbers, row by row.", NULL,
     {{"grid", "i", "patches per side"}, {"context", "a", NULL}, {"targets", "a", "by block"},
      {"kept", "?o",
       "draws, and counts: pairs of a number of context patches and how many draws kept so many"}}},
    {"Session", "Who the caller is.", NULL,
     {{"user", "s", NULL}, {"role", "s", "viewer, submitter, operator, admin"},
      {"token", "?s", "id of the token"}, {"by_cookie", "b", NULL}}},
    {"SessionClosed", "The session has ended.", NULL, {{"closed", "b", NULL}}},
    {"TokenList", "Tokens.", NULL, {{"items", "[Token]", NULL}}},
    {"Token", "A token without its secret.", NULL,
     {{"id", "s", NULL}, {"user", "s", NULL}, {"role", "s", NULL}, {"note", "?s", NULL},
      {"created", "t", NULL}, {"expires", "?t", NULL}, {"used", "?t", NULL},
      {"revoked", "?t", NULL}}},
    {"TokenRequest", "A token to make.", "user",
     {{"user", "s", "name"}, {"role", "?s", "viewer, submitter, operator, admin"},
      {"expires_s", "?i", "seconds from now; never if left out"}}},
    {"TokenCreated", "The new token.", NULL,
     {{"id", "s", NULL},
      {"token", "?s", "told only here; null when an Idempotency-Key is used again"},
      {"user", "s", NULL}, {"role", "s", NULL}, {"expires", "*", NULL}}},
    {"TokenRevoked", "The token no longer counts.", NULL,
     {{"id", "s", NULL}, {"revoked", "b", NULL}}},
    {"Backup", "Where the copy goes.", NULL,
     {{"file", "?s", "absolute path of a new file; left out: the folder of the regular copies"}}},
    {"BackupDone", "Where the copy is.", NULL,
     {{"file", "?s", "null: it is under way"}}},
    {"BackupList", "Verified copies.", NULL, {{"items", "[BackupEntry]", NULL}}},
    {"BackupEntry", "One verified copy.", NULL,
     {{"name", "s", "file below state_dir/backups"}, {"database", "s", "state or metrics"},
      {"made", "t", NULL}, {"size_bytes", "i", NULL}}},
    {"Drain", "Why.", "reason", {{"reason", "s", "1 to 255 bytes, shown to everybody"}}},
    {"Acknowledged", "Submissions are taken again.", NULL, {{"acknowledged", "b", NULL}}},
    {"Status", "How the server is.", NULL,
     {{"status", "s", "\"ok\" or \"degraded\""}, {"uptime_s", "n", NULL},
      {"degraded", "?o", "what was restored: at, reason, files, checkpoints found on disk, "
                         "unknown_runs: on disk but not in the backup"},
      {"drained", "?o", "nothing is started: by, reason, since"},
      {"alerts", "a", "alert and text of each"},
      {"backups", "o", "state and metrics: time of the newest copy; running; error of the last"}}},
};
/* clang-format on */

static json_t *reference(const char *name, size_t size)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%.*s", (int)size, name));
}

static const char *plain_type(char letter)
{
    switch (letter) {
    case 's':
    case 't':
        return "string";
    case 'i':
        return "integer";
    case 'n':
        return "number";
    case 'b':
        return "boolean";
    case 'a':
        return "array";
    default:
        return "object";
    }
}

static json_t *type_schema(const char *type)
{
    if (type[0] == '*')
        return json_object();
    if (type[0] == '@')
        return reference(type + 1, strlen(type + 1));
    if (type[0] == '[')
        return json_pack("{s:s, s:o}", "type", "array", "items",
                         reference(type + 1, strlen(type) - 2));
    if (type[0] == '?' && type[1] == '[')
        return json_pack("{s:[s, s], s:o}", "type", "array", "null", "items",
                         reference(type + 2, strlen(type) - 3));
    if (type[0] == '?')
        return json_pack("{s:[s, s]}", "type", plain_type(type[1]), "null");
    json_t *schema = json_pack("{s:s}", "type", plain_type(type[0]));
    if (type[0] == 't')
        (void)json_object_set_new(schema, "format", json_string("date-time"));
    return schema;
}

static json_t *schema_to_json(const struct schema *schema)
{
    json_t *properties = json_object();
    for (const struct member *member = schema->members; member->name; member++) {
        json_t *value = type_schema(member->type);
        if (member->help)
            (void)json_object_set_new(value, "description", json_string(member->help));
        (void)json_object_set_new(properties, member->name, value);
    }
    json_t *object = json_pack("{s:s, s:s, s:o}", "type", "object", "description", schema->help,
                               "properties", properties);
    if (schema->required)
        (void)json_object_set_new(object, "required", json_pack("[s]", schema->required));
    return object;
}

static json_t *after_schema(void)
{
    return json_pack("{s:s, s:i, s:{s:[{s:s}, {s:s, s:[s], s:{s:{s:s}, s:{s:[s, s]}}}]}}", "type",
                     "array", "maxItems", 16, "items", "anyOf", "type", "string", "type", "object",
                     "required", "run", "properties", "run", "type", "string", "on", "enum", "ok",
                     "any");
}

/* One kind's submission: the parameters come from the parameter table. */
static json_t *submission_of(enum engine_kind kind)
{
    json_t *properties = json_pack(
        "{s:{s:s}, s:{s:s, s:s}, s:o, s:{s:s, s:i, s:i}, s:o, s:{s:s, s:i}, s:{s:s, s:i}, "
        "s:{s:s}}",
        "kind", "const", params_kind_name(kind), "name", "type", "string", "pattern",
        "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$", "params", params_schema(kind), "priority", "type",
        "integer", "minimum", -1000, "maximum", 1000, "after", after_schema(), "tags", "type",
        "array", "maxItems", 16, "notes", "type", "string", "maxLength", 4096, "hold", "type",
        "boolean");
    json_object_set_new(
        properties, "gpus",
        json_pack("{s:s, s:i, s:i}", "type", "integer", "minimum", 1, "maximum", SUBMIT_GPUS_MAX));
    json_object_set_new(properties, "gpu_memory_bytes",
                        json_pack("{s:s, s:i, s:I}", "type", "integer", "minimum", 0, "maximum",
                                  (json_int_t)SUBMIT_MEMORY_MAX));
    json_object_set_new(properties, "preemptible", json_pack("{s:s}", "type", "boolean"));
    json_object_set_new(properties, "retention",
                        json_pack("{s:s}", "$ref", "#/components/schemas/Retention"));
    return json_pack("{s:s, s:b, s:[s, s], s:o}", "type", "object", "additionalProperties", 0,
                     "required", "kind", "params", "properties", properties);
}

json_t *schemas_all(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        (void)json_object_set_new(all, schemas[i].name, schema_to_json(&schemas[i]));
    json_t *kinds = json_array();
    for (int kind = 0; kind < ENGINE_KIND_COUNT; kind++)
        (void)json_array_append_new(kinds, submission_of((enum engine_kind)kind));
    (void)json_object_set_new(all, "Submission", json_pack("{s:o}", "oneOf", kinds));
    return all;
}
