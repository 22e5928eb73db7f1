/* See bench_memory.h. */
#include "gpu/bench_memory.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/bench_ceiling.h"

/* Resident bytes of this process: the second number of statm, in pages. */
static uint64_t resident_now(void)
{
    char text[128] = "", *end = text;
    fd_auto int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (size <= 0)
        return 0;
    (void)strtoull(text, &end, 10);
    return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

enum ij_status bench_memory_used(struct backend *backend, uint64_t *ret_bytes,
                                 struct ij_err *reterr_err)
{
    uint64_t left, all;
    IJ_TRY(backend->ops->memory(backend, &left, &all, reterr_err));
    *ret_bytes = bench_on_host(backend) ? resident_now() : all - left;
    return IJ_OK;
}

double bench_memory_off(const struct backend *backend, const struct engine_spec *spec,
                        uint32_t batches, uint64_t taken)
{
    struct engine_plan plan;
    mem_auto struct engine_spec *timed = mem_new(struct engine_spec);
    if (!timed || taken == 0)
        return (double)NAN;
    *timed = *spec;
    timed->kind = ENGINE_PRETRAIN;
    timed->device = bench_on_host(backend) ? ENGINE_DEVICE_HOST : ENGINE_DEVICE_CUDA;
    if (engine_plan_memory(timed, &plan, NULL) != IJ_OK ||
        engine_plan_resident(timed, batches, &plan, NULL) != IJ_OK)
        return (double)NAN;
    return (double)taken / (double)plan.bytes_resident - 1;
}
