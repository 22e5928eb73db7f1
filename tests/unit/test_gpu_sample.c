/* Samples of the GPUs in the store: which, when, and for how long. */
#include <math.h>

#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/gpu_sample.h"
#include "store/metric_query.h"
#include "store/metric_store.h"
#include "tests/unit/store_fixture.h"

static struct gpu_report two_gpus(void)
{
    struct gpu_report report = {.state = GPU_REPORT_OK, .gpu_count = 2};
    report.gpus[0] = (struct gpu_report_gpu){.uuid = "GPU-a",
                                             .utilization = 0.5,
                                             .memory_used_bytes = 4096,
                                             .power_w = 120.5,
                                             .temperature_c = NAN};
    report.gpus[1] = (struct gpu_report_gpu){.uuid = "GPU-b", .health = GPU_REPORT_LOST};
    return report;
}

static struct metric_result query(const char *key)
{
    const int64_t machine = METRIC_STORE_MACHINE;
    struct metric_query query = {.runs = &machine,
                                 .run_count = 1,
                                 .keys = &key,
                                 .key_count = 1,
                                 .to = UINT64_MAX,
                                 .raw = true};
    struct metric_result result;
    OK(metric_query(store, &query, &result, &err));
    return result;
}

/* The newest value of a key of GPU-a; NaN where there is none. */
static float newest(const char *key, uint64_t *ret_step)
{
    struct metric_result result = query(key);
    float value = NAN;
    *ret_step = 0;
    if (result.count == 1 && result.tables[0].rows > 0) {
        value = result.tables[0].series[0].last[result.tables[0].rows - 1];
        *ret_step = result.tables[0].step[result.tables[0].rows - 1];
    }
    metric_query_done(&result);
    return value;
}

Test(gpu_sample, are_metrics_of_the_machine)
{
    struct gpu_sample *sample;
    static struct gpu_report report;
    uint64_t step;
    fixture_open();
    struct daemon daemon = {.store = store};
    report = two_gpus();
    OK(gpu_sample_new(&daemon, 0, &sample, &err));
    int64_t begin_s = clock_wall_ms() / 1000;
    gpu_sample_take(sample, &report);
    report.gpus[0].power_w = 99;
    gpu_sample_take(sample, &report);
    cr_assert_eq(newest("GPU-a/power_w", &step), 99);
    cr_assert(step >= (uint64_t)begin_s && step <= (uint64_t)clock_wall_ms() / 1000);
    cr_assert_eq(newest("GPU-a/utilization_ratio", &step), 0.5f);
    cr_assert_eq(newest("GPU-a/memory_used_bytes", &step), 4096);
    cr_assert(isnan(newest("GPU-a/temperature_c", &step)) && step > 0,
              "what was not told is no number");
    struct metric_result lost = query("GPU-b/power_w");
    cr_assert_eq(lost.count, 0, "a lost GPU has no samples");
    metric_query_done(&lost);
    gpu_sample_free(sample);
    fixture_close();
}

Test(gpu_sample, leave_an_idle_disk_alone)
{
    struct gpu_sample *sample;
    static struct gpu_report report;
    uint64_t step;
    fixture_open();
    struct daemon daemon = {.store = store};
    report = two_gpus();
    OK(gpu_sample_new(&daemon, 3600000, &sample, &err));
    for (int i = 0; i < 1000; i++) /* more than are kept waiting */
        gpu_sample_take(sample, &report);
    cr_assert(isnan(newest("GPU-a/power_w", &step)) && step == 0);
    gpu_sample_free(sample);
    fixture_close();
}

Test(gpu_sample, of_no_good_report_are_none)
{
    struct gpu_sample *sample;
    static struct gpu_report report;
    uint64_t step;
    fixture_open();
    struct daemon daemon = {.store = store};
    report = two_gpus();
    report.state = GPU_REPORT_UNKNOWN;
    OK(gpu_sample_new(&daemon, 0, &sample, &err));
    gpu_sample_take(sample, &report);
    cr_assert(isnan(newest("GPU-a/power_w", &step)) && step == 0);
    gpu_sample_free(sample);
    fixture_close();
}
