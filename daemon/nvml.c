/* See nvml.h. A GPU that is lost answers nothing, not even its name: what identifies it is asked
 * once and kept. */
#include "daemon/nvml.h"

#include <ctype.h>
#include <dlfcn.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define LIBRARY "libnvidia-ml.so.1"

/* ---- The ABI --------------------------------------------------------------------------------- */

enum {
    NVML_SUCCESS = 0,
    NVML_NOT_SUPPORTED = 3,
    NVML_TIMEOUT = 10,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_CLOCK_SM = 1,
    NVML_TEMPERATURE_GPU = 0,
    NVML_UNCORRECTED = 1,
    NVML_SINCE_LOADED = 0,
    NVML_EVENT_XID = 8,
};
#define PROCESSES_ASKED  256
#define NO_MEMORY_FIGURE UINT64_MAX /* a process whose memory the driver does not know */

typedef void *nvml_device; /* the library's opaque handles */
typedef void *nvml_event_set;

struct nvml_memory {
    unsigned long long total, available, used;
};
struct nvml_rates {
    unsigned gpu, memory;
};
struct nvml_pci {
    char legacy_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char id[32];
};
struct nvml_process {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
};
struct nvml_event {
    nvml_device device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

/* X(member, symbol, needed, arguments) */
#define NVML_CALLS(X)                                                                              \
    X(init, nvmlInit_v2, true, (void))                                                             \
    X(driver, nvmlSystemGetDriverVersion, false, (char *, unsigned))                               \
    X(count, nvmlDeviceGetCount_v2, true, (unsigned *))                                            \
    X(by_index, nvmlDeviceGetHandleByIndex_v2, true, (unsigned, nvml_device *))                    \
    X(uuid, nvmlDeviceGetUUID, true, (nvml_device, char *, unsigned))                              \
    X(name, nvmlDeviceGetName, true, (nvml_device, char *, unsigned))                              \
    X(memory, nvmlDeviceGetMemoryInfo, true, (nvml_device, struct nvml_memory *))                  \
    X(pci, nvmlDeviceGetPciInfo_v3, false, (nvml_device, struct nvml_pci *))                       \
    X(capability, nvmlDeviceGetCudaComputeCapability, false, (nvml_device, int *, int *))          \
    X(rates, nvmlDeviceGetUtilizationRates, false, (nvml_device, struct nvml_rates *))             \
    X(temperature, nvmlDeviceGetTemperature, false, (nvml_device, int, unsigned *))                \
    X(power, nvmlDeviceGetPowerUsage, false, (nvml_device, unsigned *))                            \
    X(power_limit, nvmlDeviceGetEnforcedPowerLimit, false, (nvml_device, unsigned *))              \
    X(clock, nvmlDeviceGetClockInfo, false, (nvml_device, int, unsigned *))                        \
    X(ecc, nvmlDeviceGetTotalEccErrors, false, (nvml_device, int, int, unsigned long long *))      \
    X(remapped, nvmlDeviceGetRemappedRows, false,                                                  \
      (nvml_device, unsigned *, unsigned *, unsigned *, unsigned *))                               \
    X(compute_processes, nvmlDeviceGetComputeRunningProcesses_v3, false,                           \
      (nvml_device, unsigned *, struct nvml_process *))                                            \
    X(graphics_processes, nvmlDeviceGetGraphicsRunningProcesses_v3, false,                         \
      (nvml_device, unsigned *, struct nvml_process *))                                            \
    X(event_set, nvmlEventSetCreate, false, (nvml_event_set *))                                    \
    X(register_events, nvmlDeviceRegisterEvents, false,                                            \
      (nvml_device, unsigned long long, nvml_event_set))                                           \
    X(wait, nvmlEventSetWait_v2, false, (nvml_event_set, struct nvml_event *, unsigned))

struct nvml_calls {
#define X(member, symbol, needed, arguments) int(*member) arguments;
    NVML_CALLS(X)
#undef X
};

/* One GPU's lasting part. */
struct known {
    nvml_device device;
    bool watched; /* for events */
    struct gpu_report_gpu identity;
};

struct nvml {
    void *library;
    struct nvml_calls call;
    const char *(*error_text)(int); /* may be NULL */
    nvml_event_set events;          /* NULL: the driver has none */
    unsigned count;
    struct known gpus[GPU_REPORT_GPUS_MAX];
    char driver[80];
    size_t xid_count;
    struct gpu_report_xid xids[GPU_REPORT_XIDS_MAX];
};

static const char *error_text(const struct nvml *nvml, int code)
{
    return nvml->error_text ? nvml->error_text(code) : "an error";
}

/* ---- Opening --------------------------------------------------------------------------------- */

static enum ij_status load(struct nvml *nvml, struct ij_err *reterr_err)
{
    const char *path = getenv("IJEPAD_NVML");
    nvml->library = dlopen(path && path[0] ? path : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!nvml->library)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "no NVIDIA driver here: %s", dlerror());
    void *symbol;
#define X(member, name, needed, arguments)                                                         \
    symbol = dlsym(nvml->library, #name);                                                          \
    memcpy(&nvml->call.member, &symbol, sizeof(symbol));                                           \
    if (needed && !symbol)                                                                         \
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the NVIDIA driver is too old: no " #name);
    NVML_CALLS(X)
#undef X
    symbol = dlsym(nvml->library, "nvmlErrorString");
    memcpy(&nvml->error_text, &symbol, sizeof(symbol));
    return IJ_OK;
}

static void identify(struct nvml *nvml, unsigned index, struct known *gpu)
{
    struct nvml_pci pci = {0};
    struct gpu_report_gpu *identity = &gpu->identity;
    int major = -1, minor = -1;
    identity->index = index;
    identity->compute_major = identity->compute_minor = -1;
    if (nvml->call.by_index(index, &gpu->device) != NVML_SUCCESS ||
        nvml->call.uuid(gpu->device, identity->uuid, sizeof(identity->uuid)) != NVML_SUCCESS) {
        identity->uuid[0] = '\0'; /* lost before it was ever known */
        return;
    }
    (void)nvml->call.name(gpu->device, identity->name, sizeof(identity->name));
    if (nvml->call.pci && nvml->call.pci(gpu->device, &pci) == NVML_SUCCESS)
        snprintf(identity->pci, sizeof(identity->pci), "%.31s", pci.id);
    if (nvml->call.capability &&
        nvml->call.capability(gpu->device, &major, &minor) == NVML_SUCCESS) {
        identity->compute_major = major;
        identity->compute_minor = minor;
    }
    if (nvml->events)
        gpu->watched =
            nvml->call.register_events(gpu->device, NVML_EVENT_XID, nvml->events) == NVML_SUCCESS;
}

/* The GPUs as they are now counted; those known already keep their identity. */
static enum ij_status enumerate(struct nvml *nvml, struct ij_err *reterr_err)
{
    unsigned count = 0;
    int code = nvml->call.count(&count);
    if (code != NVML_SUCCESS)
        return IJ_ERR(reterr_err, IJ_DEVICE, "NVML cannot count the GPUs: %s",
                      error_text(nvml, code));
    if (count > GPU_REPORT_GPUS_MAX)
        count = GPU_REPORT_GPUS_MAX;
    for (unsigned i = 0; i < count; i++)
        if (!nvml->gpus[i].identity.uuid[0])
            identify(nvml, i, &nvml->gpus[i]);
    if (count > nvml->count)
        nvml->count = count;
    return IJ_OK;
}

enum ij_status nvml_open(struct nvml **ret_nvml, struct ij_err *reterr_err)
{
    struct nvml *nvml = mem_new(struct nvml);
    if (!nvml)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for NVML");
    enum ij_status status;
    IJ_TRY_GOTO(status, load(nvml, reterr_err), out);
    int code = nvml->call.init();
    if (code != NVML_SUCCESS) {
        status = IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the NVIDIA driver is not usable: %s",
                        error_text(nvml, code));
        goto out;
    }
    if (!nvml->call.driver || nvml->call.driver(nvml->driver, sizeof(nvml->driver)) != NVML_SUCCESS)
        nvml->driver[0] = '\0';
    bool events = nvml->call.event_set && nvml->call.register_events && nvml->call.wait;
    if (!events || nvml->call.event_set(&nvml->events) != NVML_SUCCESS)
        nvml->events = NULL;
    IJ_TRY_GOTO(status, enumerate(nvml, reterr_err), out);
    if (nvml->count == 0) {
        status = IJ_ERR(reterr_err, IJ_UNSUPPORTED, "the NVIDIA driver sees no GPU");
        goto out;
    }
    *ret_nvml = nvml;
    return IJ_OK;
out:
    nvml_close(nvml);
    return status;
}

