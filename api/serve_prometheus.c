/* GET /metrics: the text format 0.0.4 of Prometheus, from one read of the store and from counters.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/exposition.h"
#include "api/handlers.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/condition.h"
#include "daemon/tally.h"
#include "store/run_row.h"

#define TEXT_MAX ((size_t)1024 * 1024)

static void put_queue(struct buf *text, const struct run_row_list *live)
{
    int64_t now_ms = clock_wall_ms(), oldest_ms = now_ms;
    for (size_t i = 0; i < live->count; i++)
        if (live->rows[i].state == RUN_STATE_QUEUED && live->rows[i].created_ms < oldest_ms)
            oldest_ms = live->rows[i].created_ms;
    exposition_head(text, "ijepad_queue_oldest_seconds", "gauge", "Age of the oldest queued run.");
    buf_printf(text, "ijepad_queue_oldest_seconds %.3f\n", (double)(now_ms - oldest_ms) / 1000.0);
}

static void put_failures(struct buf *text, struct tally *tally)
{
    struct tally_failure failures[TALLY_REASONS_MAX];
    size_t count = tally_failures(tally, failures);
    exposition_head(text, "ijepad_run_failures_total", "counter",
                    "Attempts of runs that failed, by cause.");
    for (size_t i = 0; i < count; i++)
        buf_printf(text, "ijepad_run_failures_total{reason=\"%s\"} %" PRIu64 "\n",
                   failures[i].reason, failures[i].count);
}

static enum ij_status put_runs(struct buf *text, struct api *api, struct store *store,
                               struct ij_err *reterr_err)
{
    int64_t counts[RUN_STATE_COUNT];
    struct run_row_list live;
    IJ_TRY(run_row_count_by_state(store, counts, reterr_err));
    IJ_TRY(run_row_live(store, &live, reterr_err));
    exposition_head(text, "ijepad_runs", "gauge", "Runs by state.");
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        buf_printf(text, "ijepad_runs{state=\"%s\"} %" PRId64 "\n",
                   run_state_name((enum run_state)i), counts[i]);
    put_queue(text, &live);
    put_failures(text, api->tally);
    enum ij_status status = exposition_devices(text, api, live.rows, live.count, reterr_err);
    run_row_list_done(&live);
    return status;
}

static void put_durations(struct buf *text, const struct api *api)
{
    char labels[256];
    exposition_head(text, "ijepad_http_request_duration_seconds", "histogram",
                    "Answers by route and class of status: from the first line to the answer.");
    for (size_t i = 0; i <= ROUTES_MAX; i++) {
        const struct route *route = i < routes_count ? &routes_table[i] : NULL;
        for (size_t kind = 2; kind <= 5 && (route || i == ROUTES_MAX); kind++) {
            const struct histogram *answers = &api->counts[i].answers[kind];
            uint64_t counts[HISTOGRAM_BOUNDS + 1];
            (void)histogram_read(answers, counts);
            (void)snprintf(labels, sizeof(labels), "route=\"%s\",method=\"%s\",code=\"%zuxx\"",
                           route ? route->pattern : "none", route ? route->method : "any", kind);
            if (counts[HISTOGRAM_BOUNDS])
                exposition_histogram(text, "ijepad_http_request_duration_seconds", labels, answers);
        }
    }
}

static void put_http(struct buf *text, struct api *api)
{
    put_durations(text, api);
    exposition_head(text, "ijepad_http_overdue_total", "counter",
                    "Connections cut for being too slow.");
    buf_printf(text, "ijepad_http_overdue_total %" PRIu64 "\n", atomic_load(&api->overdue));
    exposition_head(text, "ijepad_http_connections", "gauge", "Open connections.");
    buf_printf(text, "ijepad_http_connections %u\n", deadline_count(api->deadlines));
    exposition_head(text, "ijepad_sse_clients", "gauge", "Open event streams.");
    buf_printf(text, "ijepad_sse_clients %u\n", stream_hub_count(api->streams));
    exposition_head(text, "ijepad_frames_dropped_total", "counter",
                    "Items of event streams whose readers were too slow for them.");
    buf_printf(text, "ijepad_frames_dropped_total %" PRIu64 "\n", stream_hub_dropped(api->streams));
}

static void put_store(struct buf *text, struct api *api, const struct store *store)
{
    struct store_facts facts;
    store_facts(store, &facts);
    exposition_head(text, "ijepad_db_bytes", "gauge", "Size of the database files.");
    buf_printf(text, "ijepad_db_bytes{file=\"state\"} %" PRIu64 "\n", facts.state_bytes);
    buf_printf(text, "ijepad_db_bytes{file=\"metrics\"} %" PRIu64 "\n", facts.metrics_bytes);
    exposition_head(text, "ijepad_db_wal_bytes", "gauge", "Size of both write-ahead logs.");
    buf_printf(text, "ijepad_db_wal_bytes %" PRIu64 "\n", facts.wal_bytes);
    if (api->tally) {
        exposition_head(text, "ijepad_db_commit_seconds", "histogram",
                        "Time of each commit of the state and of the metrics.");
        exposition_histogram(text, "ijepad_db_commit_seconds", "", tally_commits(api->tally));
    }
    struct condition_view view;
    condition_read(api->condition, &view);
    exposition_head(text, "ijepad_degraded", "gauge",
                    "1: the database was restored and nobody has seen it.");
    buf_printf(text, "ijepad_degraded %d\n", view.degraded);
    exposition_head(text, "ijepad_backup_time_seconds", "gauge",
                    "When the newest verified copy was made, since 1970; 0: there is none.");
    buf_printf(text, "ijepad_backup_time_seconds{file=\"state\"} %.3f\n",
               (double)view.backup_ms[0] / 1000.0);
    buf_printf(text, "ijepad_backup_time_seconds{file=\"metrics\"} %.3f\n",
               (double)view.backup_ms[1] / 1000.0);
    exposition_head(text, "ijepad_disk_free_bytes", "gauge",
                    "Free space below the state directory.");
    buf_printf(text, "ijepad_disk_free_bytes %" PRIu64 "\n", file_free_bytes(api->state_dir));
    exposition_head(text, "ijepad_disk_bytes", "gauge",
                    "Size of that disk, less what only root may use.");
    buf_printf(text, "ijepad_disk_bytes %" PRIu64 "\n", file_disk_bytes(api->state_dir));
}

/* Of /proc/self/stat: processor seconds, virtual and resident bytes. */
static void put_usage(struct buf *text)
{
    unsigned long user = 0, kernel = 0, virtual_bytes = 0, pages = 0;
    file_auto FILE *file = fopen("/proc/self/stat", "re");
    if (!file || fscanf(file,
                        "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d "
                        "%*d %*d %*d %*d %*u %lu %lu",
                        &user, &kernel, &virtual_bytes, &pages) != 4)
        return;
    exposition_head(text, "process_cpu_seconds_total", "counter", "Processor time of the daemon.");
    buf_printf(text, "process_cpu_seconds_total %.2f\n",
               (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK));
    exposition_head(text, "process_virtual_memory_bytes", "gauge", "Virtual memory of the daemon.");
    buf_printf(text, "process_virtual_memory_bytes %lu\n", virtual_bytes);
    exposition_head(text, "process_resident_memory_bytes", "gauge",
                    "Resident memory of the daemon.");
    buf_printf(text, "process_resident_memory_bytes %lu\n",
               pages * (unsigned long)sysconf(_SC_PAGESIZE));
}

