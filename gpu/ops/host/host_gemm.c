/* See host_gemm.h. `dnnl_sgemm` is the same in the C APIs of oneDNN 2 and 3. */
#include "gpu/ops/host/host_gemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

bool host_gemm_f32(const struct host_gemm_args *args)
{
    if (args->m == 0 || args->n == 0)
        return true;
    /* For this task only: a team of one thread does not count as a parallel region, and oneDNN
     * would start a team of its own for every product. */
    omp_set_num_threads(1);
    return dnnl_sgemm(args->transpose_a ? 'T' : 'N', args->transpose_b ? 'T' : 'N', args->m,
                      args->n, args->k, args->alpha, args->a, args->lda, args->b, args->ldb,
                      args->beta, args->c, args->ldc) == dnnl_success;
}
