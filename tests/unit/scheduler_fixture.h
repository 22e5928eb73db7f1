/* A machine for the tests of the scheduler: host slots and GPUs, and who holds them. */
#ifndef TESTS_UNIT_SCHEDULER_FIXTURE_H
#define TESTS_UNIT_SCHEDULER_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "daemon/scheduler.h"

#define FIXTURE_MAX 200 /* runs */

static struct scheduler_device machine[SCHEDULER_DEVICES_MAX];
static size_t machine_count;
static struct scheduler_active active[FIXTURE_MAX];
static size_t active_count;
static struct scheduler_decision d[FIXTURE_MAX];
static struct scheduler_victim victims[FIXTURE_MAX];
static struct scheduler_plan plan = {.decisions = d, .victims = victims};

static inline void add_device(bool gpu, uint64_t memory_bytes)
{
    machine[machine_count++] = (struct scheduler_device){
        .gpu = gpu, .memory_bytes = memory_bytes, .usable = true, .trouble = ""};
}

static inline void add_slots(int count)
{
    for (int i = 0; i < count; i++)
        add_device(false, 0);
}

/* A run that holds the first `count` free devices of its kind. */
static inline struct scheduler_active *add_active(int64_t id, bool gpu, int count)
{
    for (size_t i = 0; i < machine_count && count > 0; i++)
        if (machine[i].gpu == gpu && !machine[i].run) {
            machine[i].run = id;
            count--;
        }
    cr_assert_eq(count, 0, "the machine is too small for the test");
    active[active_count] = (struct scheduler_active){.id = id, .eta_s = NAN};
    return &active[active_count++];
}

static inline struct scheduler_run queued(int64_t id, int32_t priority, double pos)
{
    return (struct scheduler_run){
        .id = id, .state = RUN_STATE_QUEUED, .priority = priority, .queue_pos = pos, .slots = 1};
}

/* Decides over the machine; the input's own devices and active runs are filled in. */
static inline void decide(struct scheduler_input input)
{
    input.devices = machine;
    input.device_count = machine_count;
    input.active = active;
    input.active_count = active_count;
    cr_assert_eq(scheduler_decide(&input, &plan, NULL), IJ_OK);
}

#define DECIDE(list, ...)                                                                          \
    decide((struct scheduler_input){                                                               \
        .runs = (list), .run_count = sizeof(list) / sizeof((list)[0]), __VA_ARGS__})

#endif
