/* GET /metrics: the text format 0.0.4 of Prometheus, from one read of the store and from counters.
 */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "api/handlers.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/condition.h"
#include "daemon/device.h"
#include "store/run_row.h"

#define TEXT_MAX ((size_t)1024 * 1024)

static void head(struct buf *text, const char *name, const char *type, const char *help)
{
    buf_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static enum ij_status put_runs(struct buf *text, struct store *store, struct ij_err *reterr_err)
{
    int64_t counts[RUN_STATE_COUNT];
    struct run_row_list live;
    IJ_TRY(run_row_count_by_state(store, counts, reterr_err));
    IJ_TRY(run_row_live(store, &live, reterr_err));
    head(text, "ijepad_runs", "gauge", "Runs by state.");
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        buf_printf(text, "ijepad_runs{state=\"%s\"} %" PRId64 "\n",
                   run_state_name((enum run_state)i), counts[i]);
    int64_t now_ms = clock_wall_ms(), oldest_ms = now_ms;
    double rate = 0;
    for (size_t i = 0; i < live.count; i++) {
        const struct run_row *row = &live.rows[i];
        if (row->state == RUN_STATE_QUEUED && row->created_ms < oldest_ms)
            oldest_ms = row->created_ms;
        if (row->state == RUN_STATE_RUNNING && row->images_per_s > 0)
            rate += row->images_per_s;
    }
    run_row_list_done(&live);
    head(text, "ijepad_queue_oldest_seconds", "gauge", "Age of the oldest queued run.");
    buf_printf(text, "ijepad_queue_oldest_seconds %.3f\n", (double)(now_ms - oldest_ms) / 1000.0);
    head(text, "ijepad_train_images_per_second", "gauge", "Images per second of all running runs.");
    buf_printf(text, "ijepad_train_images_per_second %.3f\n", rate);
    return IJ_OK;
}

static void put_http(struct buf *text, struct api *api)
{
    static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"};
    head(text, "ijepad_http_requests_total", "counter", "Answers by route and class of status.");
    for (size_t i = 0; i <= ROUTES_MAX; i++) {
        bool routed = i < routes_count;
        if (!routed && i != ROUTES_MAX)
            continue;
        for (size_t c = 2; c < COUNT_OF(classes); c++) {
            uint64_t count = atomic_load(&api->counts[i].answers[c]);
            if (count)
                buf_printf(text,
                           "ijepad_http_requests_total{route=\"%s\",method=\"%s\",code=\"%s\"} "
                           "%" PRIu64 "\n",
                           routed ? routes_table[i].pattern : "none",
                           routed ? routes_table[i].method : "any", classes[c], count);
        }
    }
    uint64_t nanoseconds = 0;
    for (size_t i = 0; i <= ROUTES_MAX; i++)
        nanoseconds += atomic_load(&api->counts[i].nanoseconds);
    head(text, "ijepad_http_request_seconds_total", "counter", "Time from first line to answer.");
    buf_printf(text, "ijepad_http_request_seconds_total %.6f\n", (double)nanoseconds / 1e9);
    head(text, "ijepad_http_overdue_total", "counter", "Connections cut for being too slow.");
    buf_printf(text, "ijepad_http_overdue_total %" PRIu64 "\n", atomic_load(&api->overdue));
    head(text, "ijepad_http_connections", "gauge", "Open connections.");
    buf_printf(text, "ijepad_http_connections %u\n", deadline_count(api->deadlines));
    head(text, "ijepad_sse_clients", "gauge", "Open event streams.");
    buf_printf(text, "ijepad_sse_clients %u\n", stream_hub_count(api->streams));
}

static void put_store(struct buf *text, struct api *api, const struct store *store)
{
    struct store_facts facts;
    store_facts(store, &facts);
    head(text, "ijepad_db_bytes", "gauge", "Size of the database files.");
    buf_printf(text, "ijepad_db_bytes{file=\"state\"} %" PRIu64 "\n", facts.state_bytes);
    buf_printf(text, "ijepad_db_bytes{file=\"metrics\"} %" PRIu64 "\n", facts.metrics_bytes);
    head(text, "ijepad_db_wal_bytes", "gauge", "Size of both write-ahead logs.");
    buf_printf(text, "ijepad_db_wal_bytes %" PRIu64 "\n", facts.wal_bytes);
    struct condition_view view;
    condition_read(api->condition, &view);
    head(text, "ijepad_degraded", "gauge", "1: the database was restored and nobody has seen it.");
    buf_printf(text, "ijepad_degraded %d\n", view.degraded);
    head(text, "ijepad_backup_time_seconds", "gauge",
         "When the newest verified copy was made, since 1970; 0: there is none.");
    buf_printf(text, "ijepad_backup_time_seconds{file=\"state\"} %.3f\n",
               (double)view.backup_ms[0] / 1000.0);
    buf_printf(text, "ijepad_backup_time_seconds{file=\"metrics\"} %.3f\n",
               (double)view.backup_ms[1] / 1000.0);
    head(text, "ijepad_disk_free_bytes", "gauge", "Free space below the state directory.");
    buf_printf(text, "ijepad_disk_free_bytes %" PRIu64 "\n", file_free_bytes(api->state_dir));
    head(text, "ijepad_disk_bytes", "gauge", "Size of that disk, less what only root may use.");
    buf_printf(text, "ijepad_disk_bytes %" PRIu64 "\n", file_disk_bytes(api->state_dir));
}

/* One gauge of every GPU that the driver knows; what it does not tell is left out. */
static void put_gauge(struct buf *text, const struct device *devices, size_t count,
                      const char *name, const char *help, double (*value)(const struct device *))
{
    head(text, name, "gauge", help);
    for (size_t i = 0; i < count; i++) {
        if (devices[i].kind != DEVICE_GPU || !devices[i].present || isnan(value(&devices[i])))
            continue;
        buf_printf(text, "%s{gpu=\"%u\",uuid=\"%s\"} %.15g\n", name, devices[i].index,
                   devices[i].id, value(&devices[i]));
    }
}

static double utilization_of(const struct device *device)
{
    return device->gpu.utilization;
}
static double memory_used_of(const struct device *device)
{
    return (double)device->gpu.memory_used_bytes;
}
static double memory_of(const struct device *device)
{
    return (double)device->memory_bytes;
}
static double power_of(const struct device *device)
{
    return device->gpu.power_w;
}
static double temperature_of(const struct device *device)
{
    return device->gpu.temperature_c;
}
static double health_of(const struct device *device)
{
    return device->trouble[0] ? 0 : 1;
}

static enum ij_status put_gpus(struct buf *text, struct api *api, struct ij_err *reterr_err)
{
    mem_auto struct device *all = NULL;
    size_t count = 0;
    if (api->devices)
        IJ_TRY(device_table_copy(api->devices, &all, &count, reterr_err));
    put_gauge(text, all, count, "ijepad_gpu_utilization_ratio", "Share of time with a kernel.",
              utilization_of);
    put_gauge(text, all, count, "ijepad_gpu_memory_used_bytes", "Memory in use.", memory_used_of);
    put_gauge(text, all, count, "ijepad_gpu_memory_total_bytes", "Memory in all.", memory_of);
    put_gauge(text, all, count, "ijepad_gpu_power_watts", "Power drawn.", power_of);
    put_gauge(text, all, count, "ijepad_gpu_temperature_celsius", "Temperature.", temperature_of);
    put_gauge(text, all, count, "ijepad_gpu_healthy", "0: see its trouble in /v1/gpus.", health_of);
    head(text, "ijepad_gpu_xid_total", "counter", "Critical errors that the driver told of.");
    for (size_t i = 0; i < count; i++)
        for (size_t x = 0; x < DEVICE_XIDS_MAX && all[i].xids[x].count; x++)
            buf_printf(text,
                       "ijepad_gpu_xid_total{gpu=\"%u\",uuid=\"%s\",xid=\"%u\"} %" PRIu64 "\n",
                       all[i].index, all[i].id, all[i].xids[x].xid, all[i].xids[x].count);
    head(text, "ijepad_gpu_run_info", "gauge", "Which run holds a device.");
    for (size_t i = 0; i < count; i++)
        if (all[i].run)
            buf_printf(text, "ijepad_gpu_run_info{gpu=\"%u\",uuid=\"%s\",run=\"r%" PRId64 "\"} 1\n",
                       all[i].index, all[i].id, all[i].run);
    return IJ_OK;
}

static void put_process(struct buf *text, const struct api *api)
{
    unsigned long pages = 0;
    file_auto FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    head(text, "process_resident_memory_bytes", "gauge", "Resident memory of the daemon.");
    buf_printf(text, "process_resident_memory_bytes %lu\n",
               pages * (unsigned long)sysconf(_SC_PAGESIZE));
    head(text, "process_start_time_seconds", "gauge", "Start of the daemon.");
    buf_printf(text, "process_start_time_seconds %.3f\n", (double)api->started_ms / 1000.0);
    head(text, "ijepad_build_info", "gauge", "What is running.");
    buf_printf(text, "ijepad_build_info{build=\"%s\"} 1\n", build_id());
}

enum ij_status serve_prometheus_text(struct request *request, struct reply *reply,
                                     struct ij_err *reterr_err)
{
    struct store *store;
    struct buf text;
    IJ_TRY(request_store(request, &store, reterr_err));
    buf_init(&text, TEXT_MAX);
    enum ij_status status = put_runs(&text, store, reterr_err);
    if (status == IJ_OK)
        status = put_gpus(&text, request->api, reterr_err);
    if (status != IJ_OK) {
        buf_done(&text);
        return status;
    }
    put_http(&text, request->api);
    put_store(&text, request->api, store);
    put_process(&text, request->api);
    return reply_take_buf(reply, "text/plain; version=0.0.4; charset=utf-8", &text, reterr_err);
}
