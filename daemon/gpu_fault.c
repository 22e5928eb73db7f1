/* See gpu_fault.h. */
#include "daemon/gpu_fault.h"

#include <stddef.h>

#include "base/mem.h"

static const struct gpu_fault faults[] = {
    {8, GPU_FAULT_APPLICATION, "the GPU stopped processing"},
    {11, GPU_FAULT_APPLICATION, "an invalid stream of commands"},
    {13, GPU_FAULT_APPLICATION, "a kernel's exception, like an access out of bounds"},
    {31, GPU_FAULT_APPLICATION, "a memory page fault"},
    {32, GPU_FAULT_APPLICATION, "an invalid stream of commands"},
    {43, GPU_FAULT_APPLICATION, "the GPU stopped the process after an error of its own"},
    {45, GPU_FAULT_NOTED, "the GPU cleaned up after a process that ended"},
    {48, GPU_FAULT_HARDWARE, "an uncorrectable memory error"},
    {61, GPU_FAULT_HARDWARE, "the GPU's microcontroller stopped"},
    {62, GPU_FAULT_HARDWARE, "the GPU's microcontroller halted"},
    {63, GPU_FAULT_NOTED, "a memory row was marked for replacement"},
    {64, GPU_FAULT_HARDWARE, "a memory row could not be replaced"},
    {69, GPU_FAULT_APPLICATION, "a kernel's exception"},
    {74, GPU_FAULT_HARDWARE, "an NVLink error"},
    {79, GPU_FAULT_HARDWARE, "the GPU fell off the bus"},
    {92, GPU_FAULT_NOTED, "many corrected memory errors"},
    {94, GPU_FAULT_APPLICATION, "a memory error that was contained to the process"},
    {95, GPU_FAULT_HARDWARE, "a memory error that was not contained"},
    {119, GPU_FAULT_HARDWARE, "the GPU's system processor does not answer"},
    {120, GPU_FAULT_HARDWARE, "the GPU's system processor failed"},
    {140, GPU_FAULT_HARDWARE, "a memory error that was not recovered"},
};

const struct gpu_fault *gpu_fault_find(uint32_t xid)
{
    static const struct gpu_fault unknown = {0, GPU_FAULT_NOTED, "an error of unknown meaning"};
    for (size_t i = 0; i < COUNT_OF(faults); i++)
        if (faults[i].xid == xid)
            return &faults[i];
    return &unknown;
}

const char *gpu_fault_class_name(enum gpu_fault_class class)
{
    switch (class) {
    case GPU_FAULT_NOTED:
        return "noted";
    case GPU_FAULT_APPLICATION:
        return "application";
    case GPU_FAULT_HARDWARE:
        break;
    }
    return "hardware";
}
