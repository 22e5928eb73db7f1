/* See gpu_sample.h. */
#include "daemon/gpu_sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/recorder.h"
#include "store/metric_store.h"

#define LOG_MODULE "gpu_sample"
#define WAITING    (GPU_REPORT_GPUS_MAX * 16)
#define TRIM_MS    60000

const char *const gpu_sample_keys[GPU_SAMPLE_KEYS] = {"utilization_ratio", "memory_used_bytes",
                                                      "power_w", "temperature_c"};

struct frame {
    size_t gpu; /* into `gpus` */
    int64_t ts_ms;
    float values[GPU_SAMPLE_KEYS];
};

struct gpu_sample {
    struct daemon *daemon;
    char gpus[GPU_REPORT_GPUS_MAX][GPU_REPORT_UUID_MAX]; /* that were seen */
    int64_t streams[GPU_REPORT_GPUS_MAX];                /* 0: not asked for yet */
    size_t gpu_count, waiting_count;
    struct frame waiting[WAITING];
    int64_t store_ms;              /* how often */
    int64_t stored_ms, trimmed_ms; /* monotonic */
};

enum ij_status gpu_sample_new(struct daemon *daemon, int64_t store_ms,
                              struct gpu_sample **ret_sample, struct ij_err *reterr_err)
{
    struct gpu_sample *sample = mem_new(struct gpu_sample);
    if (!sample)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for samples of the GPUs");
    sample->daemon = daemon;
    sample->store_ms = store_ms;
    sample->stored_ms = clock_monotonic_ms();
    *ret_sample = sample;
    return IJ_OK;
}

void gpu_sample_free(struct gpu_sample *sample)
{
    mem_free(sample);
}

/* False: one too many, or a name that no stream can have. */
static bool find_gpu(struct gpu_sample *sample, const char *uuid, size_t *ret_gpu)
{
    for (size_t i = 0; i < sample->gpu_count; i++)
        if (strcmp(sample->gpus[i], uuid) == 0) {
            *ret_gpu = i;
            return true;
        }
    if (sample->gpu_count == GPU_REPORT_GPUS_MAX || !text_is_name(uuid))
        return false;
    snprintf(sample->gpus[sample->gpu_count], GPU_REPORT_UUID_MAX, "%s", uuid);
    *ret_gpu = sample->gpu_count++;
    return true;
}

static void gather(struct gpu_sample *sample, const struct gpu_report_gpu *gpu, int64_t ts_ms)
{
    struct frame *frame = &sample->waiting[sample->waiting_count];
    if (sample->waiting_count == WAITING || gpu->health == GPU_REPORT_LOST ||
        !find_gpu(sample, gpu->uuid, &frame->gpu))
        return;
    frame->ts_ms = ts_ms;
    frame->values[0] = (float)gpu->utilization;
    frame->values[1] = (float)gpu->memory_used_bytes;
    frame->values[2] = (float)gpu->power_w;
    frame->values[3] = (float)gpu->temperature_c;
    sample->waiting_count++;
}

static enum ij_status put(struct gpu_sample *sample, const struct frame *frame,
                          struct ij_err *reterr_err)
{
    struct store *store = sample->daemon->store;
    int64_t *stream = &sample->streams[frame->gpu];
    if (*stream == 0)
        IJ_TRY(metric_store_stream(store, METRIC_STORE_MACHINE, 1, sample->gpus[frame->gpu],
                                   gpu_sample_keys, GPU_SAMPLE_KEYS, stream, reterr_err));
    return metric_store_put(store, *stream, (uint64_t)(frame->ts_ms / 1000), frame->ts_ms,
                            frame->values, GPU_SAMPLE_KEYS, reterr_err);
}

/* One commit with whatever the runs have waiting. */
static void store(struct gpu_sample *sample)
{
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < sample->waiting_count && status == IJ_OK; i++)
        status = put(sample, &sample->waiting[i], &err);
    if (status != IJ_OK)
        log_warn("samples of the GPUs are lost: %s", err.text);
    sample->waiting_count = 0;
    recorder_commit(sample->daemon);
}

static void trim(struct gpu_sample *sample, int64_t now_s)
{
    struct ij_err err = IJ_ERR_INIT;
    uint64_t before = now_s > GPU_SAMPLE_KEEP_S ? (uint64_t)(now_s - GPU_SAMPLE_KEEP_S) : 0;
    uint64_t summaries =
        now_s > GPU_SAMPLE_KEEP_SUMMARIES_S ? (uint64_t)(now_s - GPU_SAMPLE_KEEP_SUMMARIES_S) : 0;
    if (metric_store_trim(sample->daemon->store, METRIC_STORE_MACHINE, before, summaries, &err) !=
        IJ_OK)
        log_warn("old samples of the GPUs stay: %s", err.text);
}

void gpu_sample_take(struct gpu_sample *sample, const struct gpu_report *report)
{
    int64_t now_ms = clock_monotonic_ms(), wall_ms = clock_wall_ms();
    if (report->state != GPU_REPORT_OK || wall_ms < 0)
        return;
    for (size_t i = 0; i < report->gpu_count; i++)
        gather(sample, &report->gpus[i], wall_ms);
    if (now_ms - sample->stored_ms < sample->store_ms || sample->daemon->storage_failed)
        return;
    sample->stored_ms = now_ms;
    store(sample);
    if (now_ms - sample->trimmed_ms < TRIM_MS)
        return;
    sample->trimmed_ms = now_ms;
    trim(sample, wall_ms / 1000);
}
