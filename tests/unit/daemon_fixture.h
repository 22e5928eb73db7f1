/*
 * A daemon in a temporary directory whose loop does not turn by itself: its verbs are called here,
 * as the loop thread would. Runs and whole checkpoints to call them on.
 */
#ifndef TESTS_UNIT_DAEMON_FIXTURE_H
#define TESTS_UNIT_DAEMON_FIXTURE_H

#include <math.h>
#include <string.h>

#include "tests/unit/failing.h"

#include "base/clock.h"
#include "base/file.h"
#include "daemon/daemon.h"
#include "daemon/reaper.h"
#include "gpu/checkpoint/checkpoint.h"
#include "store/checkpoint_row.h"
#include "store/handle.h"
#include "store/run_row.h"

static struct daemon daemon_;
static struct config daemon_config;
static struct ij_err err;
static char fixture_dir[] = "/dev/shm/ijepad-daemon-XXXXXX";

#define OK(call)          cr_assert_eq((call), IJ_OK, "%s: %s", #call, err.text)
#define GIVES(code, call) cr_assert_eq((call), (code), "%s: %s", #call, err.text)

static inline void fixture_open(void)
{
    failing_install();
    cr_assert_not_null(mkdtemp(fixture_dir));
    config_defaults(&daemon_config);
    snprintf(daemon_config.state_dir, sizeof daemon_config.state_dir, "%s", fixture_dir);
    daemon_config.gpu_probe[0] = daemon_config.listen[0] = '\0';
    daemon_config.backup_period_s = daemon_config.backup_metrics_period_s = 0;
    OK(daemon_open(&daemon_, &daemon_config, &err));
    failing_watch(daemon_.store->state.handle);
    failing_watch(daemon_.store->metrics.handle);
}

static inline void fixture_close(void)
{
    daemon_close(&daemon_);
    OK(file_remove_tree(fixture_dir, &err));
}

static inline const char *fixture_path(const char *name)
{
    static char paths[4][320];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fixture_dir, name);
    return path;
}

/* Turns the loop until the reaper has told of everything that it was given. */
static inline void fixture_settle(void)
{
    int64_t end_ms = clock_monotonic_ms() + 30000;
    while (reaper_waiting(daemon_.reaper)) {
        cr_assert_geq(sd_event_run(daemon_.event, 100000), 0);
        cr_assert_lt(clock_monotonic_ms(), end_ms, "the reaper does not come to an end");
    }
    while (sd_event_run(daemon_.event, 0) > 0)
        ;
}

/* A pretraining run in this state; its number. */
static inline int64_t fixture_run(enum run_state state)
{
    struct run_row row = {.kind = "pretrain",
                          .user = "ann",
                          .name = "r",
                          .state = state,
                          .slots = 1,
                          .created_ms = 1700000000000,
                          .epoch = NAN};
    OK(run_row_insert(daemon_.store, &row, &err));
    return row.id;
}

/* A whole checkpoint of a run on the disk, and its row. */
static inline struct checkpoint_row fixture_checkpoint(int64_t run, uint64_t step)
{
    static float weights[8] = {1, 2, 3};
    static struct safetensors_tensor tensors[2] = {
        {.name = "weight", .type = SAFETENSORS_F32, .dims = 1, .shape = {8}, .data = weights},
        {.name = "moment", .type = SAFETENSORS_F32, .dims = 1, .shape = {8}, .data = weights}};
    const struct checkpoint_content content = {.state = {.step = step,
                                                         .steps_total = 1000,
                                                         .steps_per_epoch = 50,
                                                         .parameters = "{}",
                                                         .trainer = "{}",
                                                         .build = "test",
                                                         .data = "f00d"},
                                               .sections = {{tensors, 1}, {tensors + 1, 1}}};
    struct checkpoint_info info;
    char directory[128];
    struct checkpoint_row row = {.run = run,
                                 .attempt = 1,
                                 .step = step,
                                 .state = CHECKPOINT_ROW_VALID,
                                 .score = NAN,
                                 .created_ms = 1700000000000};
    snprintf(directory, sizeof directory, "%s/runs/r%lld", fixture_dir, (long long)run);
    OK(file_make_dirs(directory, 0700, &err));
    OK(checkpoint_write(directory, &content, NULL, &info, &err));
    snprintf(row.path, sizeof row.path, "%s/checkpoints/step-%012llu", directory,
             (unsigned long long)step);
    snprintf(row.hash, sizeof row.hash, "%s", "ab12");
    OK(checkpoint_row_put(daemon_.store, &row, &err));
    return row;
}

static inline enum checkpoint_row_state fixture_state_of(int64_t checkpoint)
{
    struct checkpoint_row row;
    OK(checkpoint_row_get(daemon_.store, checkpoint, &row, &err));
    return row.state;
}

/* Changes whenever anybody but the asking connection commits to state.db. */
static inline int64_t fixture_version(void)
{
    static sqlite3 *witness;
    static sqlite3_stmt *statement;
    if (!witness) {
        cr_assert_eq(
            sqlite3_open_v2(fixture_path("state.db"), &witness, SQLITE_OPEN_READONLY, NULL),
            SQLITE_OK);
        cr_assert_eq(sqlite3_prepare_v2(witness, "PRAGMA data_version", -1, &statement, NULL),
                     SQLITE_OK);
    }
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t version = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return version;
}

#endif
