/*
 * See schema.h. A step is never edited once released: append the next one. Columns that lists read
 * come first and long text last, so that a scan stays on the row's first page.
 */
#include "store/schema.h"

#include <stdio.h>

#include "base/mem.h"

static const char state_1[] =
    "CREATE TABLE run(id INTEGER PRIMARY KEY AUTOINCREMENT, ver INTEGER NOT NULL,"
    " name TEXT NOT NULL, kind TEXT NOT NULL CHECK(kind IN('pretrain','linear_probe','knn',"
    "'low_shot','finetune','clevr','features','visualize','scan','benchmark')),"
    " user TEXT NOT NULL, parent INTEGER REFERENCES run(id) ON DELETE SET NULL,"
    " state TEXT NOT NULL CHECK(state IN('held','queued','starting','running','pausing','paused',"
    "'stopping','backoff','succeeded','failed','canceled','quarantined')),"
    " desired TEXT NOT NULL CHECK(desired IN('run','hold','pause','cancel','kill')),"
    " reason TEXT NOT NULL, deadline_ms INTEGER NOT NULL, priority INTEGER NOT NULL,"
    " queue_pos REAL NOT NULL, slots INTEGER NOT NULL CHECK(slots>=1),"
    " backend TEXT NOT NULL, device TEXT NOT NULL, attempts INTEGER NOT NULL,"
    " failures INTEGER NOT NULL, preemptions INTEGER NOT NULL, failure TEXT NOT NULL,"
    " same_failures INTEGER NOT NULL, not_before_ms INTEGER NOT NULL,"
    " step INTEGER NOT NULL, steps INTEGER NOT NULL, epoch REAL, images_per_s REAL, eta_s REAL,"
    " phase TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL, build TEXT NOT NULL,"
    " tags TEXT NOT NULL CHECK(json_type(tags)='array'), reason_text TEXT NOT NULL,"
    " dataset TEXT NOT NULL, health TEXT NOT NULL CHECK(json_type(health)='object'),"
    " last TEXT NOT NULL CHECK(json_type(last)='object'),"
    " retention TEXT NOT NULL CHECK(json_type(retention)='object'), notes TEXT NOT NULL,"
    " params TEXT NOT NULL CHECK(json_type(params)='object'),"
    " resolved TEXT NOT NULL CHECK(json_type(resolved)='object')) STRICT;"
    "CREATE INDEX run_live ON run(priority DESC, queue_pos, id)"
    " WHERE state NOT IN('succeeded','failed','canceled','quarantined');"
    "CREATE INDEX run_created ON run(created_ms, id);"
    "CREATE INDEX run_priority ON run(priority, id);"
    "CREATE INDEX run_updated ON run(updated_ms, id);"
    "CREATE INDEX run_state ON run(state);"
    "CREATE INDEX run_parent ON run(parent) WHERE parent IS NOT NULL;"

    "CREATE TABLE attempt(run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,"
    " n INTEGER NOT NULL CHECK(n>=1), pid INTEGER NOT NULL, boot_id TEXT NOT NULL,"
    " started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, exit_code INTEGER NOT NULL,"
    " signal INTEGER NOT NULL, cause TEXT NOT NULL, text TEXT NOT NULL,"
    " from_step INTEGER NOT NULL, last_step INTEGER NOT NULL, device TEXT NOT NULL,"
    " PRIMARY KEY(run,n)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX attempt_open ON attempt(run) WHERE ended_ms=0;"

    "CREATE TABLE dep(run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,"
    " on_run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,"
    " condition TEXT NOT NULL CHECK(condition IN('ok','end')), CHECK(on_run<run),"
    " PRIMARY KEY(run,on_run)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX dep_on ON dep(on_run, run);"

    "CREATE TABLE checkpoint(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, attempt INTEGER NOT NULL,"
    " step INTEGER NOT NULL, epoch REAL, path TEXT NOT NULL, bytes INTEGER NOT NULL,"
    " hash TEXT NOT NULL, state TEXT NOT NULL"
    " CHECK(state IN('writing','valid','deleting','gone','corrupt')),"
    " pinned INTEGER NOT NULL CHECK(pinned IN(0,1)), score REAL, created_ms INTEGER NOT NULL,"
    " UNIQUE(run,step,path)) STRICT;"

    "CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, ts_ms INTEGER NOT NULL,"
    " run INTEGER NOT NULL, type TEXT NOT NULL,"
    " body TEXT NOT NULL CHECK(json_type(body)='object')) STRICT;"
    "CREATE INDEX event_run ON event(run, id) WHERE run<>0;"

    "CREATE TABLE result(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, name TEXT NOT NULL,"
    " step INTEGER NOT NULL, json TEXT NOT NULL CHECK(json_type(json)='object'),"
    " created_ms INTEGER NOT NULL, UNIQUE(run,name,step)) STRICT;"

    "CREATE TABLE token(id TEXT PRIMARY KEY, sha256 BLOB NOT NULL CHECK(length(sha256)=32),"
    " user TEXT NOT NULL, role TEXT NOT NULL"
    " CHECK(role IN('viewer','submitter','operator','admin')), note TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL,"
    " revoked_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE idem(user TEXT NOT NULL, key TEXT NOT NULL,"
    " body_sha256 BLOB NOT NULL CHECK(length(body_sha256)=32), status INTEGER NOT NULL,"
    " response TEXT, ts_ms INTEGER NOT NULL, PRIMARY KEY(user,key)) STRICT;"
    "CREATE INDEX idem_ts ON idem(ts_ms);"

    "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, ts_ms INTEGER NOT NULL,"
    " actor TEXT NOT NULL, address TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,"
    " detail TEXT NOT NULL) STRICT;";

