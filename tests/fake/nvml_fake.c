/*
 * A stand-in for NVIDIA's management library: GPUs as a script tells them. Built as
 * build/tests/fake/nvml_fake.so; IJEPAD_NVML names it, IJEPAD_FAKE_NVML the script, which is read
 * again at every question, so that a test changes the machine by replacing the file.
 *
 *     gpu UUID TOTAL_BYTES NAME     the GPUs in order; what follows names one by its index
 *     used I BYTES | util I GPU% MEMORY% | temperature I C | power I MILLIWATT
 *     process I PID BYTES | ecc I COUNT | pending I | broken I (row remapping)
 *     lost I | xid I NUMBER         an xid line added later is told once
 *     hang CALL                     CALL (init, count, memory, wait) never returns
 *     init CODE                     what nvmlInit answers
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GPUS      16
#define PROCESSES 64
#define XIDS      256
#define API       __attribute__((visibility("default")))

struct gpu {
    char uuid[80], name[64];
    unsigned long long total, used, ecc;
    unsigned util, memory_util, temperature, power, pids[PROCESSES], process_count;
    unsigned long long process_bytes[PROCESSES];
    int has_gauges, lost, pending, broken;
};
struct script {
    struct gpu gpus[GPUS];
    unsigned count, xid_gpus[XIDS], xids[XIDS], xid_count;
    char hang[32];
    int init;
};
struct process_info {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
};
struct event_info {
    void *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

static unsigned xids_told;
static char handles[GPUS]; /* a device handle is the address of its entry */

static void read_line(struct script *s, const char *line)
{
    char word[32], text[80], name[64];
    unsigned i, a, b;
    unsigned long long big;
    struct gpu *gpus = s->gpus;
    if (sscanf(line, "gpu %79s %llu %63[^\n]", text, &big, name) == 3 && s->count < GPUS) {
        struct gpu *gpu = &gpus[s->count++];
        memcpy(gpu->uuid, text, sizeof(text));
        memcpy(gpu->name, name, sizeof(name));
        gpu->total = big;
    } else if (sscanf(line, "hang %31s", s->hang) == 1 || sscanf(line, "init %d", &s->init) == 1) {
        return;
    } else if (sscanf(line, "%31s %u", word, &i) != 2 || i >= GPUS) {
        return;
    } else if (sscanf(line, "used %u %llu", &i, &big) == 2) {
        gpus[i].used = big;
    } else if (sscanf(line, "util %u %u %u", &i, &a, &b) == 3) {
        gpus[i].util = a;
        gpus[i].memory_util = b;
        gpus[i].has_gauges = 1;
    } else if (sscanf(line, "temperature %u %u", &i, &a) == 2) {
        gpus[i].temperature = a;
    } else if (sscanf(line, "power %u %u", &i, &a) == 2) {
        gpus[i].power = a;
    } else if (sscanf(line, "process %u %u %llu", &i, &a, &big) == 3) {
        if (gpus[i].process_count < PROCESSES) {
            gpus[i].process_bytes[gpus[i].process_count] = big;
            gpus[i].pids[gpus[i].process_count++] = a;
        }
    } else if (sscanf(line, "ecc %u %llu", &i, &big) == 2) {
        gpus[i].ecc = big;
    } else if (sscanf(line, "xid %u %u", &i, &a) == 2 && s->xid_count < XIDS) {
        s->xid_gpus[s->xid_count] = i;
        s->xids[s->xid_count++] = a;
    } else {
        gpus[i].lost |= strcmp(word, "lost") == 0;
        gpus[i].pending |= strcmp(word, "pending") == 0;
        gpus[i].broken |= strcmp(word, "broken") == 0;
    }
}

static void read_script(struct script *ret)
{
    char line[256];
    const char *path = getenv("IJEPAD_FAKE_NVML");
    FILE *file = path ? fopen(path, "re") : NULL;
    memset(ret, 0, sizeof(*ret));
    while (file && fgets(line, sizeof(line), file))
        read_line(ret, line);
    if (file)
        fclose(file);
}

static void maybe_hang(const struct script *s, const char *call)
{
    while (strcmp(s->hang, call) == 0)
        pause();
}

