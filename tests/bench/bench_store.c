/*
 * The store's speed as JSON lines: ingest with the time of each commit, metric queries over a long
 * run from summaries and from frames, and the list of runs. Uses a directory below $TMPDIR or /tmp:
 * the figures include that disk's sync.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/metric_query.h"
#include "store/metric_store.h"
#include "store/run_row.h"

#define KEYS             30
#define RUNS             10
#define STEPS_PER_COMMIT 10
#define INGEST_STEPS     6000
#define LONG_STEPS       200000
#define LONG_RUN         100000
#define LIST_RUNS        10000
#define LIST_REPEATS     200

static struct store *store;
static struct store *reader;
static char directory[256];
static struct ij_err err;

static void must(enum ij_status status)
{
    if (status == IJ_OK)
        return;
    fprintf(stderr, "bench_store: %s\n", err.text);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts; nearest rank. */
static double percentile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, by_value);
    size_t at = (size_t)ceil(share * (double)count);
    return values[at > 0 ? at - 1 : 0];
}

static double now_s(void)
{
    return (double)clock_monotonic_ns() * 1e-9;
}

static int64_t make_stream(int64_t run)
{
    char names[KEYS][16];
    const char *keys[KEYS];
    int64_t stream;
    for (int k = 0; k < KEYS; k++) {
        snprintf(names[k], sizeof names[k], "key%02d", k);
        keys[k] = names[k];
    }
    must(metric_store_stream(store, run, 1, "train", keys, KEYS, &stream, &err));
    return stream;
}

static void put_step(int64_t stream, uint64_t step)
{
    float values[KEYS];
    for (int k = 0; k < KEYS; k++)
        values[k] = sinf((float)step * 0.001f + (float)k);
    must(metric_store_put(store, stream, step, (int64_t)step, values, KEYS, &err));
}

/* As the daemon does it: a commit every 50 ms or 256 KiB. */
static bool is_due(double last_commit)
{
    return metric_store_pending(store) >= 256 * 1024 || now_s() - last_commit > 0.05;
}

/* Several runs interleaved as live training would be; steps_per_commit 0: by time and size. */
static void bench_ingest(int steps_per_commit, int steps)
{
    static double commits[INGEST_STEPS];
    int64_t streams[RUNS];
    size_t count = 0;
    struct store_facts before, after;
    for (int r = 0; r < RUNS; r++)
        streams[r] = make_stream(steps_per_commit * 100 + r + 1);
    store_facts(store, &before);
    double start = now_s(), last = start;
    for (int step = 0; step < steps; step++) {
        for (int r = 0; r < RUNS; r++)
            put_step(streams[r], (uint64_t)step);
        if (steps_per_commit ? step % steps_per_commit != steps_per_commit - 1 : !is_due(last))
            continue;
        double commit = now_s();
        must(metric_store_commit(store, &err));
        last = now_s();
        commits[count++] = last - commit;
        must(store_maintain(store, &err));
    }
    double took_s = now_s() - start, points = (double)steps * RUNS * KEYS;
    store_facts(store, &after);
    double bytes = (double)(after.metrics_bytes - before.metrics_bytes);
    printf("{\"bench\":\"ingest\",\"runs\":%d,\"keys\":%d,\"steps_per_commit\":%d,\"points\":%.0f,"
           "\"points_per_s\":%.0f,\"commit_p50_ms\":%.3f,\"commit_p99_ms\":%.3f,"
           "\"file_bytes_per_point\":%.2f}\n",
           RUNS, KEYS, steps_per_commit, points, points / took_s,
           percentile(commits, count, 0.5) * 1e3, percentile(commits, count, 0.99) * 1e3,
           bytes / points);
}

static void make_long_run(void)
{
    int64_t stream = make_stream(LONG_RUN);
    double start = now_s();
    for (uint64_t step = 0; step < LONG_STEPS; step++) {
        put_step(stream, step);
        if (step % 1000 == 999)
            must(metric_store_commit(store, &err));
    }
    printf("{\"bench\":\"ingest_one_run\",\"steps\":%d,\"keys\":%d,\"points_per_s\":%.0f}\n",
           LONG_STEPS, KEYS, (double)LONG_STEPS * KEYS / (now_s() - start));
}

