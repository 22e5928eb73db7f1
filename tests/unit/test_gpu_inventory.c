/* The daemon's side of the probe, with the real worker over a stand-in for NVML: what it sees, and
 * a driver that hangs, fails or is not there. */
#include <criterion/criterion.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/gpu_inventory.h"

#define TWO_GPUS "gpu GPU-a 1000000 NVIDIA H100\ngpu GPU-b 2000000 NVIDIA H200\n"
#define WAIT_MS  20000

static char script_path[128], worker_path[PATH_MAX];
static sd_event *event;
static struct gpu_inventory *inventory;
static struct gpu_report seen;
static uint32_t xids[8];
static size_t xid_count, updates;

static void on_update(void *user, const struct gpu_report *report)
{
    (void)user;
    seen = *report;
    updates++;
    for (size_t i = 0; i < report->xid_count && xid_count < 8; i++)
        xids[xid_count++] = report->xids[i].xid;
}

/* The machine is now as `text` says; replaced in one piece. */
static void machine(const char *text)
{
    char next[160];
    snprintf(next, sizeof(next), "%s.next", script_path);
    FILE *file = fopen(next, "we");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(rename(next, script_path), 0);
}

static void start(const char *text, int64_t deadline_ms)
{
    char self[PATH_MAX], library[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    cr_assert_gt(n, 0);
    self[n] = '\0';
    char *build = dirname(dirname(dirname(self))); /* build/tests/unit/x */
    cr_assert_lt(snprintf(worker_path, sizeof(worker_path), "%s/ijepad-worker", build), PATH_MAX);
    snprintf(library, sizeof(library), "%s/tests/fake/nvml_fake.so", build);
    snprintf(script_path, sizeof(script_path), "/tmp/ijepad-gpus-%d", getpid());
    setenv("IJEPAD_NVML", library, 1);
    setenv("IJEPAD_FAKE_NVML", script_path, 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    machine(text);
    struct ij_err err = IJ_ERR_INIT;
    struct gpu_inventory_options options = {
        .worker = worker_path, .deadline_ms = deadline_ms, .updated = on_update};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    cr_assert_eq(sigprocmask(SIG_BLOCK, &child, NULL), 0);
    cr_assert_geq(sd_event_new(&event), 0);
    cr_assert_eq(gpu_inventory_new(event, &options, &inventory, &err), IJ_OK, "%s", err.text);
}

static void finish(void)
{
    gpu_inventory_free(inventory);
    sd_event_unref(event);
    unlink(script_path);
}

/* Runs the loop until `holds()`. */
static void wait_for(bool (*holds)(void), const char *what)
{
    int64_t end = clock_monotonic_ms() + WAIT_MS;
    while (!holds()) {
        cr_assert_lt(clock_monotonic_ms(), end, "not in time: %s; state %s: %s", what,
                     gpu_report_state_name(seen.state), seen.reason);
        sd_event_run(event, 100000);
    }
}

static bool is_ok(void)
{
    return seen.state == GPU_REPORT_OK;
}
static bool is_unknown(void)
{
    return updates > 0 && seen.state == GPU_REPORT_UNKNOWN;
}
static bool is_absent(void)
{
    return seen.state == GPU_REPORT_ABSENT;
}
static bool b_is_lost(void)
{
    return seen.gpu_count == 2 && seen.gpus[1].health == GPU_REPORT_LOST;
}
static bool a_needs_reset(void)
{
    return seen.gpus[0].health == GPU_REPORT_RESET_NEEDED;
}
static bool b_is_to_be_replaced(void)
{
    return seen.gpus[1].health == GPU_REPORT_REPLACE;
}
static bool both_xids(void)
{
    return xid_count == 2;
}
static bool used_changed(void)
{
    return seen.gpus[0].memory_used_bytes == 999;
}

Test(gpu_inventory, sees_devices_with_their_gauges_and_processes, .timeout = 60)
{
    char text[512];
    snprintf(text, sizeof(text),
             TWO_GPUS "used 0 4096\nutil 0 35 10\ntemperature 0 41\npower 0 120500\n"
                      "process 0 2147483647 5\nprocess 0 %d 4000\necc 1 3\n",
             getpid());
    start(text, 5000);
    wait_for(is_ok, "a report");
    cr_assert_eq(seen.gpu_count, 2);
    cr_assert_str_eq(seen.driver, "580.fake");
    const struct gpu_report_gpu *a = gpu_report_find(&seen, "GPU-a");
    const struct gpu_report_gpu *b = gpu_report_find(&seen, "GPU-b");
    cr_assert(a && b);
    cr_assert_str_eq(b->name, "NVIDIA H200");
    cr_assert_eq(b->index, 1);
    cr_assert_eq(a->memory_total_bytes, 1000000);
    cr_assert_eq(a->memory_used_bytes, 4096);
    cr_assert_float_eq(a->utilization, 0.35, 1e-9);
    cr_assert_float_eq(a->power_w, 120.5, 1e-9);
    cr_assert_eq(a->temperature_c, 41);
    cr_assert(isnan(b->utilization), "what is not reported is not zero");
    cr_assert_eq(b->ecc_uncorrected, 3);
    cr_assert_eq(a->process_count, 2);
    cr_assert_eq(a->processes[0].pid, getpid(), "the biggest comes first");
    cr_assert_str_eq(a->processes[0].command, "test_gpu_invent"); /* 15 bytes, as the kernel has */
    cr_assert_str_eq(a->processes[1].command, "");
    machine(TWO_GPUS "used 0 999\n");
    wait_for(used_changed, "the next report");
    finish();
}

Test(gpu_inventory, tells_each_xid_once, .timeout = 60)
{
    start(TWO_GPUS "xid 0 13\n", 5000); /* before the probe began: not told */
    wait_for(is_ok, "a report");
    machine(TWO_GPUS "xid 0 13\nxid 1 79\nxid 0 48\n");
    wait_for(both_xids, "two xids");
    cr_assert_eq(xids[0], 79);
    cr_assert_eq(xids[1], 48);
    size_t before = updates;
    while (updates < before + 2)
        sd_event_run(event, 100000);
    cr_assert_eq(xid_count, 2, "an xid was told again");
    finish();
}

Test(gpu_inventory, keeps_the_name_of_a_gpu_that_is_lost, .timeout = 60)
{
    start(TWO_GPUS, 5000);
    wait_for(is_ok, "a report");
    machine(TWO_GPUS "lost 1\n");
    wait_for(b_is_lost, "the loss");
    cr_assert_str_eq(seen.gpus[1].uuid, "GPU-b");
    cr_assert_eq(seen.gpus[0].health, GPU_REPORT_HEALTHY);
    cr_assert(strstr(seen.gpus[1].trouble, "GPU is lost"), "%s", seen.gpus[1].trouble);
    finish();
}

Test(gpu_inventory, sees_memory_rows_that_wait_or_fail_to_be_remapped, .timeout = 60)
{
    start(TWO_GPUS "pending 0\n", 5000);
    wait_for(a_needs_reset, "the pending row");
    machine(TWO_GPUS "pending 0\nbroken 1\n");
    wait_for(b_is_to_be_replaced, "the broken row");
    finish();
}

Test(gpu_inventory, gives_up_on_a_driver_that_hangs_and_finds_it_back, .timeout = 90)
{
    start(TWO_GPUS, 2000);
    wait_for(is_ok, "a report");
    machine(TWO_GPUS "hang memory\n");
    wait_for(is_unknown, "the deadline");
    cr_assert(strstr(seen.reason, "has not answered"), "%s", seen.reason);
    cr_assert_eq(seen.gpu_count, 2, "what was known of the machine is kept");
    machine(TWO_GPUS);
    wait_for(is_ok, "the driver's return");
    finish();
}

Test(gpu_inventory, that_hangs_from_the_start_is_unknown, .timeout = 60)
{
    start(TWO_GPUS "hang init\n", 1000);
    wait_for(is_unknown, "the deadline");
    cr_assert_eq(seen.gpu_count, 0);
    cr_assert_eq(gpu_inventory_report(inventory)->taken_ms, 0);
    finish();
}

Test(gpu_inventory, says_why_there_is_no_gpu, .timeout = 60)
{
    start("", 5000);
    wait_for(is_absent, "absence");
    cr_assert_str_eq(seen.reason, "the NVIDIA driver sees no GPU");
    finish();
}

Test(gpu_inventory, says_why_the_driver_is_not_usable, .timeout = 60)
{
    start("init 9\n", 5000);
    wait_for(is_absent, "absence");
    cr_assert(strstr(seen.reason, "Driver Not Loaded"), "%s", seen.reason);
    finish();
}

Test(gpu_inventory, says_that_there_is_no_library, .timeout = 60)
{
    start("", 5000);
    setenv("IJEPAD_NVML", "/nonexistent/libnvidia-ml.so.1", 1);
    wait_for(is_absent, "absence");
    cr_assert(strstr(seen.reason, "no NVIDIA driver here"), "%s", seen.reason);
    finish();
}

Test(gpu_inventory, without_a_worker_program_is_unknown, .timeout = 60)
{
    struct ij_err err = IJ_ERR_INIT;
    struct gpu_inventory_options options = {
        .worker = "/nonexistent/worker", .deadline_ms = 1000, .updated = on_update};
    setenv("IJEPAD_NVML", "/nonexistent/libnvidia-ml.so.1", 1);
    cr_assert_geq(sd_event_new(&event), 0);
    cr_assert_eq(gpu_inventory_new(event, &options, &inventory, &err), IJ_OK, "%s", err.text);
    wait_for(is_unknown, "the failed start");
    cr_assert(strstr(seen.reason, "/nonexistent/worker"), "%s", seen.reason);
    finish();
}
