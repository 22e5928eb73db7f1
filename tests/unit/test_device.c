/* The device table: states, reports, identity, cordons of what is not there yet. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "daemon/device.h"

static struct device_table *table;

static void make(void)
{
    static const struct cordon_row cordons[] = {
        {.device = "GPU-b", .actor = "ann", .reason = "fan", .ts_ms = 7}};
    cr_assert_eq(device_table_new(cordons, 1, &table, NULL), IJ_OK);
}

static void unmake(void)
{
    device_table_free(table);
}

TestSuite(device, .init = make, .fini = unmake);

static struct gpu_report report_of(size_t count)
{
    static const char *const names[] = {"GPU-a", "GPU-b"};
    struct gpu_report report = {.state = GPU_REPORT_OK, .gpu_count = count};
    for (size_t i = 0; i < count; i++) {
        snprintf(report.gpus[i].uuid, sizeof(report.gpus[i].uuid), "%s", names[i]);
        report.gpus[i].index = (uint32_t)i;
        report.gpus[i].memory_total_bytes = 1000 + i;
    }
    return report;
}

static enum device_state state_of(const char *id)
{
    size_t place;
    cr_assert(device_table_find(table, id, &place), "%s", id);
    return device_state_of(device_table_at(table, place));
}

Test(device, slots_come_and_go_but_keep_their_places)
{
    cr_assert(device_table_set_slots(table, 2));
    cr_assert_not(device_table_set_slots(table, 2), "nothing has changed");
    struct gpu_report report = report_of(1);
    cr_assert(device_table_update(table, &report));
    cr_assert(device_table_set_slots(table, 3));
    cr_assert_str_eq(device_table_at(table, 2)->id, "GPU-a");
    cr_assert_str_eq(device_table_at(table, 3)->id, "host-2");
    device_table_hold(table, 3, 42);
    cr_assert(device_table_set_slots(table, 1));
    cr_assert_eq(state_of("host-1"), DEVICE_GONE);
    cr_assert_eq(state_of("host-2"), DEVICE_HELD, "its run goes on");
    device_table_release(table, 42);
    cr_assert_eq(state_of("host-2"), DEVICE_GONE);
}

Test(device, a_cordon_waits_for_its_device)
{
    struct gpu_report report = report_of(2);
    cr_assert(device_table_update(table, &report));
    cr_assert_eq(state_of("GPU-a"), DEVICE_FREE);
    cr_assert_eq(state_of("GPU-b"), DEVICE_CORDONED);
    cr_assert_str_eq(device_table_at(table, 1)->cordon.reason, "fan");
    device_table_cordon(table, 1, NULL);
    cr_assert_eq(state_of("GPU-b"), DEVICE_FREE);
}

Test(device, a_report_tells_what_may_be_given_out)
{
    char text[256];
    struct gpu_report report = report_of(1);
    report.gpus[0].process_count = 1;
    report.gpus[0].processes[0] = (struct gpu_report_process){.pid = getpid(), .command = "python"};
    device_table_update(table, &report);
    cr_assert_eq(state_of("GPU-a"), DEVICE_FOREIGN);
    device_explain(device_table_at(table, 0), text, sizeof(text));
    cr_assert_not_null(strstr(text, "(python)"), "%s", text);
    device_table_hold(table, 0, 3);
    device_table_set_worker(table, 3, getpgrp());
    device_table_update(table, &report);
    cr_assert_eq(device_table_at(table, 0)->foreign_count, 0, "it is in a worker's group");
    device_table_release(table, 3);
    report.gpus[0].process_count = 0;
    report.gpus[0].health = GPU_REPORT_LOST;
    cr_assert(device_table_update(table, &report));
    cr_assert_eq(state_of("GPU-a"), DEVICE_FAULTED);
    report.gpus[0].health = GPU_REPORT_HEALTHY;
    device_table_update(table, &report);
    cr_assert_eq(state_of("GPU-a"), DEVICE_FREE);
    report.state = GPU_REPORT_UNKNOWN;
    cr_assert(device_table_update(table, &report));
    cr_assert_eq(state_of("GPU-a"), DEVICE_UNKNOWN);
    report = (struct gpu_report){.state = GPU_REPORT_OK};
    cr_assert(device_table_update(table, &report));
    cr_assert_eq(state_of("GPU-a"), DEVICE_GONE);
}

Test(device, more_processes_than_are_listed_are_foreign_too)
{
    struct gpu_report report = report_of(1);
    report.gpus[0].process_count = GPU_REPORT_PROCESSES_MAX + 1;
    device_table_hold(table, (device_table_update(table, &report), 0), 3);
    device_table_set_worker(table, 3, getpgrp());
    for (size_t i = 0; i < GPU_REPORT_PROCESSES_MAX; i++)
        report.gpus[0].processes[i].pid = getpid();
    device_table_update(table, &report);
    cr_assert_eq(device_table_at(table, 0)->foreign_count, 1);
}

Test(device, the_ids_of_a_run_are_cut_at_a_whole_one)
{
    char text[64];
    device_table_set_slots(table, 3);
    for (size_t i = 0; i < 3; i++)
        device_table_hold(table, i, 5);
    device_table_ids(table, 5, text, sizeof(text));
    cr_assert_str_eq(text, "[\"host-0\",\"host-1\",\"host-2\"]");
    device_table_ids(table, 5, text, 26);
    cr_assert_str_eq(text, "[\"host-0\",\"host-1\"]");
    device_table_ids(table, 6, text, sizeof(text));
    cr_assert_str_eq(text, "[]");
}

Test(device, a_copy_holds_what_matters)
{
    struct device *copy = NULL;
    size_t count = 0;
    device_table_set_slots(table, 3);
    device_table_hold(table, 2, 5);
    device_table_set_slots(table, 1);
    cr_assert_eq(device_table_copy(table, &copy, &count, NULL), IJ_OK);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(copy[0].id, "host-0");
    cr_assert_str_eq(copy[1].id, "host-2");
    cr_assert_eq(copy[1].run, 5);
    mem_free(copy);
}
