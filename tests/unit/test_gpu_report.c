/* The line between the probe of the GPUs and the daemon: what is written is read back, anything
 * else is refused by name. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/gpu_report.h"

static struct gpu_report sample(void)
{
    struct gpu_report report = {.state = GPU_REPORT_OK, .gpu_count = 2, .xid_count = 1};
    struct gpu_report_gpu *gpu = &report.gpus[0];
    snprintf(report.driver, sizeof(report.driver), "580.1");
    snprintf(report.unusable, sizeof(report.unusable), "this build has no CUDA backend");
    snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-a");
    snprintf(gpu->name, sizeof(gpu->name), "NVIDIA \"H100\"");
    gpu->memory_total_bytes = 85899345920;
    gpu->memory_used_bytes = 12345678901;
    gpu->utilization = 0.25;
    gpu->memory_utilization = gpu->power_limit_w = gpu->clock_mhz = NAN;
    gpu->temperature_c = 41;
    gpu->power_w = 120.5;
    gpu->ecc_uncorrected = -1;
    gpu->compute_major = 9;
    gpu->process_count = 40; /* more than are listed */
    for (int i = 0; i < GPU_REPORT_PROCESSES_MAX; i++)
        gpu->processes[i] = (struct gpu_report_process){.pid = 100 + i, .memory_bytes = 7};
    snprintf(gpu->processes[0].command, sizeof(gpu->processes[0].command), "python3");
    report.gpus[1] = (struct gpu_report_gpu){.uuid = "GPU-b",
                                             .index = 1,
                                             .health = GPU_REPORT_LOST,
                                             .trouble = "the driver says: GPU is lost"};
    report.xids[0] = (struct gpu_report_xid){.uuid = "GPU-b", .xid = 79};
    return report;
}

static char *written(const struct gpu_report *report)
{
    struct buf buf;
    buf_init(&buf, GPU_REPORT_LINE_MAX);
    gpu_report_write(report, &buf);
    cr_assert_eq(buf_status(&buf), IJ_OK);
    return buf_take(&buf);
}

Test(gpu_report, is_read_back_as_it_was)
{
    static struct gpu_report report, back;
    struct ij_err err = IJ_ERR_INIT;
    report = sample();
    mem_auto char *line = written(&report);
    cr_assert_null(strchr(line, '\n'));
    cr_assert_eq(gpu_report_parse(line, strlen(line), &back, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(back.state, GPU_REPORT_OK);
    cr_assert_eq(back.gpu_count, 2);
    cr_assert_str_eq(back.unusable, report.unusable);
    const struct gpu_report_gpu *gpu = gpu_report_find(&back, "GPU-a");
    cr_assert_not_null(gpu);
    cr_assert_str_eq(gpu->name, "NVIDIA \"H100\"");
    cr_assert_eq(gpu->memory_used_bytes, 12345678901ull);
    cr_assert_eq(gpu->utilization, 0.25);
    cr_assert(isnan(gpu->clock_mhz));
    cr_assert_eq(gpu->ecc_uncorrected, -1);
    cr_assert_eq(gpu->process_count, 40);
    cr_assert_eq(gpu->processes[31].pid, 131);
    cr_assert_str_eq(gpu->processes[0].command, "python3");
    cr_assert_eq(back.gpus[1].health, GPU_REPORT_LOST);
    cr_assert_str_eq(back.gpus[1].trouble, "the driver says: GPU is lost");
    cr_assert_eq(back.xid_count, 1);
    cr_assert_eq(back.xids[0].xid, 79);
    cr_assert_null(gpu_report_find(&back, "GPU-c"));
}

Test(gpu_report, of_a_full_machine_fits_a_line)
{
    static struct gpu_report report;
    report = sample();
    report.gpu_count = GPU_REPORT_GPUS_MAX;
    for (size_t i = 1; i < GPU_REPORT_GPUS_MAX; i++)
        report.gpus[i] = report.gpus[0];
    report.xid_count = GPU_REPORT_XIDS_MAX;
    for (size_t i = 1; i < GPU_REPORT_XIDS_MAX; i++)
        report.xids[i] = report.xids[0];
    mem_auto char *line = written(&report);
    cr_assert_lt(strlen(line), GPU_REPORT_LINE_MAX);
}

/* Replaces one part of a good line and expects the member to be named. */
static void expect_refused(const char *from, const char *to, const char *field)
{
    static struct gpu_report report, back;
    struct ij_err err = IJ_ERR_INIT;
    report = sample();
    mem_auto char *line = written(&report);
    char *at = strstr(line, from);
    cr_assert_not_null(at, "%s is not in %s", from, line);
    mem_auto char *changed = mem_printf("%.*s%s%s", (int)(at - line), line, to, at + strlen(from));
    back.gpu_count = 77;
    cr_assert_eq(gpu_report_parse(changed, strlen(changed), &back, &err), IJ_MALFORMED, "%s", to);
    cr_assert_str_eq(err.field, field);
    cr_assert_eq(back.gpu_count, 77, "a bad report was taken over");
}

Test(gpu_report, with_a_fault_is_refused_by_name)
{
    expect_refused("\"state\":\"ok\"", "\"state\":\"fine\"", "state");
    expect_refused("\"driver\":\"580.1\"", "\"driver\":7", "driver");
    expect_refused("\"uuid\":\"GPU-a\"", "\"uuid\":null", "uuid");
    expect_refused("\"utilization\":0.25", "\"utilization\":\"0.25\"", "utilization");
    expect_refused("\"memory_used_bytes\":12345678901", "\"memory_used_bytes\":-1",
                   "memory_used_bytes");
    expect_refused("\"pid\":131", "\"pid\":2147483648", "pid");
    expect_refused("\"process_count\":40", "\"process_count\":31", "process_count");
    expect_refused("\"health\":\"lost\"", "\"health\":\"ill\"", "health");
    expect_refused("\"xid\":79", "\"xid\":4294967296", "xid");
    expect_refused("\"xids\":[", "\"xids\":{},\"x\":[", "xids");
}

Test(gpu_report, that_is_no_object_is_refused)
{
    static struct gpu_report report;
    struct ij_err err = IJ_ERR_INIT;
    const char *const lines[] = {"", "[]", "7", "{", "{}"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        cr_assert_eq(gpu_report_parse(lines[i], strlen(lines[i]), &report, &err), IJ_MALFORMED,
                     "%s", lines[i]);
}