static unsigned index_of(const void *device)
{
    return (unsigned)((const char *)device - handles);
}

/* The GPU behind a handle in *s, read anew; NULL when it is lost. */
static struct gpu *find(const void *device, struct script *s)
{
    read_script(s);
    struct gpu *gpu = &s->gpus[index_of(device)];
    return gpu->lost ? NULL : gpu;
}

API int nvmlInit_v2(void)
{
    struct script s;
    read_script(&s);
    maybe_hang(&s, "init");
    return s.init;
}

API const char *nvmlErrorString(int code)
{
    return code == 15 ? "GPU is lost" : code == 9 ? "Driver Not Loaded" : "Unknown Error";
}

API int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    snprintf(text, size, "580.fake");
    return 0;
}

API int nvmlDeviceGetCount_v2(unsigned *count)
{
    struct script s;
    read_script(&s);
    maybe_hang(&s, "count");
    *count = s.count;
    return 0;
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    struct script s;
    *device = &handles[index < GPUS ? index : 0];
    return index < GPUS && find(*device, &s) ? 0 : 15;
}

API int nvmlDeviceGetUUID(void *device, char *text, unsigned size)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    snprintf(text, size, "%s", gpu ? gpu->uuid : "");
    return gpu ? 0 : 15;
}

API int nvmlDeviceGetName(void *device, char *text, unsigned size)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    snprintf(text, size, "%s", gpu ? gpu->name : "");
    return gpu ? 0 : 15;
}

API int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    maybe_hang(&s, "memory");
    if (!gpu)
        return 15;
    total_free_used[0] = gpu->total;
    total_free_used[1] = gpu->total - gpu->used;
    total_free_used[2] = gpu->used;
    return 0;
}

API int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    if (!gpu || !gpu->has_gauges)
        return 3;
    rates[0] = gpu->util;
    rates[1] = gpu->memory_util;
    return 0;
}

API int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *value)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    (void)sensor;
    *value = gpu ? gpu->temperature : 0;
    return gpu && gpu->temperature ? 0 : 3;
}

API int nvmlDeviceGetPowerUsage(void *device, unsigned *value)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    *value = gpu ? gpu->power : 0;
    return gpu && gpu->power ? 0 : 3;
}

API int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor)
{
    (void)device;
    *major = 9;
    *minor = 0;
    return 0;
}

API int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *value)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    (void)type;
    (void)counter;
    *value = gpu ? gpu->ecc : 0;
    return gpu ? 0 : 15;
}

API int nvmlDeviceGetRemappedRows(void *device, unsigned *corrected, unsigned *uncorrected,
                                  unsigned *pending, unsigned *failed)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    *corrected = *uncorrected = 0;
    *pending = gpu ? (unsigned)gpu->pending : 0;
    *failed = gpu ? (unsigned)gpu->broken : 0;
    return gpu ? 0 : 15;
}

API int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count,
                                                struct process_info *list)
{
    struct script s;
    struct gpu *gpu = find(device, &s);
    if (!gpu)
        return 15;
    if (gpu->process_count > *count)
        return 7;
    *count = gpu->process_count;
    for (unsigned i = 0; i < gpu->process_count; i++)
        list[i] = (struct process_info){.pid = gpu->pids[i], .memory = gpu->process_bytes[i]};
    return 0;
}

API int nvmlEventSetCreate(void **set)
{
    struct script s;
    read_script(&s);
    xids_told = s.xid_count; /* only what comes after */
    *set = handles;
    return 0;
}

API int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set)
{
    (void)device;
    (void)set;
    return types & 8 ? 0 : 2;
}

API int nvmlEventSetWait_v2(void *set, struct event_info *event, unsigned timeout_ms)
{
    (void)set;
    for (unsigned waited = 0;; waited += 20) {
        struct script s;
        read_script(&s);
        maybe_hang(&s, "wait");
        if (xids_told < s.xid_count) {
            *event = (struct event_info){
                .device = &handles[s.xid_gpus[xids_told]], .type = 8, .data = s.xids[xids_told]};
            xids_told++;
            return 0;
        }
        if (waited >= timeout_ms)
            return 10;
        usleep(20000);
    }
}
