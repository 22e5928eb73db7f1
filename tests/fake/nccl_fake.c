/*
 * A stand-in for NCCL with one rank, over host memory: what comm_nccl asks of it, and the ways in
 * which it can fail. Built as build/tests/fake/nccl_fake.so; IJEPAD_NCCL names it. IJEPAD_FAKE_NCCL
 * says how it behaves:
 *
 *     ""      every call succeeds, as work in progress that is done when it is asked about again
 *     init    a communicator cannot be made
 *     add     a sum is refused at once
 *     error   a sum fails later, which only the asynchronous error tells
 *     hang    a sum never ends
 *
 * Aborting is noted in the file that IJEPAD_FAKE_NCCL_LOG names, as is the orderly end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID = 4, REMOTE_ERROR = 6, IN_PROGRESS = 7 };

struct id {
    char bytes[128];
};
struct config {
    size_t size;
    unsigned magic, version;
    int blocking;
};

static int state, asked, sums; /* of the one communicator */

static int behaves(const char *how)
{
    const char *mode = getenv("IJEPAD_FAKE_NCCL");
    return mode && strcmp(mode, how) == 0;
}

static void note(const char *what)
{
    const char *path = getenv("IJEPAD_FAKE_NCCL_LOG");
    FILE *file = path ? fopen(path, "ae") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\n", what);
    fclose(file);
}

static int begin(void)
{
    state = IN_PROGRESS;
    asked = 0;
    return IN_PROGRESS;
}

API int ncclGetUniqueId(struct id *id)
{
    memset(id->bytes, 7, sizeof(id->bytes));
    return SUCCESS;
}

API int ncclCommInitRankConfig(void **comm, int ranks, struct id id, int rank,
                               struct config *config)
{
    if (ranks != 1 || rank != 0 || id.bytes[127] != 7 || config->blocking != 0 ||
        config->magic != 0xcafebeef || config->size != sizeof(*config))
        return INVALID;
    if (behaves("init"))
        return SYSTEM_ERROR;
    *comm = &state;
    return begin();
}

API int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, void *comm,
                      void *stream)
{
    (void)stream;
    if (comm != &state || type != 7 || operation != 0 || behaves("add"))
        return INVALID;
    if (from != to)
        memcpy(to, from, count * sizeof(float));
    sums++;
    note("add");
    return begin();
}

API int ncclCommGetAsyncError(void *comm, int *error)
{
    if (comm != &state)
        return INVALID;
    if (state == IN_PROGRESS && ++asked > 3 && !(sums && behaves("hang")))
        state = sums && behaves("error") ? REMOTE_ERROR : SUCCESS;
    *error = state;
    return SUCCESS;
}

API int ncclCommAbort(void *comm)
{
    (void)comm;
    note("abort");
    return SUCCESS;
}

API int ncclCommFinalize(void *comm)
{
    (void)comm;
    note("finalize");
    return begin();
}

API int ncclCommDestroy(void *comm)
{
    (void)comm;
    note("destroy");
    return SUCCESS;
}

API const char *ncclGetErrorString(int code)
{
    return code == REMOTE_ERROR ? "remote process exited" : "made to fail";
}

API const char *ncclGetLastError(void *comm)
{
    (void)comm;
    return "as the test asked";
}
