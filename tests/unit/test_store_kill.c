/* A writer killed at random moments loses nothing that it acknowledged. */
#include "tests/unit/metric_model.h"

#include <signal.h>
#include <sys/wait.h>

#include "store/event_row.h"

TestSuite(store_kill, .init = fixture_new_dir, .fini = fixture_close, .timeout = 240);

#define KILLS     20
#define PER_GROUP 5

static const char *const keys[] = {"a", "b", "c"};

static float value_of(uint64_t step, size_t key)
{
    return (float)(step * 3 + key) * 0.5f;
}

/* Writes groups of frames and an event each, and reports the step after their commits. */
static void child_writes(int pipe_fd, uint64_t from)
{
    struct store *mine;
    int64_t stream;
    if (store_open(fixture_dir, &mine, NULL) != IJ_OK ||
        metric_store_stream(mine, 1, 1, "train", keys, 3, &stream, NULL) != IJ_OK)
        _exit(1);
    for (uint64_t step = from;; step++) {
        float values[3] = {value_of(step, 0), value_of(step, 1), value_of(step, 2)};
        if (metric_store_put(mine, stream, step, 1, values, 3, NULL) != IJ_OK)
            _exit(2);
        if (step % PER_GROUP != PER_GROUP - 1)
            continue;
        struct event_row event = {.ts_ms = (int64_t)step, .type = "group"};
        if (metric_store_commit(mine, NULL) != IJ_OK ||
            event_row_append(mine, &event, NULL) != IJ_OK || store_maintain(mine, NULL) != IJ_OK)
            _exit(3);
        if (write(pipe_fd, &step, sizeof step) != sizeof step)
            _exit(4);
    }
}

/* Kills the child after `reports` reports and some work of random length; the last step
 * reported. */
static uint64_t run_and_kill(uint64_t from, uint32_t reports, uint32_t spin)
{
    int fds[2], wait_status;
    uint64_t step, last = 0;
    cr_assert_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        child_writes(fds[1], from);
    }
    close(fds[1]);
    for (uint32_t i = 0; i < reports && read(fds[0], &step, sizeof step) == sizeof step; i++)
        last = step;
    for (volatile uint32_t i = 0; i < spin; i++)
        ;
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &wait_status, 0), child);
    cr_assert(WIFSIGNALED(wait_status), "the writer failed with %d", WEXITSTATUS(wait_status));
    while (read(fds[0], &step, sizeof step) == sizeof step)
        last = step;
    close(fds[0]);
    return last;
}

static void check_frames(uint64_t acknowledged)
{
    static const int64_t run = 1;
    struct metric_query query = {
        .runs = &run, .run_count = 1, .keys = keys, .key_count = 3, .to = UINT64_MAX, .raw = true};
    struct metric_result result;
    OK(store_open(fixture_dir, &store, &err));
    OK(store_check(store, &err));
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.count, 1);
    const struct metric_table *table = &result.tables[0];
    cr_assert_gt(table->rows, acknowledged);
    cr_assert_eq(table->rows % PER_GROUP, 0, "a commit is whole or absent");
    for (size_t i = 0; i < table->rows; i++) {
        cr_assert_eq(table->step[i], i);
        for (size_t k = 0; k < 3; k++)
            cr_assert_eq(table->series[k].last[i], value_of(i, k));
    }
    metric_query_done(&result);
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=6"),
                 fixture_value("metrics.db", "SELECT count(*) FROM frame"));
    cr_assert_geq(fixture_value("state.db", "SELECT max(ts_ms) FROM event"), (int64_t)acknowledged);
    store_close(store);
    store = NULL;
}

Test(store_kill, twenty_kills_lose_no_acknowledged_frame)
{
    struct rng rng;
    uint64_t acknowledged = 0, from = 0;
    rng_init(&rng, 11, RNG_TEST, 0, 0);
    for (int i = 0; i < KILLS; i++) {
        uint64_t last = run_and_kill(from, 1 + rng_below(&rng, 60), rng_below(&rng, 3000000));
        cr_assert_gt(last, 0);
        acknowledged = last > acknowledged ? last : acknowledged;
        check_frames(acknowledged);
        /* A worker sends again from somewhere before what was acknowledged. */
        uint64_t back = rng_below(&rng, 40);
        from = (acknowledged + 1 > back ? acknowledged + 1 - back : 0) / PER_GROUP * PER_GROUP;
    }
}
