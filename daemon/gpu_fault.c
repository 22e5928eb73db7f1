/* See gpu_fault.h. */
#include "daemon/gpu_fault.h"

#include <stddef.h>

#include "base/mem.h"

static const struct gpu_fault faults[] = {
    {8, GPU_FAULT_APPLICATION, "the GPU stopped processing"},
    {11, GPU_FAULT_APPLICATION, "an invalid stream of commands"},
    {13, GPU_FAULT_APPLICATION, "a kernel's exception, like an access out of bounds"},
    {25, GPU_FAULT_APPLICATION, "an invalid stream of commands"},
    {31, GPU_FAULT_APPLICATION, "a memory page fault"},
    {32, GPU_FAULT_APPLICATION, "an invalid stream of commands"},
    {39, GPU_FAULT_APPLICATION, "a copy engine's exception"},
    {40, GPU_FAULT_APPLICATION, "a copy engine's exception"},
    {41, GPU_FAULT_APPLICATION, "a copy engine's exception"},
    {43, GPU_FAULT_APPLICATION, "the GPU stopped the process after an error of its own"},
    {45, GPU_FAULT_NOTED, "the GPU cleaned up after a process that ended"},
    {46, GPU_FAULT_HARDWARE, "the GPU stopped processing and needs a reset"},
    {48, GPU_FAULT_HARDWARE, "an uncorrectable memory error"},
    {61, GPU_FAULT_HARDWARE, "the GPU's microcontroller stopped"},
    {62, GPU_FAULT_HARDWARE, "the GPU's microcontroller halted"},
    {63, GPU_FAULT_NOTED, "a memory row was marked for replacement"},
    {64, GPU_FAULT_HARDWARE, "a memory row could not be replaced"},
    {69, GPU_FAULT_APPLICATION, "a kernel's exception"},
    {70, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {71, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {72, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {74, GPU_FAULT_HARDWARE, "an NVLink error"},
    {75, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {76, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {77, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {79, GPU_FAULT_HARDWARE, "the GPU fell off the bus"},
    {80, GPU_FAULT_APPLICATION, "commands were damaged on their way to the GPU"},
    {85, GPU_FAULT_APPLICATION, "a copy engine's error"},
    {92, GPU_FAULT_NOTED, "many corrected memory errors"},
    {94, GPU_FAULT_APPLICATION, "a memory error that was contained to the process"},
    {95, GPU_FAULT_HARDWARE, "a memory error that was not contained"},
    {109, GPU_FAULT_HARDWARE, "a switch between processes did not end in time"},
    {110, GPU_FAULT_HARDWARE, "a security fault"},
    {119, GPU_FAULT_HARDWARE, "the GPU's system processor does not answer"},
    {120, GPU_FAULT_HARDWARE, "the GPU's system processor failed"},
    {121, GPU_FAULT_NOTED, "corrected errors between processor and GPU"},
    {136, GPU_FAULT_HARDWARE, "an NVLink could not be trained"},
    {137, GPU_FAULT_NOTED, "an access to another GPU that was not permitted"},
    {140, GPU_FAULT_HARDWARE, "a memory error that was not recovered"},
    {143, GPU_FAULT_HARDWARE, "the GPU could not be initialised"},
    {154, GPU_FAULT_NOTED, "what is needed after another Xid: see the kernel's log"},
    {155, GPU_FAULT_HARDWARE, "an NVLink is down"},
    {156, GPU_FAULT_HARDWARE, "a part of the GPU was retired: it needs a reset"},
    {157, GPU_FAULT_NOTED, "a part of the GPU could not be retired"},
    {158, GPU_FAULT_HARDWARE, "the GPU did not answer in time"},
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
