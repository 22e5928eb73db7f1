/* See store.h. The writer's lock is a flock on store.lock, released by the kernel when it dies. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/seed_bug.h"
#include "store/handle.h"
#include "store/local_disk.h"
#include "store/metric_cache.h"
#include "store/schema.h"

#define SQLITE_OLDEST 3037000 /* STRICT tables */

static enum ij_status check_library(struct ij_err *reterr_err)
{
    if (sqlite3_libversion_number() < SQLITE_OLDEST)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "SQLite %s is older than 3.37, the oldest usable",
                      sqlite3_libversion());
    return IJ_OK;
}

/* Fixed in 3.51.3 and, going back, in 3.50.7 and 3.44.6. One connection that alone writes and
 * checkpoints does not meet it. */
static bool has_wal_reset_race(int version)
{
    return version < 3051003 && !(version >= 3050007 && version < 3051000) &&
           !(version >= 3044006 && version < 3045000);
}

static enum ij_status take_lock(struct store *store, struct ij_err *reterr_err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", store->directory, STORE_LOCK_FILE);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return IJ_OK;
    if (errno == EWOULDBLOCK)
        return IJ_ERR_FIELD(reterr_err, IJ_BUSY, path,
                            "another process uses the state directory %s", store->directory);
    return IJ_ERR_SYS(reterr_err, errno, path, "cannot lock %s", path);
}

/* SQLite makes -wal and -shm with the mode of the file itself. */
static enum ij_status make_file(const char *path, struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    return IJ_OK;
}

static enum ij_status set_wal(struct db *db, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    char mode[16] = "";
    bool row;
    IJ_TRY(db_start(db, "PRAGMA journal_mode=WAL", &q, reterr_err));
    IJ_TRY(db_next(&q, &row, reterr_err));
    if (row)
        db_text(&q, mode, sizeof mode);
    if (strcmp(mode, "wal") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, db->path,
                            "%s cannot use a write-ahead log here (journal mode \"%s\")", db->path,
                            mode);
    return IJ_OK;
}

static enum ij_status prepare_writing(struct db *db, const struct schema *schema, int version,
                                      struct ij_err *reterr_err)
{
    if (version == 0 &&
        schema->application_id ==
            schema_metrics.application_id) /* has an effect before the first table only */
        IJ_TRY(db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", reterr_err));
    IJ_TRY(set_wal(db, reterr_err));
    return db_exec(db,
                   SEED_BUG(SYNCHRONOUS_NORMAL)
                       ? "PRAGMA synchronous=NORMAL"
                       : "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF;"
                         "PRAGMA journal_size_limit=67108864",
                   reterr_err);
}

static enum ij_status copy_before_upgrade(struct store *store, int version,
                                          struct ij_err *reterr_err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s.before-v%d", store->state.path, version);
    if (unlink(path) < 0 && errno != ENOENT) /* of an upgrade that was cut short */
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot remove %s", path);
    return store_backup(store, false, path, reterr_err);
}

static enum ij_status open_one(struct store *store, struct db *db, const char *name,
                               const struct schema *schema, struct ij_err *reterr_err)
{
    char path[1024];
    int version;
    bool precious = db == &store->state;
    snprintf(path, sizeof path, "%s/%s", store->directory, name);
    IJ_TRY(make_file(path, reterr_err));
    IJ_TRY(db_open(db, path, DB_WRITER, reterr_err));
    IJ_TRY(schema_look(db, schema, &version, reterr_err));
    IJ_TRY(prepare_writing(db, schema, version, reterr_err));
    if (precious && version > 0)
        IJ_TRY(db_quick_check(db, reterr_err));
    if (precious && version > 0 && version < schema->version)
        IJ_TRY(copy_before_upgrade(store, schema->version, reterr_err));
    return schema_migrate(db, schema, version, reterr_err);
}

static enum ij_status new_store(const char *directory, bool reader, struct store **ret_store,
                                struct ij_err *reterr_err)
{
    IJ_TRY(check_library(reterr_err));
    struct store *store = mem_new(struct store);
    if (!store)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the store");
    store->reader = reader;
    store->lock_fd = -1;
    *ret_store = store;
    size_t n = strlen(directory);
    if (n == 0 || n >= sizeof store->directory)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory",
                            "the state directory's name is empty or too long: %s", directory);
    memcpy(store->directory, directory, n + 1);
    return IJ_OK;
}

