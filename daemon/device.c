/* See device.h. */
#include "daemon/device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define GPU_COMPUTE_MAJOR_MIN 8 /* bfloat16 */

struct device_table {
    pthread_mutex_t lock;
    struct device devices[DEVICE_MAX]; /* guarded by lock where written; places never move */
    size_t count;
    bool gpu_absent;   /* as the newest report says, and why */
    bool gpu_unusable; /* a worker cannot compute on them */
    char gpu_reason[256];
    struct cordon_row *cordons; /* of devices that were not there at the start */
    size_t cordon_count;
};

static const char *const state_names[DEVICE_STATE_COUNT] = {
#define X(code, name) [DEVICE_##code] = name,
    DEVICE_STATE_MAP(X)
#undef X
};

const char *device_state_name(enum device_state state)
{
    IJ_ASSERT((unsigned)state < DEVICE_STATE_COUNT);
    return state_names[state];
}

const char *device_kind_name(enum device_kind kind)
{
    IJ_ASSERT((unsigned)kind < DEVICE_KIND_COUNT);
    return kind == DEVICE_HOST ? "host" : "gpu";
}

enum device_state device_state_of(const struct device *device)
{
    if (device->trouble[0])
        return DEVICE_FAULTED;
    if (device->unknown)
        return DEVICE_UNKNOWN;
    if (device->run)
        return DEVICE_HELD;
    if (!device->present)
        return DEVICE_GONE;
    if (device->cordon.ts_ms)
        return DEVICE_CORDONED;
    return device->foreign_count ? DEVICE_FOREIGN : DEVICE_FREE;
}

void device_explain(const struct device *device, char *ret_text, size_t size)
{
    if (device->trouble[0])
        snprintf(ret_text, size, "%s is faulty: %s", device->id, device->trouble);
    else if (device->unknown)
        snprintf(ret_text, size, "%s is not known to be well: its driver does not answer",
                 device->id);
    else if (!device->present)
        snprintf(ret_text, size, "%s is gone", device->id);
    else if (device->cordon.ts_ms)
        snprintf(ret_text, size, "%s is cordoned by %s: %.100s", device->id, device->cordon.actor,
                 device->cordon.reason);
    else if (device->run)
        snprintf(ret_text, size, "%s is held by r%lld", device->id, (long long)device->run);
    else if (device->foreign_count)
        snprintf(ret_text, size, "%s is used by process %d (%s)", device->id,
                 (int)device->foreign_pid,
                 device->foreign_command[0] ? device->foreign_command : "name unknown");
    else
        snprintf(ret_text, size, "%s is free", device->id);
}

/* ---- Making ---------------------------------------------------------------------------------- */

enum ij_status device_table_new(const struct cordon_row *cordons, size_t cordon_count,
                                struct device_table **ret_table, struct ij_err *reterr_err)
{
    struct device_table *table = mem_new(struct device_table);
    struct cordon_row *copy = mem_array(struct cordon_row, cordon_count + 1);
    if (!table || !copy || pthread_mutex_init(&table->lock, NULL) != 0) {
        mem_free(table);
        mem_free(copy);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the devices");
    }
    if (cordon_count)
        memcpy(copy, cordons, cordon_count * sizeof(*copy));
    table->cordons = copy;
    table->cordon_count = cordon_count;
    *ret_table = table;
    return IJ_OK;
}

void device_table_free(struct device_table *table)
{
    if (!table)
        return;
    pthread_mutex_destroy(&table->lock);
    mem_free(table->cordons);
    mem_free(table);
}

/* A new device at the end, with the cordon that it had when it was last seen. NULL: no place. */
static struct device *add(struct device_table *table, const char *id, enum device_kind kind)
{
    if (table->count == DEVICE_MAX)
        return NULL;
    struct device *device = &table->devices[table->count++];
    *device = (struct device){.kind = kind};
    snprintf(device->id, sizeof(device->id), "%s", id);
    for (size_t i = 0; i < table->cordon_count; i++)
        if (strcmp(table->cordons[i].device, id) == 0)
            device->cordon = table->cordons[i];
    return device;
}

/* ---- Host slots ------------------------------------------------------------------------------ */

static uint64_t machine_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