static const char metrics_1[] =
    "CREATE TABLE stream(id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, name TEXT NOT NULL, keys TEXT NOT NULL, dead_after INTEGER,"
    " UNIQUE(run,attempt,name,keys)) STRICT;"
    "CREATE TABLE frame(stream INTEGER NOT NULL REFERENCES stream(id), step INTEGER NOT NULL,"
    " ts_ms INTEGER NOT NULL, v BLOB NOT NULL, PRIMARY KEY(stream,step)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE frame_lod(stream INTEGER NOT NULL REFERENCES stream(id), lvl INTEGER NOT NULL,"
    " bucket INTEGER NOT NULL, n INTEGER NOT NULL, v BLOB NOT NULL,"
    " PRIMARY KEY(stream,lvl,bucket)) STRICT, WITHOUT ROWID;";

/* When a waiting run may start, and sweeps: runs made from one description. */
static const char state_2[] =
    "CREATE TABLE sweep(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " user TEXT NOT NULL, max_parallel INTEGER NOT NULL CHECK(max_parallel>=1),"
    " spec TEXT NOT NULL CHECK(json_type(spec)='object'), created_ms INTEGER NOT NULL) STRICT;"
    "ALTER TABLE run ADD COLUMN start_eta_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE run ADD COLUMN sweep INTEGER REFERENCES sweep(id);"
    "CREATE INDEX run_sweep ON run(sweep, id) WHERE sweep IS NOT NULL;";

/* Webhooks: who is told of events, and each message. */
static const char state_3[] =
    "CREATE TABLE webhook(id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL,"
    " events TEXT NOT NULL CHECK(json_type(events)='array'), secret TEXT NOT NULL,"
    " note TEXT NOT NULL, user TEXT NOT NULL, enabled INTEGER NOT NULL CHECK(enabled IN(0,1)),"
    " reason TEXT NOT NULL, cursor INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE delivery(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " webhook INTEGER NOT NULL REFERENCES webhook(id) ON DELETE CASCADE, event INTEGER NOT NULL,"
    " run INTEGER NOT NULL, type TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK(state IN('waiting','delivered','failed')),"
    " tries INTEGER NOT NULL, next_ms INTEGER NOT NULL, http INTEGER NOT NULL,"
    " error TEXT NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
    " body TEXT NOT NULL CHECK(json_type(body)='object')) STRICT;"
    "CREATE INDEX delivery_webhook ON delivery(webhook, id);"
    "CREATE INDEX delivery_waiting ON delivery(webhook, id) WHERE state='waiting';";

