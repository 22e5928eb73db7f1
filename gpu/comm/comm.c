/* See comm.h. */
#include "gpu/comm/comm.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/comm/comm_area.h"
#include "gpu/comm/comm_nccl.h"

struct comm {
    uint32_t rank, count;
    struct backend *backend; /* borrowed */
    struct comm_area *area;  /* NULL: solo */
    struct comm_nccl *nccl;  /* NULL: gradients go through the area */
};

static enum comm_way choose(enum comm_way way, const struct backend *backend)
{
    const char *name = getenv("IJEPAD_COMM"); /* for a machine where NCCL does not work */
    if (way != COMM_AUTO)
        return way;
    if (name && strcmp(name, "shared") == 0)
        return COMM_SHARED;
    return strcmp(backend->name, "cuda") == 0 ? COMM_NCCL : COMM_SHARED;
}

enum ij_status comm_new(const struct engine_ranks *ranks, enum comm_way way,
                        struct backend *backend, struct comm **ret_comm, struct ij_err *reterr_err)
{
    enum ij_status status = IJ_OK;
    struct comm *comm = mem_new(struct comm);
    if (!comm)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the ranks");
    comm->rank = ranks->rank;
    comm->count = ranks->count ? ranks->count : 1;
    comm->backend = backend;
    IJ_ASSERT(comm->rank < comm->count && comm->count <= ENGINE_RANKS_MAX);
    if (comm->count > 1 || way != COMM_AUTO) {
        IJ_TRY_GOTO(status, comm_area_new(ranks, &comm->area, reterr_err), out);
        IJ_TRY_GOTO(status, comm_area_meet(comm->area, reterr_err), out);
        if (choose(way, backend) == COMM_NCCL)
            IJ_TRY_GOTO(status,
                        comm_nccl_new(comm->area, comm->rank, comm->count, backend, &comm->nccl,
                                      reterr_err),
                        out);
    }
    *ret_comm = comm;
    return IJ_OK;
out:
    if (comm->area)
        comm_area_fail(comm->area, reterr_err ? reterr_err : &(struct ij_err){.code = status});
    comm_free(comm);
    return status;
}

void comm_free(struct comm *comm)
{
    if (!comm)
        return;
    comm_nccl_free(comm->nccl);
    comm_area_free(comm->area);
    mem_free(comm);
}

uint32_t comm_rank(const struct comm *comm)
{
    return comm->rank;
}
uint32_t comm_count(const struct comm *comm)
{
    return comm->count;
}

enum ij_status comm_sum(struct comm *comm, double *values, size_t count, struct ij_err *reterr_err)
{
    return comm->area ? comm_area_sum(comm->area, values, count, reterr_err) : IJ_OK;
}

enum ij_status comm_add(struct comm *comm, float *data, int64_t count, struct ij_err *reterr_err)
{
    if (comm->nccl)
        return comm_nccl_add(comm->nccl, data, count, reterr_err);
    return comm->area ? comm_area_add(comm->area, comm->backend, data, count, reterr_err) : IJ_OK;
}

enum ij_status comm_add_finish(struct comm *comm, struct ij_err *reterr_err)
{
    return comm->nccl ? comm_nccl_finish(comm->nccl, reterr_err) : IJ_OK;
}

void comm_set_away(struct comm *comm, bool away)
{
    if (comm->area)
        comm_area_set_away(comm->area, away);
}

void comm_fail(struct comm *comm, const struct ij_err *err)
{
    if (comm->area)
        comm_area_fail(comm->area, err);
}