bool device_table_set_slots(struct device_table *table, uint32_t slots)
{
    bool changed = false;
    pthread_mutex_lock(&table->lock);
    for (uint32_t i = 0; i < DEVICE_SLOTS_MAX; i++) {
        char id[DEVICE_ID_SIZE];
        size_t place;
        snprintf(id, sizeof(id), "host-%u", i);
        bool known = device_table_find(table, id, &place);
        if (!known && i >= slots)
            break;
        struct device *device = known ? &table->devices[place] : add(table, id, DEVICE_HOST);
        if (!device)
            break;
        changed |= !known || device->present != (i < slots);
        device->index = i;
        device->present = i < slots;
        device->memory_bytes = machine_bytes() / slots;
        snprintf(device->name, sizeof(device->name), "host slot %u", i);
    }
    pthread_mutex_unlock(&table->lock);
    return changed;
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

/* A worker leads a process group of its own, in which its helpers are. A process that cannot be
 * looked up lives in another container, or has just ended: foreign until it leaves the report. */
static bool is_ours(const struct device_table *table, pid_t pid)
{
    pid_t group = pid > 0 ? getpgid(pid) : -1;
    for (size_t i = 0; i < table->count; i++)
        if (table->devices[i].worker > 0 && table->devices[i].worker == group)
            return true;
    return false;
}

static void take_processes(const struct device_table *table, struct device *device)
{
    size_t listed = device->gpu.process_count < GPU_REPORT_PROCESSES_MAX ? device->gpu.process_count
                                                                         : GPU_REPORT_PROCESSES_MAX;
    device->foreign_count = device->gpu.process_count - listed;
    device->foreign_pid = 0;
    device->foreign_command[0] = '\0';
    for (size_t i = 0; i < listed; i++) {
        const struct gpu_report_process *process = &device->gpu.processes[i];
        if (is_ours(table, process->pid))
            continue;
        if (!device->foreign_pid) {
            device->foreign_pid = process->pid;
            snprintf(device->foreign_command, sizeof(device->foreign_command), "%s",
                     process->command);
        }
        device->foreign_count++;
    }
}

static void take_gpu(const struct device_table *table, struct device *device,
                     const struct gpu_report_gpu *gpu)
{
    device->gpu = *gpu;
    device->index = gpu->index;
    device->present = true;
    if (gpu->memory_total_bytes) /* a lost one does not say */
        device->memory_bytes = gpu->memory_total_bytes;
    if (gpu->name[0])
        snprintf(device->name, sizeof(device->name), "%s", gpu->name);
    device->trouble[0] = '\0';
    if (gpu->health != GPU_REPORT_HEALTHY)
        snprintf(device->trouble, sizeof(device->trouble), "%s",
                 gpu->trouble[0] ? gpu->trouble : "the driver says that it is not healthy");
    take_processes(table, device);
}

static bool is_listed(const struct gpu_report *report, const char *uuid)
{
    for (size_t i = 0; i < report->gpu_count; i++)
        if (strcmp(report->gpus[i].uuid, uuid) == 0)
            return true;
    return false;
}

/* What the scheduler looks at, so that a change is seen. */
static uint64_t fingerprint(const struct device_table *table)
{
    uint64_t sum = table->count;
    for (size_t i = 0; i < table->count; i++)
        sum = sum * 31 + (uint64_t)device_state_of(&table->devices[i]) + 1;
    return sum;
}

/* A report that knows nothing, because the driver does not answer, still lists the GPUs that it saw
 * last: runs on them go on, and they are given to nobody. */
bool device_table_update(struct device_table *table, const struct gpu_report *report)
{
    pthread_mutex_lock(&table->lock);
    uint64_t before = fingerprint(table);
    for (size_t i = 0; i < table->count; i++) {
        struct device *device = &table->devices[i];
        if (device->kind == DEVICE_GPU)
            device->present = is_listed(report, device->id);
        device->unknown = device->kind == DEVICE_GPU && report->state == GPU_REPORT_UNKNOWN;
    }
    for (size_t i = 0; i < report->gpu_count && report->state == GPU_REPORT_OK; i++) {
        const struct gpu_report_gpu *gpu = &report->gpus[i];
        size_t place;
        struct device *device = device_table_find(table, gpu->uuid, &place)
                                    ? &table->devices[place]
                                    : add(table, gpu->uuid, DEVICE_GPU);
        if (device)
            take_gpu(table, device, gpu);
    }
    table->gpu_absent = report->state == GPU_REPORT_ABSENT;
    table->gpu_unusable = report->state != GPU_REPORT_OK || report->unusable[0];
    snprintf(table->gpu_reason, sizeof(table->gpu_reason), "%s", report->reason);
    bool changed = fingerprint(table) != before;
    pthread_mutex_unlock(&table->lock);
    return changed;
}

bool device_table_lacks_gpu(struct device_table *table, char *ret_reason, size_t size)
{
    pthread_mutex_lock(&table->lock);
    bool absent = table->gpu_absent;
    snprintf(ret_reason, size, "%s", table->gpu_reason);
    pthread_mutex_unlock(&table->lock);
    return absent;
}

bool device_table_has_usable_gpu(struct device_table *table)
{
    bool any = false;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count && !table->gpu_unusable; i++) {
        const struct device *device = &table->devices[i];
        any |= device->kind == DEVICE_GPU && device->present && !device->trouble[0] &&
               device->gpu.compute_major >= GPU_COMPUTE_MAJOR_MIN;
    }
    pthread_mutex_unlock(&table->lock);
    return any;
}