/* Devices: which a run asks for and held, which are kept out of use; age in the queue; preemption;
 * the attempt with which a history that was begun anew starts. */
static const char state_4[] =
    "CREATE TABLE cordon(device TEXT PRIMARY KEY, actor TEXT NOT NULL, reason TEXT NOT NULL,"
    " ts_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "ALTER TABLE run ADD COLUMN queued_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE run ADD COLUMN gpu_memory_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE run ADD COLUMN preemptible INTEGER NOT NULL DEFAULT 0"
    " CHECK(preemptible IN(0,1));"
    "ALTER TABLE run ADD COLUMN scratch_attempt INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE run ADD COLUMN blocking TEXT NOT NULL DEFAULT '[]'"
    " CHECK(json_type(blocking)='array');"
    "ALTER TABLE run ADD COLUMN gpus TEXT NOT NULL DEFAULT '[]' CHECK(json_type(gpus)='array');"
    "ALTER TABLE attempt ADD COLUMN gpus TEXT NOT NULL DEFAULT '[]'"
    " CHECK(json_type(gpus)='array');"
    "UPDATE run SET queued_ms=created_ms;";

/* What lists of runs filter by lies in the index of their order: rows that do not match are passed
 * over without being read. */
#define RUN_FILTERS "state, kind, user, parent, name, tags"
static const char state_5[] =
    "DROP INDEX run_created; CREATE INDEX run_created ON run(created_ms, id, " RUN_FILTERS ");"
    "DROP INDEX run_priority; CREATE INDEX run_priority ON run(priority, id, " RUN_FILTERS ");"
    "DROP INDEX run_updated; CREATE INDEX run_updated ON run(updated_ms, id, " RUN_FILTERS ");";

static const char *const state_steps[] = {state_1, state_2, state_3, state_4, state_5};
static const char *const metrics_steps[] = {metrics_1};

const struct schema schema_state = {"state", 0x494A4550, COUNT_OF(state_steps), state_steps};
const struct schema schema_metrics = {"metrics", 0x494A454D, COUNT_OF(metrics_steps),
                                      metrics_steps};

enum ij_status schema_look(struct db *db, const struct schema *schema, int *ret_version,
                           struct ij_err *reterr_err)
{
    int64_t id, version, objects;
    IJ_TRY(db_value(db, "PRAGMA application_id", &id, reterr_err));
    IJ_TRY(db_value(db, "PRAGMA user_version", &version, reterr_err));
    IJ_TRY(db_value(db, "SELECT count(*) FROM sqlite_schema", &objects, reterr_err));
    *ret_version = 0;
    if (id == 0 && version == 0 && objects == 0)
        return IJ_OK;
    if (id != schema->application_id || version < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, db->path,
                            "%s is not a %s database of this program", db->path, schema->what);
    if (version > schema->version)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, db->path,
                            "%s has schema version %lld, newer than %d, the newest this program "
                            "knows; it was not touched",
                            db->path, (long long)version, schema->version);
    *ret_version = (int)version;
    return IJ_OK;
}

static enum ij_status migrate_one(struct db *db, const struct schema *schema, int next,
                                  struct ij_err *reterr_err)
{
    char numbers[96];
    snprintf(numbers, sizeof numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d",
             schema->application_id, next);
    IJ_TRY(db_begin(db, reterr_err));
    enum ij_status status = db_exec(db, schema->steps[next - 1], reterr_err);
    if (status == IJ_OK)
        status = db_exec(db, numbers, reterr_err);
    if (status == IJ_OK)
        return db_commit(db, reterr_err);
    db_rollback(db);
    return status;
}

enum ij_status schema_migrate(struct db *db, const struct schema *schema, int version,
                              struct ij_err *reterr_err)
{
    for (int next = version + 1; next <= schema->version; next++)
        IJ_TRY(migrate_one(db, schema, next, reterr_err));
    return IJ_OK;
}
