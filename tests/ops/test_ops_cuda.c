/* What is the CUDA backend's alone: errors by name, the choice of algorithms. Runs
 * on the host build of tests/simt, which can make CUDA calls fail. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

enum {
    ERROR_MEMORY = 2,
    ERROR_DRIVER = 35,
    ERROR_NO_DEVICE = 100,
    ERROR_ADDRESS = 700
}; /* cudaError_t */

static struct backend *cuda_backend_or_skip(void)
{
    struct backend *backend = NULL;
    struct ij_err err = IJ_ERR_INIT;
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
    return backend;
}

Test(ops_cuda, is_among_the_backends_of_this_suite)
{
    struct backend *own = cuda_backend_or_skip(), *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    cr_assert_geq(count, 2); /* the host once for each level that this processor has */
    for (int i = 0; i < count; i++)
        cr_assert_eq(strcmp(list[i]->name, "cuda") == 0, i == count - 1, "%s", list[i]->name);
    ops_backends_free(list, count);
    own->ops->free(own);
}

/* One small layer; its result, or the error. */
static enum ij_status cuda_layer(struct backend *backend, bool gelu, double *got,
                                 struct ij_err *reterr_err)
{
    struct ops_case c;
    ops_begin(&c, backend, 71);
    struct ops_buffer *x = ops_input(&c, TENSOR_F32, 3 * 8), *w = ops_input(&c, TENSOR_F32, 16 * 8);
    struct ops_buffer *bias = ops_input(&c, TENSOR_F32, 16);
    struct ops_buffer *y = ops_output(&c, TENSOR_F32, 3 * 16);
    struct op_linear_forward args = {.rows = 3,
                                     .in = 8,
                                     .out = 16,
                                     .x = ops_tensor(x),
                                     .weight = ops_tensor(w),
                                     .bias = ops_data(bias),
                                     .activation = gelu ? ACTIVATION_GELU : ACTIVATION_NONE,
                                     .y = ops_tensor(y)};
    enum ij_status status = backend->ops->linear_forward(backend, &args, reterr_err);
    if (status == IJ_OK && got)
        memcpy(got, ops_result(&c, y), 3 * 16 * sizeof(double));
    ops_end(&c);
    return status;
}

Test(ops_cuda, an_error_names_the_operation_and_its_shape)
{
    struct backend *backend = cuda_backend_or_skip();
    struct ij_err err = IJ_ERR_INIT;
    backend_cuda_check_each(backend, true);
    static const char *const calls[] = {"cudaGetLastError", "cudaStreamSynchronize"};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct ops_case c;
        ops_begin(&c, backend, 72);
        struct ops_buffer *x = ops_input(&c, TENSOR_F32, 5 * 7);
        struct ops_buffer *y = ops_output(&c, TENSOR_F32, 5 * 7);
        struct op_layer_norm_forward args = {
            .rows = 5, .width = 7, .eps = 1e-6f, .x = ops_tensor(x), .y = ops_tensor(y)};
        simt_fail_next(calls[i], ERROR_ADDRESS);
        cr_assert_eq(backend->ops->layer_norm_forward(backend, &args, &err), IJ_DEVICE);
        cr_assert(strstr(err.text, "layer_norm_forward (5 x 7"), "%s", err.text);
        cr_assert(strstr(err.text, "cudaErrorIllegalAddress"), "%s", err.text);
        cr_assert_eq(backend->ops->layer_norm_forward(backend, &args, &err), IJ_OK,
                     "the error is cleared");
        ops_end(&c);
    }
    backend->ops->free(backend);
}

Test(ops_cuda, memory_that_cannot_be_had_is_an_error)
{
    struct backend *backend = cuda_backend_or_skip();
    struct ij_err err = IJ_ERR_INIT;
    void *memory;
    simt_fail_next("cudaMalloc", ERROR_MEMORY);
    cr_assert_eq(backend->ops->allocate(backend, 12345, &memory, &err), IJ_NO_MEMORY);
    cr_assert(strstr(err.text, "12345"), "%s", err.text);
    simt_fail_next("cudaMalloc", ERROR_MEMORY);
    cr_assert_eq(backend->ops->reserve_scratch(backend, 1000, 512, 8, &err), IJ_NO_MEMORY);
    cr_assert_eq(backend->ops->reserve_scratch(backend, 1000, 512, 8, &err), IJ_OK);
    cr_assert_eq(backend->ops->reserve_scratch(backend, 0, 512, 8, &err), IJ_INVALID);
    backend->ops->free(backend);
}

