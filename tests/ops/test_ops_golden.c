/* Whole training steps on the CUDA backend's host build, against the reference files; and which
 * device a run gets. */
#include <stdlib.h>

#include "gpu/engine_device.h"
#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

enum { ERROR_NO_DEVICE = 100 };

static void golden_line(void *user, const char *line)
{
    (void)line;
    (*(int *)user)++;
}

static void golden_replay(const char *path)
{
    struct ij_err err = IJ_ERR_INIT;
    int lines = 0;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    setenv("IJEPAD_DEVICE", "cuda", 1);
    cr_assert_eq(engine_check_golden(path, golden_line, &lines, &err), IJ_OK, "%s", err.text);
    cr_assert_gt(lines, 50);
}

Test(ops_golden, square)
{
    golden_replay("tests/golden/square.safetensors");
}

Test(ops_golden, patch14)
{
    golden_replay("tests/golden/patch14.safetensors");
}

Test(ops_golden, giant_ratio)
{
    golden_replay("tests/golden/giant_ratio.safetensors");
}

Test(ops_golden, a_gpu_that_computes_what_the_host_does_is_trusted)
{
    struct ij_err err = IJ_ERR_INIT;
    int lines = 0;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    cr_assert_eq(engine_check_device(golden_line, &lines, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(lines, 6, "three comparisons in each precision");
    simt_blas_spoil(true);
    cr_assert_eq(engine_check_device(golden_line, &lines, &err), IJ_DATA, "%s", err.text);
    cr_assert_str_eq(err.field, "device");
    simt_blas_spoil(false);
    simt_fail_next("cudaGetDeviceCount", ERROR_NO_DEVICE);
    cr_assert_eq(engine_check_device(golden_line, &lines, &err), IJ_UNSUPPORTED);
}

static const char *golden_device(enum engine_device device, enum ij_status *ret_status,
                                 struct ij_err *reterr_err)
{
    struct backend *backend = NULL;
    struct engine_spec spec = {.device = device, .threads = 1};
    *ret_status = engine_device_open(&spec, &backend, reterr_err);
    if (*ret_status != IJ_OK)
        return NULL;
    const char *name = backend->name;
    backend->ops->free(backend);
    return name;
}

Test(ops_golden, auto_is_the_host_unless_the_environment_says_cuda)
{
    enum ij_status status;
    struct ij_err err = IJ_ERR_INIT;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    unsetenv("IJEPAD_DEVICE");
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_AUTO, &status, &err), "host");
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_CUDA, &status, &err), "cuda");
    setenv("IJEPAD_DEVICE", "cuda", 1);
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_AUTO, &status, &err), "cuda");
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_HOST, &status, &err), "host");
    simt_fail_next("cudaGetDeviceCount", ERROR_NO_DEVICE);
    cr_assert_null(golden_device(ENGINE_DEVICE_CUDA, &status, &err));
    cr_assert_eq(status, IJ_UNSUPPORTED);
    cr_assert_str_eq(err.field, "device");
}
