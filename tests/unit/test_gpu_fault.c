/* The table of the driver's critical errors. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "daemon/gpu_fault.h"

/* The classes as documented: the run's own doing; a GPU that is cordoned; news. */
Test(gpu_fault, classes_are_as_documented)
{
    static const uint32_t application[] = {8, 11, 13, 25, 31, 32, 39, 43, 69, 80, 94};
    static const uint32_t hardware[] = {46,  48,  62,  64,  74,  79,  95,  109, 110,
                                        119, 120, 136, 140, 143, 155, 156, 158};
    static const uint32_t noted[] = {37, 45, 63, 92, 121, 144, 150, 154, 157, 1, 65535};
    for (size_t i = 0; i < COUNT_OF(application); i++)
        cr_expect_eq(gpu_fault_find(application[i])->class, GPU_FAULT_APPLICATION, "%u",
                     application[i]);
    for (size_t i = 0; i < COUNT_OF(hardware); i++)
        cr_expect_eq(gpu_fault_find(hardware[i])->class, GPU_FAULT_HARDWARE, "%u", hardware[i]);
    for (size_t i = 0; i < COUNT_OF(noted); i++)
        cr_expect_eq(gpu_fault_find(noted[i])->class, GPU_FAULT_NOTED, "%u", noted[i]);
    cr_expect_str_eq(gpu_fault_class_name(GPU_FAULT_HARDWARE), "hardware");
    cr_expect_neq(gpu_fault_find(79)->text[0], '\0');
}
