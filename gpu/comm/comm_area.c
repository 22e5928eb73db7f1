/*
 * See comm_area.h. A rank only ever writes its own parts: its count of meetings, its numbers, its
 * buffer, its slice of the sum; `failure` belongs to who wins the exchange on `failed`. A part is
 * written again only after a meeting that everybody reached who still read it.
 */
#include "gpu/comm/comm_area.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define LOOK_MS            100 /* how often who waits looks round */
#define TIMEOUT_DEFAULT_MS 300000

enum { FAILED_NOT, FAILED_BEING_TOLD, FAILED_TOLD };

struct mark {
    _Alignas(64) _Atomic uint32_t meetings; /* a futex */
    _Atomic uint32_t away;
};

/* The shared part; zeroed at the start. */
struct shared {
    struct mark marks[ENGINE_RANKS_MAX];
    _Atomic uint32_t failed;
    uint32_t failed_rank;
    enum ij_status failed_code;
    char failed_field[IJ_ERR_FIELD_MAX], failed_text[IJ_ERR_TEXT_MAX];
    unsigned char id[COMM_AREA_ID_BYTES];
    double small[2][ENGINE_RANKS_MAX][COMM_SMALL_MAX];
    _Alignas(64) float sum[COMM_AREA_FLOATS];
    float buffers[][COMM_AREA_FLOATS]; /* one per rank */
};

struct comm_area {
    struct shared *shared; /* mapped */
    size_t bytes;
    uint32_t rank, count, meetings;
    unsigned side; /* of `small`: which half comes next */
    int64_t timeout_ms;
    pid_t pids[ENGINE_RANKS_MAX];
};

enum ij_status comm_area_new(const struct engine_ranks *ranks, struct comm_area **ret_area,
                             struct ij_err *reterr_err)
{
    struct comm_area *area = mem_new(struct comm_area);
    if (!area)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a rank");
    area->rank = ranks->rank;
    area->count = ranks->count ? ranks->count : 1;
    area->timeout_ms =
        ranks->timeout_s > 0 ? (int64_t)(ranks->timeout_s * 1000) : TIMEOUT_DEFAULT_MS;
    memcpy(area->pids, ranks->pids, sizeof(area->pids));
    area->bytes = sizeof(struct shared) + area->count * sizeof(float[COMM_AREA_FLOATS]);
    bool alone = area->count == 1 && ranks->fd < 0;
    int flags = alone ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *memory = MAP_FAILED;
    if (alone || ftruncate(ranks->fd, (off_t)area->bytes) == 0)
        memory = mmap(NULL, area->bytes, PROT_READ | PROT_WRITE, flags, alone ? -1 : ranks->fd, 0);
    if (memory == MAP_FAILED) {
        int error = errno;
        mem_free(area);
        return IJ_ERR_SYS(reterr_err, error, "", "cannot map the memory of the ranks");
    }
    area->shared = memory;
    *ret_area = area;
    return IJ_OK;
}

void comm_area_free(struct comm_area *area)
{
    if (!area)
        return;
    munmap(area->shared, area->bytes);
    mem_free(area);
}

int64_t comm_area_timeout_ms(const struct comm_area *area)
{
    return area->timeout_ms;
}

/* ---- The common fate ------------------------------------------------------------------------- */

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void fail_of(struct comm_area *area, uint32_t rank, enum ij_status code, const char *field,
                    const char *text)
{
    struct shared *s = area->shared;
    uint32_t none = FAILED_NOT;
    if (!atomic_compare_exchange_strong(&s->failed, &none, FAILED_BEING_TOLD))
        return;
    s->failed_rank = rank;
    s->failed_code = code;
    snprintf(s->failed_field, sizeof(s->failed_field), "%s", field);
    snprintf(s->failed_text, sizeof(s->failed_text), "%s", text);
    atomic_store(&s->failed, FAILED_TOLD);
    for (uint32_t r = 0; r < area->count; r++)
        wake(&s->marks[r].meetings);
}

void comm_area_fail(struct comm_area *area, const struct ij_err *err)
{
    fail_of(area, area->rank, err->code == IJ_OK ? IJ_INTERNAL : err->code, err->field, err->text);
}

void comm_area_set_away(struct comm_area *area, bool away)
{
    atomic_store(&area->shared->marks[area->rank].away, away);
}

/* A rank that ended without a word, as only its parent can see. */
static void look_for_the_dead(struct comm_area *area)
{
    for (uint32_t r = 0; r < area->count; r++) {
        siginfo_t info = {.si_pid = 0};
        char text[128];
        enum ij_status code = IJ_INTERNAL;
        if (area->pids[r] <= 0 || r == area->rank ||
            waitid(P_PID, (id_t)area->pids[r], &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
            info.si_pid == 0)
            continue;
        snprintf(text, sizeof(text), "its process ended (%s %d)",
                 info.si_code == CLD_EXITED ? "exit code" : "signal", info.si_status);
        if (info.si_code == CLD_EXITED && info.si_status != 0)
            code = ij_status_from_exit_code(info.si_status);
        fail_of(area, r, code, "", text); /* loses against the rank's own last words */
        return;
    }
}

/* A failure that is being told right now counts once it is told. */
static enum ij_status tell_failure(struct comm_area *area, struct ij_err *reterr_err)
{
    const struct shared *s = area->shared;
    if (atomic_load(&s->failed) != FAILED_TOLD)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, s->failed_code, s->failed_field, "rank %u: %.480s",
                        s->failed_rank, s->failed_text);
}

