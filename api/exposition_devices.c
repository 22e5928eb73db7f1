/* The part of GET /metrics about devices. See exposition.h. */
#include <inttypes.h>
#include <math.h>

#include "api/context.h"
#include "api/exposition.h"
#include "base/mem.h"
#include "daemon/device.h"
#include "store/run_row.h"

/* One gauge of every GPU that the driver knows; what it does not tell is left out. */
static void put_gauge(struct buf *text, const struct device *devices, size_t count,
                      const char *name, const char *help, double (*value)(const struct device *))
{
    exposition_head(text, name, "gauge", help);
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

static void put_gauges(struct buf *text, const struct device *all, size_t count)
{
    put_gauge(text, all, count, "ijepad_gpu_utilization_ratio", "Share of time with a kernel.",
              utilization_of);
    put_gauge(text, all, count, "ijepad_gpu_memory_used_bytes", "Memory in use.", memory_used_of);
    put_gauge(text, all, count, "ijepad_gpu_memory_total_bytes", "Memory in all.", memory_of);
    put_gauge(text, all, count, "ijepad_gpu_power_watts", "Power drawn.", power_of);
    put_gauge(text, all, count, "ijepad_gpu_temperature_celsius", "Temperature.", temperature_of);
    put_gauge(text, all, count, "ijepad_gpu_healthy", "0: see its trouble in /v1/gpus.", health_of);
}

static void put_xids(struct buf *text, const struct device *all, size_t count)
{
    exposition_head(text, "ijepad_gpu_xid_total", "counter",
                    "Critical errors that the driver told of.");
    for (size_t i = 0; i < count; i++)
        for (size_t x = 0; x < DEVICE_XIDS_MAX && all[i].xids[x].count; x++)
            buf_printf(text,
                       "ijepad_gpu_xid_total{gpu=\"%u\",uuid=\"%s\",xid=\"%u\"} %" PRIu64 "\n",
                       all[i].index, all[i].id, all[i].xids[x].xid, all[i].xids[x].count);
}

/* Which run holds which device, and what it does with it: a run's images are shared out evenly. */
static void put_holders(struct buf *text, const struct device *all, size_t count,
                        const struct run_row *runs, size_t run_count)
{
    exposition_head(text, "ijepad_gpu_run_info", "gauge", "Which run holds a device.");
    for (size_t i = 0; i < count; i++)
        if (all[i].run)
            buf_printf(text, "ijepad_gpu_run_info{gpu=\"%u\",uuid=\"%s\",run=\"r%" PRId64 "\"} 1\n",
                       all[i].index, all[i].id, all[i].run);
    exposition_head(text, "ijepad_train_images_per_second", "gauge",
                    "Images per second of the run on a device; over several: its share.");
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < run_count && all[i].run; r++)
            if (runs[r].id == all[i].run && runs[r].state == RUN_STATE_RUNNING &&
                runs[r].images_per_s > 0)
                buf_printf(text, "ijepad_train_images_per_second{gpu=\"%u\",uuid=\"%s\"} %.3f\n",
                           all[i].index, all[i].id, runs[r].images_per_s / runs[r].slots);
}

enum ij_status exposition_devices(struct buf *text, struct api *api, const struct run_row *runs,
                                  size_t run_count, struct ij_err *reterr_err)
{
    mem_auto struct device *all = NULL;
    size_t count = 0;
    if (api->devices)
        IJ_TRY(device_table_copy(api->devices, &all, &count, reterr_err));
    put_gauges(text, all, count);
    put_xids(text, all, count);
    put_holders(text, all, count, runs, run_count);
    return IJ_OK;
}
