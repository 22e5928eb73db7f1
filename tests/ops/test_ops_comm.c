/* Gradients by NCCL, with one rank: on a GPU with the real library, on the host build of the CUDA
 * backend with a stand-in that can be made to fail. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "gpu/comm/comm.h"
#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

#define FLOATS 100003

static char log_path[128];
static struct backend *backend;
static struct comm *comm;
static struct ij_err err;

/* The stand-in beside this program, behaving as `how`. */
static void use_fake(const char *how)
{
    char self[PATH_MAX], library[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    cr_assert_gt(n, 0);
    self[n] = '\0';
    snprintf(library, sizeof(library), "%s/fake/nccl_fake.so", dirname(dirname(self)));
    snprintf(log_path, sizeof(log_path), "/tmp/ijepad-nccl-%d", getpid());
    unlink(log_path);
    setenv("IJEPAD_NCCL", library, 1);
    setenv("IJEPAD_FAKE_NCCL", how, 1);
    setenv("IJEPAD_FAKE_NCCL_LOG", log_path, 1);
}

static bool is_real(void)
{
    return !simt_fail_next;
}

static void open_backend(const char *how)
{
    if (!backend_cuda_new)
        cr_skip_test("this program has no CUDA backend");
    enum ij_status status = backend_cuda_new(0, &backend, &err);
    if (status == IJ_UNSUPPORTED)
        cr_skip_test("%s", err.text);
    cr_assert_eq(status, IJ_OK, "%s", err.text);
    if (!is_real())
        use_fake(how);
    else if (how[0])
        cr_skip_test("the real library cannot be made to fail");
}

static enum ij_status join(double timeout_s)
{
    struct engine_ranks ranks = {.count = 1, .fd = -1, .timeout_s = timeout_s};
    return comm_new(&ranks, COMM_NCCL, backend, &comm, &err);
}

static void expect_log(const char *expected)
{
    mem_auto char *text = NULL;
    size_t size;
    if (is_real())
        return;
    cr_assert_eq(file_read(log_path, 4096, &text, &size, &err), IJ_OK, "%s", err.text);
    cr_assert_str_eq(text, expected);
    unlink(log_path);
}

static void fill(float *values)
{
    for (int i = 0; i < FLOATS; i++)
        values[i] = (float)(i % 1000) * 0.25f - 3;
}

Test(ops_comm, by_nccl_with_one_rank_leaves_the_gradients_as_they_are, .timeout = 120)
{
    static float values[FLOATS], back[FLOATS];
    float *data;
    open_backend("");
    enum ij_status status = join(60);
    if (status == IJ_UNSUPPORTED && is_real())
        cr_skip_test("%s", err.text);
    cr_assert_eq(status, IJ_OK, "%s", err.text);
    const struct ops *ops = backend->ops;
    cr_assert_eq(ops->allocate(backend, sizeof values, (void **)&data, &err), IJ_OK);
    fill(values);
    for (int step = 0; step < 3; step++) {
        cr_assert_eq(ops->upload(backend, data, values, sizeof values, &err), IJ_OK);
        cr_assert_eq(comm_add(comm, data + FLOATS / 2, FLOATS - FLOATS / 2, &err), IJ_OK, "%s",
                     err.text);
        cr_assert_eq(comm_add(comm, data, FLOATS / 2, &err), IJ_OK, "%s", err.text);
        cr_assert_eq(comm_add_finish(comm, &err), IJ_OK, "%s", err.text);
        cr_assert_eq(ops->download(backend, back, data, sizeof back, &err), IJ_OK);
        cr_assert_arr_eq(back, values, sizeof back);
    }
    ops->release(backend, data);
    comm_free(comm);
    ops->free(backend);
    expect_log("add\nadd\nadd\nadd\nadd\nadd\nfinalize\ndestroy\n");
}

Test(ops_comm, that_cannot_be_made_says_why, .timeout = 60)
{
    open_backend("init");
    cr_assert_eq(join(60), IJ_DEVICE);
    cr_assert(strstr(err.text, "ncclCommInitRankConfig: made to fail: as the test asked"), "%s",
              err.text);
    backend->ops->free(backend);
}

Test(ops_comm, without_the_library_says_so, .timeout = 60)
{
    open_backend("");
    const char *path = getenv("IJEPAD_NCCL");
    mem_auto char *before = path ? mem_strdup(path) : NULL;
    setenv("IJEPAD_NCCL", "/nonexistent/libnccl.so.2", 1);
    enum ij_status status = join(60);
    if (before)
        setenv("IJEPAD_NCCL", before, 1);
    else
        unsetenv("IJEPAD_NCCL");
    cr_assert_eq(status, IJ_UNSUPPORTED);
    cr_assert_str_eq(err.field, "gpus");
    cr_assert(strstr(err.text, "several GPUs need NCCL"), "%s", err.text);
    backend->ops->free(backend);
}

/* One sum that does not go well; it and all that follow give the status. */
static void expect_bad_sum(const char *how, double timeout_s, enum ij_status status,
                           const char *says, const char *log)
{
    float *data;
    open_backend(how);
    cr_assert_eq(join(timeout_s), IJ_OK, "%s", err.text);
    cr_assert_eq(backend->ops->allocate(backend, 64, (void **)&data, &err), IJ_OK);
    cr_assert_eq(backend->ops->clear(backend, data, 64, &err), IJ_OK);
    enum ij_status got = comm_add(comm, data, 16, &err);
    if (got == IJ_OK)
        got = comm_add_finish(comm, &err);
    cr_assert_eq(got, status, "%s", err.text);
    cr_assert(strstr(err.text, says), "%s", err.text);
    cr_assert_eq(comm_add(comm, data, 16, &err), IJ_DEVICE);
    cr_assert(strstr(err.text, "aborted"), "%s", err.text);
    comm_free(comm);
    backend->ops->release(backend, data);
    backend->ops->free(backend);
    expect_log(log);
}

Test(ops_comm, that_is_refused_aborts, .timeout = 60)
{
    expect_bad_sum("add", 60, IJ_DEVICE, "ncclAllReduce", "abort\n");
}

Test(ops_comm, polls_the_asynchronous_error, .timeout = 60)
{
    expect_bad_sum("error", 60, IJ_DEVICE, "remote process exited", "add\nabort\n");
}

Test(ops_comm, that_hangs_aborts_at_its_deadline, .timeout = 60)
{
    expect_bad_sum("hang", 0.3, IJ_TIMEOUT, "did not end in 0.3 s", "add\nabort\n");
}