static void put_descriptors(struct buf *text)
{
    struct rlimit limit;
    unsigned open_count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (const struct dirent *entry; folder && (entry = readdir(folder));)
        open_count += entry->d_name[0] != '.';
    if (folder)
        (void)closedir(folder);
    exposition_head(text, "process_open_fds", "gauge", "Open file descriptors.");
    buf_printf(text, "process_open_fds %u\n", open_count);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    exposition_head(text, "process_max_fds", "gauge", "Limit of open file descriptors.");
    buf_printf(text, "process_max_fds %llu\n", (unsigned long long)limit.rlim_cur);
}

static void put_process(struct buf *text, const struct api *api)
{
    put_usage(text);
    put_descriptors(text);
    exposition_head(text, "process_start_time_seconds", "gauge", "Start of the daemon.");
    buf_printf(text, "process_start_time_seconds %.3f\n", (double)api->started_ms / 1000.0);
    exposition_head(text, "ijepad_build_info", "gauge", "What is running.");
    buf_printf(text, "ijepad_build_info{build=\"%s\"} 1\n", build_id());
}

enum ij_status serve_prometheus_text(struct request *request, struct reply *reply,
                                     struct ij_err *reterr_err)
{
    struct store *store;
    struct buf text;
    IJ_TRY(request_store(request, &store, reterr_err));
    buf_init(&text, TEXT_MAX);
    enum ij_status status = put_runs(&text, request->api, store, reterr_err);
    if (status != IJ_OK) {
        buf_done(&text);
        return status;
    }
    put_http(&text, request->api);
    put_store(&text, request->api, store);
    put_process(&text, request->api);
    return reply_take_buf(reply, "text/plain; version=0.0.4; charset=utf-8", &text, reterr_err);
}