struct device_room device_table_room(struct device_table *table, uint64_t bytes)
{
    struct device_room room = {.gpus = 0};
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count; i++) {
        const struct device *device = &table->devices[i];
        if (device->kind != DEVICE_GPU || !device->present)
            continue;
        room.gpus++;
        room.large_enough += device->memory_bytes >= bytes;
        if (device->memory_bytes > room.largest_bytes)
            room.largest_bytes = device->memory_bytes;
    }
    pthread_mutex_unlock(&table->lock);
    return room;
}

/* ---- Holding --------------------------------------------------------------------------------- */

size_t device_table_count(const struct device_table *table)
{
    return table->count;
}

const struct device *device_table_at(const struct device_table *table, size_t place)
{
    IJ_ASSERT(place < table->count);
    return &table->devices[place];
}

bool device_table_find(const struct device_table *table, const char *id, size_t *ret_place)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->devices[i].id, id) == 0) {
            *ret_place = i;
            return true;
        }
    return false;
}

void device_table_hold(struct device_table *table, size_t place, int64_t run)
{
    IJ_ASSERT(place < table->count && run > 0 && !table->devices[place].run);
    pthread_mutex_lock(&table->lock);
    table->devices[place].run = run;
    table->devices[place].worker = 0;
    pthread_mutex_unlock(&table->lock);
}

void device_table_set_worker(struct device_table *table, int64_t run, pid_t worker)
{
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count; i++)
        if (table->devices[i].run == run)
            table->devices[i].worker = worker;
    pthread_mutex_unlock(&table->lock);
}

void device_table_release(struct device_table *table, int64_t run)
{
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count; i++)
        if (table->devices[i].run == run) {
            table->devices[i].run = 0;
            table->devices[i].worker = 0;
        }
    pthread_mutex_unlock(&table->lock);
}

void device_table_note_death(struct device_table *table, size_t place, int64_t run, int64_t now_ms)
{
    IJ_ASSERT(place < table->count);
    pthread_mutex_lock(&table->lock);
    table->devices[place].death_run = run;
    table->devices[place].death_ms = now_ms;
    pthread_mutex_unlock(&table->lock);
}

void device_table_count_xid(struct device_table *table, size_t place, uint32_t xid, int64_t now_ms)
{
    IJ_ASSERT(place < table->count);
    struct device_xid *xids = table->devices[place].xids;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < DEVICE_XIDS_MAX; i++)
        if (xids[i].count == 0 || xids[i].xid == xid) {
            xids[i].xid = xid;
            xids[i].count++;
            xids[i].last_ms = now_ms;
            break;
        }
    pthread_mutex_unlock(&table->lock);
}

void device_table_cordon(struct device_table *table, size_t place, const struct cordon_row *cordon)
{
    IJ_ASSERT(place < table->count);
    pthread_mutex_lock(&table->lock);
    table->devices[place].cordon = cordon ? *cordon : (struct cordon_row){.ts_ms = 0};
    pthread_mutex_unlock(&table->lock);
}

void device_table_ids(const struct device_table *table, int64_t run, char *ret_text, size_t size)
{
    size_t used = (size_t)snprintf(ret_text, size, "[");
    for (size_t i = 0; i < table->count; i++) {
        const char *id = table->devices[i].id;
        if (table->devices[i].run != run || used + strlen(id) + 5 > size)
            continue;
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"%s\"", used > 1 ? "," : "", id);
    }
    snprintf(ret_text + used, size - used, "]");
}

/* ---- Copies ---------------------------------------------------------------------------------- */

enum ij_status device_table_copy(struct device_table *table, struct device **ret_devices,
                                 size_t *ret_count, struct ij_err *reterr_err)
{
    size_t count = 0;
    struct device *copy = mem_array(struct device, DEVICE_MAX);
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the devices");
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count; i++) {
        const struct device *device = &table->devices[i];
        if (device->present || device->run || device->cordon.ts_ms)
            copy[count++] = *device;
    }
    pthread_mutex_unlock(&table->lock);
    *ret_devices = copy;
    *ret_count = count;
    return IJ_OK;
}