/* Not shut down and not unloaded: the process ends next, and both may hang. */
void nvml_close(struct nvml *nvml)
{
    mem_free(nvml);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void read_command(struct gpu_report_process *process)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/comm", process->pid);
    file_auto FILE *file = fopen(path, "re");
    if (!file || !fgets(process->command, sizeof(process->command), file))
        return; /* gone, or of another container */
    for (char *c = process->command; *c; c++)
        if (*c == '\n')
            *c = '\0';
        else if (!isprint((unsigned char)*c))
            *c = '?';
}

static int by_memory(const void *a, const void *b)
{
    const struct gpu_report_process *left = a, *right = b;
    if (left->memory_bytes != right->memory_bytes)
        return left->memory_bytes < right->memory_bytes ? 1 : -1;
    return left->pid < right->pid ? -1 : left->pid > right->pid;
}

/* Appends to `list` what is not in it yet. */
static void add_processes(int (*ask)(nvml_device, unsigned *, struct nvml_process *),
                          nvml_device device, struct gpu_report_process *list, size_t max,
                          size_t *count)
{
    struct nvml_process found[PROCESSES_ASKED];
    unsigned n = PROCESSES_ASKED;
    if (!ask || ask(device, &n, found) != NVML_SUCCESS)
        return;
    for (unsigned i = 0; i < n && i < PROCESSES_ASKED && *count < max; i++) {
        bool known = false;
        for (size_t k = 0; k < *count; k++)
            known |= list[k].pid == (int32_t)found[i].pid;
        if (known)
            continue;
        uint64_t memory = found[i].memory == NO_MEMORY_FIGURE ? 0 : found[i].memory;
        list[(*count)++] =
            (struct gpu_report_process){.pid = (int32_t)found[i].pid, .memory_bytes = memory};
    }
}