Test(ops_cuda, a_machine_without_a_gpu_is_refused_with_the_reason)
{
    struct backend *backend = cuda_backend_or_skip(), *none = NULL;
    struct ij_err err = IJ_ERR_INIT;
    backend->ops->free(backend);
    simt_fail_next("cudaGetDeviceCount", ERROR_NO_DEVICE);
    cr_assert_eq(backend_cuda_new(0, &none, &err), IJ_UNSUPPORTED);
    cr_assert_str_eq(err.field, "device");
    cr_assert(strstr(err.text, "no usable GPU"), "%s", err.text);
    simt_fail_next("cudaGetDeviceCount", ERROR_DRIVER);
    cr_assert_eq(backend_cuda_new(0, &none, &err), IJ_UNSUPPORTED);
    cr_assert(strstr(err.text, "driver is for CUDA 12.8, 13.0 is needed"), "%s", err.text);
    cr_assert_eq(backend_cuda_new(1, &none, &err), IJ_UNSUPPORTED, "the shim has one");
    cr_assert_eq(backend_cuda_new(-1, &none, &err), IJ_UNSUPPORTED);
    simt_fail_next("cudaStreamCreateWithFlags", ERROR_ADDRESS);
    cr_assert_eq(backend_cuda_new(0, &none, &err), IJ_DEVICE);
    cr_assert_null(none);
}

static int cuda_lines(const char *path)
{
    FILE *file = fopen(path, "re");
    cr_assert(file);
    int lines = 0;
    for (int c = fgetc(file); c != EOF; c = fgetc(file))
        lines += c == '\n';
    fclose(file);
    return lines;
}

/* Turns the algorithm of the first line into zeros. */
static void cuda_spoil(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r+e");
    cr_assert(file && fgets(line, sizeof(line), file));
    long end = ftell(file) - 1;
    cr_assert_eq(fseek(file, end - 128, SEEK_SET), 0);
    for (int i = 0; i < 128; i++)
        fputc('0', file);
    fclose(file);
}

/* The shim's clock makes the last algorithm the fastest, its second is not usable. */
Test(ops_cuda, algorithms_are_timed_once_and_remembered)
{
    char path[] = "/tmp/ijepad-tune-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    double untuned[48], tuned[48];
    struct ij_err err = IJ_ERR_INIT;
    unsetenv("IJEPAD_CUDA_TUNE");
    struct backend *backend = cuda_backend_or_skip();
    cr_assert_eq(cuda_layer(backend, false, untuned, &err), IJ_OK);
    cr_assert_eq(simt_blas_last_algorithm(), 0, "without a file the library's first choice");
    backend->ops->free(backend);
    setenv("IJEPAD_CUDA_TUNE", path, 1);
    for (int start = 0; start < 2; start++) {
        backend = cuda_backend_or_skip();
        for (int run = 0; run < 2; run++) {
            cr_assert_eq(cuda_layer(backend, false, tuned, &err), IJ_OK, "%s", err.text);
            cr_assert_eq(simt_blas_last_algorithm(), 2);
            cr_assert_arr_eq(tuned, untuned, sizeof(tuned));
        }
        cr_assert_eq(cuda_lines(path), 1, "one line per shape, also at the next start");
        backend->ops->free(backend);
    }
    cuda_spoil(path); /* bytes that are no algorithm: timed again, and noted behind */
    backend = cuda_backend_or_skip();
    cr_assert_eq(cuda_layer(backend, false, tuned, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(simt_blas_last_algorithm(), 2);
    cr_assert_eq(cuda_lines(path), 2);
    backend->ops->free(backend);
    unlink(path);
}

/* A bias that the caller has rounded gives the bits of one that is rounded here. */
Test(ops_cuda, a_rounded_bias_is_taken_as_it_is)
{
    struct backend *backend = cuda_backend_or_skip();
    struct ops_case c;
    ops_begin(&c, backend, 74);
    struct ops_buffer *x = ops_input(&c, TENSOR_BF16, 3 * 8);
    struct ops_buffer *w = ops_input(&c, TENSOR_BF16, 16 * 8);
    struct ops_buffer *bias = ops_input(&c, TENSOR_F32, 16);
    double *values = ops_doubles(16);
    for (int i = 0; i < 16; i++)
        values[i] = ops_round_bf16(bias->value[i]);
    struct ops_buffer *rounded = ops_take(&c, OPS_INPUT, TENSOR_BF16, 16, values);
    struct ops_buffer *y = ops_output(&c, TENSOR_BF16, 3 * 16);
    struct ops_buffer *other = ops_output(&c, TENSOR_BF16, 3 * 16);
    struct op_linear_forward args = {.rows = 3,
                                     .in = 8,
                                     .out = 16,
                                     .x = ops_tensor(x),
                                     .weight = ops_tensor(w),
                                     .bias = ops_data(bias),
                                     .y = ops_tensor(y)};
    ops_run(&c, linear_forward, &args);
    args.bias_bf16 = ops_data(rounded);
    args.y = ops_tensor(other);
    ops_run(&c, linear_forward, &args);
    cr_assert_arr_eq(ops_result(&c, other), ops_result(&c, y), 3 * 16 * sizeof(double));
    ops_end(&c);
    backend->ops->free(backend);
}
