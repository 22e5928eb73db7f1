/* The level of instructions of the host backend: found, forced, refused, and kept in jail. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/worker_jail.h"
#include "gpu/ops/host/host_isa.h"
#include "gpu/ops/ops.h"

/* The level that the kernel's list of the processor's features speaks for. */
static enum host_isa isa_told(void)
{
    static const char *const flags[] = {" avx512bw ", " avx512_bf16 ", " amx_bf16 "};
    char line[8192];
    int isa = HOST_ISA_PLAIN;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "flags", 5) == 0) {
            for (; isa < 3 && strstr(line, flags[isa]); isa++)
                ;
            break;
        }
    if (file)
        fclose(file);
    return (enum host_isa)isa;
}

static enum host_isa isa_found(void)
{
    struct ij_err err = IJ_ERR_INIT;
    enum host_isa isa = HOST_ISA_COUNT;
    cr_assert_eq(host_isa_detect(&isa, &err), IJ_OK, "%s", err.text);
    return isa;
}

Test(host_isa, is_what_the_processor_has)
{
    unsetenv("IJEPAD_HOST_ISA");
    cr_assert_eq(isa_found(), isa_told());
}

Test(host_isa, a_lower_level_can_be_forced)
{
    enum host_isa best = isa_told();
    for (int i = 0; i < HOST_ISA_COUNT; i++) {
        setenv("IJEPAD_HOST_ISA", host_isa_name((enum host_isa)i), 1);
        cr_assert_eq(isa_found(), i < (int)best ? (enum host_isa)i : best);
    }
}

Test(host_isa, an_unknown_level_is_refused)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    setenv("IJEPAD_HOST_ISA", "avx3", 1);
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_INVALID);
    cr_assert_null(backend);
    cr_assert(strstr(err.text, "avx512_bf16") && strstr(err.text, "avx3"), "%s", err.text);
}

/* A product in bfloat16, made in the jail of a worker: AMX has to be asked for in there. */
static enum ij_status multiply_in_jail(const char *level, struct ij_err *reterr_err)
{
    struct backend *backend = NULL;
    uint16_t x[64], weight[64];
    float y[1] = {0};
    struct op_linear_forward args = {.rows = 1,
                                     .in = 64,
                                     .out = 1,
                                     .x = {x, TENSOR_BF16},
                                     .weight = {weight, TENSOR_BF16},
                                     .y = tensor_f32(y)};
    for (int i = 0; i < 64; i++)
        x[i] = weight[i] = 0x3f80; /* 1 */
    IJ_TRY(worker_jail_enter("/tmp", reterr_err));
    IJ_TRY(backend_host_new(2, &backend, reterr_err));
    if (strcmp(backend->level, level) != 0)
        return IJ_ERR(reterr_err, IJ_INTERNAL, "the level is %s", backend->level);
    IJ_TRY(backend->ops->linear_forward(backend, &args, reterr_err));
    backend->ops->free(backend);
    return y[0] == 64 ? IJ_OK : IJ_ERR(reterr_err, IJ_INTERNAL, "the sum is %g", (double)y[0]);
}

/* In a process of its own: the jail would hold what ends a test as well. */
Test(host_isa, a_worker_in_its_jail_has_the_same)
{
    int code;
    const char *told = host_isa_name(isa_told());
    unsetenv("IJEPAD_HOST_ISA");
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct ij_err err = IJ_ERR_INIT;
        enum ij_status status = multiply_in_jail(told, &err);
        fprintf(stderr, "%s\n", err.text);
        _exit((int)status);
    }
    cr_assert_eq(waitpid(pid, &code, 0), pid);
    cr_assert(WIFEXITED(code), "status %d", code);
    if (WEXITSTATUS(code) == IJ_UNSUPPORTED)
        cr_skip_test("no jail here");
    cr_assert_eq(WEXITSTATUS(code), IJ_OK);
}
