/* Ranks as processes over shared memory: sums, agreement, and every way in which one can end. */
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/comm/comm.h"
#include "gpu/comm/comm_area.h"
#include "tests/unit/ranks_fixture.h"

#define FLOATS (COMM_AREA_FLOATS + 777) /* more than a buffer holds */

static struct comm *comm;
static struct backend *backend;
static struct ij_err err;

static enum ij_status join(const struct engine_ranks *ranks)
{
    err = (struct ij_err)IJ_ERR_INIT;
    IJ_TRY(backend_host_new(1, &backend, &err));
    return comm_new(ranks, COMM_AUTO, backend, &comm, &err);
}

static void leave(void)
{
    comm_free(comm);
    backend->ops->free(backend);
}

/* ---- Sums ------------------------------------------------------------------------------------ */

static float term(uint32_t rank, int64_t i)
{
    return (float)(i % 1000) * 0.1f + (float)rank * 1e-3f;
}

/* 0: as it should be. */
static int exchange(const struct engine_ranks *ranks, void *user)
{
    (void)user;
    float *data = mem_array(float, FLOATS);
    if (!data || join(ranks) != IJ_OK)
        return 1;
    for (int round = 0; round < 3; round++) {
        double small[2] = {1, ranks->rank + round};
        for (int64_t i = 0; i < FLOATS; i++)
            data[i] = term(ranks->rank, i);
        if (comm_sum(comm, small, 2, &err) != IJ_OK || small[0] != ranks->count ||
            small[1] != ranks->count * (ranks->count - 1) / 2.0 + ranks->count * round)
            return 2;
        if (comm_add(comm, data, FLOATS, &err) != IJ_OK || comm_add_finish(comm, &err) != IJ_OK)
            return 3;
        for (int64_t i = 0; i < FLOATS; i++) {
            float expected = term(0, i); /* in the order of ranks: the same bits for all */
            for (uint32_t r = 1; r < ranks->count; r++)
                expected += term(r, i);
            if (data[i] != expected)
                return 4;
        }
    }
    mem_free(data);
    leave();
    return 0;
}

static void expect_exchange(uint32_t count)
{
    struct engine_ranks ranks;
    ranks_start(count, 60, exchange, NULL, &ranks);
    cr_assert_eq(exchange(&ranks, NULL), 0, "%s", err.text);
    cr_assert_eq(ranks_end(&ranks, 1), 0);
}

Test(comm, sums_over_two_ranks, .timeout = 60)
{
    expect_exchange(2);
}

Test(comm, sums_over_five_ranks, .timeout = 60)
{
    expect_exchange(5);
}

Test(comm, of_one_rank_changes_nothing, .timeout = 60)
{
    struct engine_ranks ranks = {.count = 0, .fd = -1};
    float data[3] = {1, 2, 3};
    double small = 7;
    cr_assert_eq(join(&ranks), IJ_OK);
    cr_assert_eq(comm_count(comm), 1);
    cr_assert_eq(comm_sum(comm, &small, 1, &err), IJ_OK);
    cr_assert_eq(comm_add(comm, data, 3, &err), IJ_OK);
    cr_assert_eq(comm_add_finish(comm, &err), IJ_OK);
    cr_assert(small == 7 && data[2] == 3);
    leave();
}

Test(comm, of_one_rank_through_shared_memory_changes_nothing, .timeout = 60)
{
    struct engine_ranks ranks = {.count = 1, .fd = -1};
    float data[3] = {1, 2, 3};
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK);
    cr_assert_eq(comm_new(&ranks, COMM_SHARED, backend, &comm, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(comm_add(comm, data, 3, &err), IJ_OK);
    cr_assert(data[0] == 1 && data[1] == 2 && data[2] == 3);
    leave();
}

Test(comm, by_nccl_is_refused_on_the_host, .timeout = 60)
{
    struct engine_ranks ranks = {.count = 1, .fd = -1};
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK);
    cr_assert_eq(comm_new(&ranks, COMM_NCCL, backend, &comm, &err), IJ_UNSUPPORTED);
    cr_assert(strstr(err.text, "NCCL needs the CUDA backend"), "%s", err.text);
    backend->ops->free(backend);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

enum how { FAILS, DIES, HANGS, IS_AWAY };

/* One good sum, then rank 1 does what *user says; the others wait for a second sum and report the
 * status that they get. */
static int misbehave(const struct engine_ranks *ranks, void *user)
{
    enum how how = *(enum how *)user;
    double one = 1;
    if (join(ranks) != IJ_OK || comm_sum(comm, &one, 1, &err) != IJ_OK)
        return 100;
    if (ranks->rank != 1)
        return (int)comm_sum(comm, &one, 1, &err);
    if (how == FAILS) {
        struct ij_err why = IJ_ERR_INIT;
        (void)IJ_ERR_FIELD(&why, IJ_DATA, "data.path", "no such image");
        comm_fail(comm, &why);
        return 0;
    }
    if (how == DIES)
        raise(SIGKILL);
    comm_set_away(comm, how == IS_AWAY);
    if (how == HANGS)
        for (;;)
            pause();
    poll(NULL, 0, 1500); /* three deadlines long */
    comm_set_away(comm, false);
    return (int)comm_sum(comm, &one, 1, &err);
}

static enum ij_status second_sum(enum how how, struct engine_ranks *ranks)
{
    ranks_start(3, 0.5, misbehave, &how, ranks);
    return (enum ij_status)misbehave(ranks, &how);
}

Test(comm, that_fails_is_the_failure_of_all, .timeout = 60)
{
    struct engine_ranks ranks;
    cr_assert_eq(second_sum(FAILS, &ranks), IJ_DATA);
    cr_assert_str_eq(err.text, "rank 1: no such image");
    cr_assert_str_eq(err.field, "data.path");
    cr_assert_eq(ranks_end(&ranks, 2), IJ_DATA);
}

Test(comm, that_is_killed_is_found, .timeout = 60)
{
    struct engine_ranks ranks;
    cr_assert_eq(second_sum(DIES, &ranks), IJ_INTERNAL);
    cr_assert_str_eq(err.text, "rank 1: its process ended (signal 9)");
    cr_assert_eq(ranks_end(&ranks, 2), IJ_INTERNAL);
}

Test(comm, that_hangs_is_given_up_at_its_deadline, .timeout = 60)
{
    struct engine_ranks ranks;
    cr_assert_eq(second_sum(HANGS, &ranks), IJ_TIMEOUT);
    cr_assert_str_eq(err.text, "rank 1: not heard of for 0.5 s");
    kill(ranks.pids[1], SIGKILL);
    cr_assert_eq(ranks_end(&ranks, 2), IJ_TIMEOUT);
}

Test(comm, that_is_away_is_waited_for, .timeout = 60)
{
    struct engine_ranks ranks;
    cr_assert_eq(second_sum(IS_AWAY, &ranks), IJ_OK, "%s", err.text);
    cr_assert_eq(ranks_end(&ranks, 2), IJ_OK);
}