/* 20 keys over the first `span` steps in at most `buckets` buckets. */
static void bench_query(const char *name, uint64_t span, uint32_t buckets, int repeats)
{
    static double times[1000];
    static const int64_t run = LONG_RUN;
    char names[20][16];
    const char *keys[20];
    size_t rows = 0;
    uint64_t width = 0;
    for (int k = 0; k < 20; k++) {
        snprintf(names[k], sizeof names[k], "key%02d", k);
        keys[k] = names[k];
    }
    struct metric_query query = {.runs = &run,
                                 .run_count = 1,
                                 .keys = keys,
                                 .key_count = 20,
                                 .to = span - 1,
                                 .max_points = buckets};
    for (int i = 0; i < repeats; i++) {
        struct metric_result result;
        double start = now_s();
        must(metric_query(reader, &query, &result, &err));
        times[i] = now_s() - start;
        rows = result.tables[0].rows;
        width = result.width;
        metric_query_done(&result);
    }
    printf("{\"bench\":\"query\",\"from\":\"%s\",\"keys\":20,\"steps\":%llu,\"width\":%llu,"
           "\"buckets\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           name, (unsigned long long)span, (unsigned long long)width, rows,
           percentile(times, (size_t)repeats, 0.5) * 1e3,
           percentile(times, (size_t)repeats, 0.99) * 1e3);
}

static void make_runs(void)
{
    static const char params[] = "{\"model\":\"vit_small\",\"batch\":64,\"epochs\":300,"
                                 "\"learning_rate\":0.001,\"weight_decay\":0.05}";
    must(store_begin(store, &err));
    for (int i = 0; i < LIST_RUNS; i++) {
        struct run_row row = {.kind = "pretrain",
                              .user = "bench",
                              .state = i % 50 ? RUN_STATE_SUCCEEDED : RUN_STATE_QUEUED,
                              .slots = 1,
                              .queue_pos = i + 1,
                              .params = (char *)params,
                              .resolved = (char *)params,
                              .tags = i % 7 ? "[\"sweep\"]" : "[\"baseline\"]",
                              .dataset = "/data/images",
                              .created_ms = 1000 + i};
        snprintf(row.name, sizeof row.name, "run %d", i);
        must(run_row_insert(store, &row, &err));
    }
    must(store_commit(store, &err));
}

static void bench_list(const char *name, struct run_row_filter filter)
{
    static double times[LIST_REPEATS];
    filter.limit = 50;
    for (int i = 0; i < LIST_REPEATS; i++) {
        struct run_row_list list;
        double start = now_s();
        must(run_row_list(reader, &filter, &list, &err));
        times[i] = now_s() - start;
        filter.after = list.more ? list.next : (struct run_row_cursor){0, 0};
        run_row_list_done(&list);
    }
    printf("{\"bench\":\"list\",\"filter\":\"%s\",\"runs\":%d,\"limit\":50,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f}\n",
           name, LIST_RUNS, percentile(times, LIST_REPEATS, 0.5) * 1e3,
           percentile(times, LIST_REPEATS, 0.99) * 1e3);
}

/* With the check of state.db that every start makes. */
static void bench_open(void)
{
    double start = now_s();
    must(store_open(directory, &store, &err));
    printf("{\"bench\":\"open\",\"runs\":%d,\"ms\":%.1f}\n", LIST_RUNS, (now_s() - start) * 1e3);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/ijepad-bench-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(directory))
        return 1;
    must(store_open(directory, &store, &err));
    bench_ingest(STEPS_PER_COMMIT, INGEST_STEPS);
    bench_ingest(1, 1000);
    bench_ingest(0, INGEST_STEPS);
    make_long_run();
    must(store_reader_open(directory, &reader, &err));
    bench_query("summaries", LONG_STEPS, 1000, 200);
    bench_query("frames", 32000, 1000, 100);
    bench_query("frames", METRIC_QUERY_SCAN_MAX, 10000, 50);
    make_runs();
    bench_list("none", (struct run_row_filter){.sort = RUN_ROW_BY_CREATED});
    bench_list("priority order", (struct run_row_filter){.sort = RUN_ROW_BY_PRIORITY});
    bench_list("state", (struct run_row_filter){.states = RUN_STATE_BIT(RUN_STATE_QUEUED)});
    bench_list("tag", (struct run_row_filter){.tag = "baseline"});
    store_close(reader);
    store_close(store);
    bench_open();
    store_close(store);
    must(file_remove_tree(directory, &err));
    return 0;
}