enum ij_status comm_area_check(struct comm_area *area, struct ij_err *reterr_err)
{
    IJ_TRY(tell_failure(area, reterr_err));
    look_for_the_dead(area);
    return tell_failure(area, reterr_err);
}

/* ---- Meeting --------------------------------------------------------------------------------- */

static bool has_come(const struct comm_area *area, uint32_t rank)
{
    uint32_t meetings = atomic_load(&area->shared->marks[rank].meetings);
    return (int32_t)(meetings - area->meetings) >= 0;
}

static enum ij_status wait_for(struct comm_area *area, uint32_t rank, struct ij_err *reterr_err)
{
    struct mark *mark = &area->shared->marks[rank];
    struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
    int64_t deadline_ms = clock_monotonic_ms() + area->timeout_ms;
    while (!has_come(area, rank)) {
        IJ_TRY(comm_area_check(area, reterr_err));
        uint32_t meetings = atomic_load(&mark->meetings);
        if ((int32_t)(meetings - area->meetings) >= 0)
            break;
        syscall(SYS_futex, &mark->meetings, FUTEX_WAIT, meetings, &look, NULL, 0);
        int64_t now_ms = clock_monotonic_ms();
        if (atomic_load(&mark->away))
            deadline_ms = now_ms + area->timeout_ms;
        if (now_ms < deadline_ms || has_come(area, rank))
            continue;
        char text[128];
        snprintf(text, sizeof(text), "not heard of for %.3g s", (double)area->timeout_ms / 1000);
        fail_of(area, rank, IJ_TIMEOUT, "", text);
    }
    return IJ_OK;
}

enum ij_status comm_area_meet(struct comm_area *area, struct ij_err *reterr_err)
{
    struct mark *own = &area->shared->marks[area->rank];
    area->meetings++;
    atomic_store(&own->meetings, area->meetings);
    wake(&own->meetings);
    for (uint32_t r = 0; r < area->count; r++)
        if (r != area->rank)
            IJ_TRY(wait_for(area, r, reterr_err));
    return IJ_OK;
}

/* ---- Sums ------------------------------------------------------------------------------------ */

enum ij_status comm_area_sum(struct comm_area *area, double *values, size_t count,
                             struct ij_err *reterr_err)
{
    IJ_ASSERT(count <= COMM_SMALL_MAX);
    double(*side)[COMM_SMALL_MAX] = area->shared->small[area->side];
    area->side ^= 1;
    memcpy(side[area->rank], values, count * sizeof(*values));
    IJ_TRY(comm_area_meet(area, reterr_err));
    for (size_t i = 0; i < count; i++) {
        values[i] = side[0][i];
        for (uint32_t r = 1; r < area->count; r++)
            values[i] += side[r][i];
    }
    return IJ_OK;
}

enum ij_status comm_area_share(struct comm_area *area, void *id, struct ij_err *reterr_err)
{
    if (area->rank == 0)
        memcpy(area->shared->id, id, COMM_AREA_ID_BYTES);
    IJ_TRY(comm_area_meet(area, reterr_err));
    memcpy(id, area->shared->id, COMM_AREA_ID_BYTES);
    return comm_area_meet(area, reterr_err);
}

/* This rank's slice of the sum, in the order of ranks. */
static void add_slice(struct comm_area *area, int64_t count)
{
    struct shared *s = area->shared;
    int64_t first = count * area->rank / area->count, end = count * (area->rank + 1) / area->count;
    size_t bytes = (size_t)(end - first) * sizeof(float);
    if (bytes == 0)
        return;
    memcpy(s->sum + first, s->buffers[0] + first, bytes);
    for (uint32_t r = 1; r < area->count; r++) {
        const float *buffer = s->buffers[r];
        for (int64_t i = first; i < end; i++)
            s->sum[i] += buffer[i];
    }
}

enum ij_status comm_area_add(struct comm_area *area, struct backend *backend, float *data,
                             int64_t count, struct ij_err *reterr_err)
{
    struct shared *s = area->shared;
    for (int64_t first = 0; first < count; first += COMM_AREA_FLOATS) {
        int64_t part = count - first < COMM_AREA_FLOATS ? count - first : COMM_AREA_FLOATS;
        size_t bytes = (size_t)part * sizeof(float);
        IJ_TRY(backend->ops->download(backend, s->buffers[area->rank], data + first, bytes,
                                      reterr_err));
        IJ_TRY(comm_area_meet(area, reterr_err));
        add_slice(area, part);
        IJ_TRY(comm_area_meet(area, reterr_err));
        IJ_TRY(backend->ops->upload(backend, data + first, s->sum, bytes, reterr_err));
    }
    /* The next call may write the sum again: only when all have read it. On a GPU the upload may
     * still be under way. */
    IJ_TRY(backend->ops->synchronize(backend, reterr_err));
    return IJ_OK;
}
