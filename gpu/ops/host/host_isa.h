/*
 * Which instructions the host backend uses: the best that processor, kernel and IJEPAD_HOST_ISA
 * allow, found once when a backend is made.
 *
 * Each level has its own products; what is not made for a level is done as on the one below.
 */
#ifndef GPU_OPS_HOST_ISA_H
#define GPU_OPS_HOST_ISA_H

#include "base/status.h"

enum host_isa {
    HOST_ISA_PLAIN,       /* oneDNN's products, loops as the loader picks them */
    HOST_ISA_AVX512,      /* own float32 products */
    HOST_ISA_AVX512_BF16, /* and bfloat16 products by vdpbf16ps */
    HOST_ISA_AMX,         /* and by tiles, tdpbf16ps */
    HOST_ISA_COUNT
};

/* "plain", "avx512", "avx512_bf16", "amx". */
const char *host_isa_name(enum host_isa isa);

/*
 * The level of this machine, no higher than the environment's IJEPAD_HOST_ISA. Asks the kernel for
 * the use of AMX tiles, for all threads that start later. IJ_INVALID for an unknown name.
 */
IJ_MUST_USE enum ij_status host_isa_detect(enum host_isa *ret_isa, struct ij_err *reterr_err);

#endif