static void read_processes(struct nvml *nvml, nvml_device device, struct gpu_report_gpu *gpu)
{
    struct gpu_report_process list[2 * PROCESSES_ASKED];
    size_t count = 0;
    add_processes(nvml->call.compute_processes, device, list, COUNT_OF(list), &count);
    add_processes(nvml->call.graphics_processes, device, list, COUNT_OF(list), &count);
    qsort(list, count, sizeof(*list), by_memory);
    gpu->process_count = count;
    if (count > GPU_REPORT_PROCESSES_MAX)
        count = GPU_REPORT_PROCESSES_MAX;
    memcpy(gpu->processes, list, count * sizeof(*list));
    for (size_t i = 0; i < count; i++)
        read_command(&gpu->processes[i]);
}

static void read_health(struct nvml *nvml, nvml_device device, struct gpu_report_gpu *gpu)
{
    unsigned corrected, uncorrected, pending = 0, failed = 0;
    unsigned long long errors;
    gpu->ecc_uncorrected = -1;
    if (nvml->call.ecc &&
        nvml->call.ecc(device, NVML_UNCORRECTED, NVML_SINCE_LOADED, &errors) == NVML_SUCCESS)
        gpu->ecc_uncorrected = (int64_t)errors;
    if (!nvml->call.remapped ||
        nvml->call.remapped(device, &corrected, &uncorrected, &pending, &failed) != NVML_SUCCESS)
        return;
    if (failed) {
        gpu->health = GPU_REPORT_REPLACE;
        snprintf(gpu->trouble, sizeof(gpu->trouble), "a bad memory row could not be remapped");
    } else if (pending) {
        gpu->health = GPU_REPORT_RESET_NEEDED;
        snprintf(gpu->trouble, sizeof(gpu->trouble),
                 "a bad memory row waits to be remapped: the GPU needs a reset");
    }
}

static double unsigned_or_nan(int code, unsigned value, double scale)
{
    return code == NVML_SUCCESS ? value * scale : NAN;
}