static enum ij_status open_writer(struct store *store, const struct schema *state,
                                  const struct schema *metrics, struct ij_err *reterr_err)
{
    IJ_TRY(file_make_dirs(store->directory, 0700, reterr_err));
    IJ_TRY(local_disk_check(store->directory, reterr_err));
    IJ_TRY(take_lock(store, reterr_err));
    IJ_TRY(open_one(store, &store->state, STORE_STATE_FILE, state, reterr_err));
    IJ_TRY(open_one(store, &store->metrics, STORE_METRICS_FILE, metrics, reterr_err));
    return file_fsync_dir(store->directory, reterr_err);
}

static enum ij_status open_reader_file(struct store *store, struct db *db, const char *name,
                                       const struct schema *schema, struct ij_err *reterr_err)
{
    char path[1024];
    int version;
    snprintf(path, sizeof path, "%s/%s", store->directory, name);
    if (access(path, F_OK) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    IJ_TRY(db_open(db, path, DB_READER, reterr_err));
    db->limit_ns = STORE_READ_LIMIT_MS * 1000000LL;
    IJ_TRY(schema_look(db, schema, &version, reterr_err));
    if (version == schema->version)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, path, "%s has schema version %d, not %d", path,
                        version, schema->version);
}

static enum ij_status open_reader(struct store *store, struct ij_err *reterr_err)
{
    IJ_TRY(open_reader_file(store, &store->state, STORE_STATE_FILE, &schema_state, reterr_err));
    return open_reader_file(store, &store->metrics, STORE_METRICS_FILE, &schema_metrics,
                            reterr_err);
}

/* Hands the store over, or closes what there is of it. */
static enum ij_status finish_open(enum ij_status status, struct store *store,
                                  struct store **ret_store)
{
    if (status == IJ_OK)
        *ret_store = store;
    else
        store_close(store);
    return status;
}

enum ij_status store_open_as(const char *directory, const struct schema *state,
                             const struct schema *metrics, struct store **ret_store,
                             struct ij_err *reterr_err)
{
    struct store *store = NULL;
    enum ij_status status = new_store(directory, false, &store, reterr_err);
    if (status == IJ_OK)
        status = open_writer(store, state, metrics, reterr_err);
    return finish_open(status, store, ret_store);
}

enum ij_status store_open(const char *directory, struct store **ret_store,
                          struct ij_err *reterr_err)
{
    return store_open_as(directory, &schema_state, &schema_metrics, ret_store, reterr_err);
}

enum ij_status store_reader_open(const char *directory, struct store **ret_store,
                                 struct ij_err *reterr_err)
{
    struct store *store = NULL;
    enum ij_status status = new_store(directory, true, &store, reterr_err);
    if (status == IJ_OK)
        status = open_reader(store, reterr_err);
    return finish_open(status, store, ret_store);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    metric_cache_free(store->cache);
    db_rollback(&store->state);
    db_rollback(&store->metrics);
    db_close(&store->metrics);
    db_close(&store->state);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    mem_free(store);
}

enum ij_status store_begin(struct store *store, struct ij_err *reterr_err)
{
    return db_begin(&store->state, reterr_err);
}

enum ij_status store_commit(struct store *store, struct ij_err *reterr_err)
{
    return db_commit(&store->state, reterr_err);
}

void store_rollback(struct store *store)
{
    db_rollback(&store->state);
}

bool store_in_transaction(const struct store *store)
{
    return store->state.begun;
}

enum ij_status store_maintain(struct store *store, struct ij_err *reterr_err)
{
    IJ_ASSERT(!store->reader);
    IJ_TRY(db_checkpoint(&store->state, reterr_err));
    return db_checkpoint(&store->metrics, reterr_err);
}

enum ij_status store_check(struct store *store, struct ij_err *reterr_err)
{
    IJ_TRY(db_quick_check(&store->state, reterr_err));
    return db_quick_check(&store->metrics, reterr_err);
}

static uint64_t file_bytes(const char *path, const char *suffix)
{
    char name[1100];
    struct stat st;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

void store_facts(const struct store *store, struct store_facts *ret_facts)
{
    const struct db *state = &store->state, *metrics = &store->metrics;
    *ret_facts = (struct store_facts){
        .sqlite_version = sqlite3_libversion(),
        .wal_reset_race = has_wal_reset_race(sqlite3_libversion_number()),
        .state_bytes = file_bytes(state->path, ""),
        .metrics_bytes = file_bytes(metrics->path, ""),
        .wal_bytes = file_bytes(state->path, "-wal") + file_bytes(metrics->path, "-wal"),
        .commits = state->commits + metrics->commits,
    };
}

void store_time_commits(struct store *store, struct histogram *histogram)
{
    store->state.times = store->metrics.times = histogram;
}
