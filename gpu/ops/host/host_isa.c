/* See host_isa.h. */
#include "gpu/ops/host/host_isa.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const host_isa_names[HOST_ISA_COUNT] = {"plain", "avx512", "avx512_bf16", "amx"};

const char *host_isa_name(enum host_isa isa)
{
    return host_isa_names[isa];
}

#if defined(__x86_64__)
#include <cpuid.h>

#define ARCH_REQUEST_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM: newer than the headers of Debian 12 */
#define STATE_TILE_DATA    18     /* XFEATURE_XTILEDATA */

/* Leaf 7.0, EDX: bits 22 amx_bf16, 24 amx_tile. */
static bool host_isa_has_tiles(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return false;
    return (edx >> 22 & 1) && (edx >> 24 & 1) &&
           syscall(SYS_arch_prctl, ARCH_REQUEST_STATE, STATE_TILE_DATA) == 0;
}

static bool host_isa_has(enum host_isa isa)
{
    switch (isa) {
    case HOST_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case HOST_ISA_AVX512_BF16:
        return __builtin_cpu_supports("avx512bf16");
    case HOST_ISA_AMX:
        return host_isa_has_tiles();
    default:
        return false;
    }
}
#else
static bool host_isa_has(enum host_isa isa)
{
    (void)isa;
    return false;
}
#endif

/* The highest level that may be used. */
static enum ij_status host_isa_limit(enum host_isa *ret_limit, struct ij_err *reterr_err)
{
    const char *wanted = getenv("IJEPAD_HOST_ISA");
    for (int i = 0; wanted && i < HOST_ISA_COUNT; i++)
        if (strcmp(wanted, host_isa_names[i]) == 0) {
            *ret_limit = (enum host_isa)i;
            return IJ_OK;
        }
    if (wanted && *wanted)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "IJEPAD_HOST_ISA",
                            "must be plain, avx512, avx512_bf16 or amx, got \"%.20s\"", wanted);
    *ret_limit = HOST_ISA_COUNT - 1;
    return IJ_OK;
}

enum ij_status host_isa_detect(enum host_isa *ret_isa, struct ij_err *reterr_err)
{
    enum host_isa limit = HOST_ISA_PLAIN;
    IJ_TRY(host_isa_limit(&limit, reterr_err));
    int isa = HOST_ISA_PLAIN;
    while (isa < (int)limit && host_isa_has((enum host_isa)(isa + 1)))
        isa++;
    *ret_isa = (enum host_isa)isa;
    return IJ_OK;
}