/* What changes from second to second. */
static void read_gauges(struct nvml *nvml, nvml_device device, struct gpu_report_gpu *gpu)
{
    const struct nvml_calls *call = &nvml->call;
    struct nvml_rates rates = {0};
    unsigned value = 0;
    int none = NVML_NOT_SUPPORTED;
    int code = call->rates ? call->rates(device, &rates) : none;
    gpu->utilization = unsigned_or_nan(code, rates.gpu, 0.01);
    gpu->memory_utilization = unsigned_or_nan(code, rates.memory, 0.01);
    code = call->temperature ? call->temperature(device, NVML_TEMPERATURE_GPU, &value) : none;
    gpu->temperature_c = unsigned_or_nan(code, value, 1);
    code = call->power ? call->power(device, &value) : none;
    gpu->power_w = unsigned_or_nan(code, value, 1e-3);
    code = call->power_limit ? call->power_limit(device, &value) : none;
    gpu->power_limit_w = unsigned_or_nan(code, value, 1e-3);
    code = call->clock ? call->clock(device, NVML_CLOCK_SM, &value) : none;
    gpu->clock_mhz = unsigned_or_nan(code, value, 1);
}

static void read_gpu(struct nvml *nvml, const struct known *known, struct gpu_report_gpu *gpu)
{
    struct nvml_memory memory = {0};
    *gpu = known->identity;
    gpu->utilization = gpu->memory_utilization = gpu->temperature_c = NAN;
    gpu->power_w = gpu->power_limit_w = gpu->clock_mhz = NAN;
    gpu->ecc_uncorrected = -1;
    int code = nvml->call.memory(known->device, &memory);
    if (code != NVML_SUCCESS) {
        bool reset = code == NVML_RESET_REQUIRED;
        gpu->health = reset ? GPU_REPORT_RESET_NEEDED : GPU_REPORT_LOST;
        snprintf(gpu->trouble, sizeof(gpu->trouble), "the driver says: %s", error_text(nvml, code));
        return;
    }
    gpu->memory_total_bytes = memory.total;
    gpu->memory_used_bytes = memory.used;
    read_gauges(nvml, known->device, gpu);
    read_health(nvml, known->device, gpu);
    read_processes(nvml, known->device, gpu);
}

enum ij_status nvml_read(struct nvml *nvml, struct gpu_report *ret_report,
                         struct ij_err *reterr_err)
{
    memset(ret_report, 0, sizeof(*ret_report));
    IJ_TRY(enumerate(nvml, reterr_err));
    ret_report->state = GPU_REPORT_OK;
    snprintf(ret_report->driver, sizeof(ret_report->driver), "%s", nvml->driver);
    for (unsigned i = 0; i < nvml->count; i++)
        if (nvml->gpus[i].identity.uuid[0])
            read_gpu(nvml, &nvml->gpus[i], &ret_report->gpus[ret_report->gpu_count++]);
    ret_report->xid_count = nvml->xid_count;
    memcpy(ret_report->xids, nvml->xids, nvml->xid_count * sizeof(*nvml->xids));
    nvml->xid_count = 0;
    return IJ_OK;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static bool note(struct nvml *nvml, const struct nvml_event *event)
{
    for (unsigned i = 0; i < nvml->count; i++) {
        if (nvml->gpus[i].device != event->device || nvml->xid_count == GPU_REPORT_XIDS_MAX)
            continue;
        struct gpu_report_xid *xid = &nvml->xids[nvml->xid_count++];
        memcpy(xid->uuid, nvml->gpus[i].identity.uuid, sizeof(xid->uuid));
        xid->xid = (uint32_t)event->data;
        return true;
    }
    return false;
}

void nvml_wait(struct nvml *nvml, int64_t deadline_ms)
{
    bool heard = false;
    for (int64_t left; (left = deadline_ms - clock_monotonic_ms()) > 0 || heard;) {
        struct nvml_event event = {0};
        int code = NVML_NOT_SUPPORTED;
        if (nvml->events) /* what came together is reported together */
            code = nvml->call.wait(nvml->events, &event, heard ? 0 : (unsigned)left);
        if (code == NVML_SUCCESS && (event.type & NVML_EVENT_XID) && note(nvml, &event)) {
            heard = true;
            continue;
        }
        if (heard || code == NVML_TIMEOUT)
            return;
        if (code != NVML_SUCCESS) { /* no events from this driver: only time passes */
            (void)poll(NULL, 0, (int)left);
            return;
        }
    }
}
