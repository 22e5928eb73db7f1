/* Whole training steps on the CUDA backend's host build, against the reference files; and which
 * device a run gets. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    simt_watch_races(false); /* whole steps: the suite of operations has looked */
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
    simt_watch_races(false);
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

Test(ops_golden, auto_is_the_gpu_where_there_is_one_unless_the_environment_says_host)
{
    enum ij_status status;
    struct ij_err err = IJ_ERR_INIT;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    unsetenv("IJEPAD_DEVICE");
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_AUTO, &status, &err), "cuda");
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_CUDA, &status, &err), "cuda");
    simt_set_architecture(75);
    cr_assert_str_eq(golden_device(ENGINE_DEVICE_AUTO, &status, &err), "host");
    cr_assert_null(golden_device(ENGINE_DEVICE_CUDA, &status, &err));
    cr_assert_eq(status, IJ_UNSUPPORTED);
    cr_assert(strstr(err.text, "compute capability 7.5"), "%s", err.text);
    simt_set_architecture(90);
    setenv("IJEPAD_DEVICE", "host", 1);
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

/* A GPU that nobody named is checked once, and used by nobody unasked if it computes nonsense. */
Test(ops_golden, a_gpu_that_auto_found_is_checked_and_remembered)
{
    char path[] = "/tmp/ijepad-checks-XXXXXX";
    struct engine_spec spec = {.device = ENGINE_DEVICE_AUTO, .threads = 1};
    struct ij_err err = IJ_ERR_INIT;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    simt_watch_races(false);
    unsetenv("IJEPAD_DEVICE");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    simt_blas_spoil(true);
    snprintf(spec.device_checks, sizeof spec.device_checks, "%s", path);
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_UNSUPPORTED);
    cr_assert_str_eq(err.field, "device");
    cr_assert(strstr(err.text, "did not pass its check"), "%s", err.text);
    simt_blas_spoil(false);
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_OK, "%s", err.text);
    simt_blas_spoil(true); /* not asked again */
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_OK, "%s", err.text);
    spec.device = ENGINE_DEVICE_CUDA; /* as the daemon says it */
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_OK, "%s", err.text);
    spec.device_checks[0] = '\0'; /* a person did */
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_OK, "%s", err.text);
    spec.device = ENGINE_DEVICE_AUTO;
    cr_assert_eq(engine_device_trust(&spec, &err), IJ_UNSUPPORTED);
    unlink(path);
}
