/* See host_gemm.h. */
#include "gpu/ops/host/host_gemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include "base/mem.h"

struct host_gemm {
    int threads;
};

enum ij_status host_gemm_new(int threads, struct host_gemm **ret_gemm, struct ij_err *reterr_err)
{
    struct host_gemm *gemm = mem_new(struct host_gemm);
    if (!gemm)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the matrix products' state");
    gemm->threads = threads;
    *ret_gemm = gemm;
    return IJ_OK;
}

void host_gemm_free(struct host_gemm *gemm)
{
    mem_free(gemm);
}

bool host_gemm_f32(const struct host_gemm_args *args)
{
    if (args->m == 0 || args->n == 0)
        return true;
    /* For this task only: a team of one thread does not count as a parallel region, and oneDNN would
     * start a team of its own for every product. */
    omp_set_num_threads(1);
    return dnnl_sgemm(args->transpose_a ? 'T' : 'N', args->transpose_b ? 'T' : 'N', args->m,
                      args->n, args->k, args->alpha, args->a, args->lda, args->b, args->ldb,
                      args->beta, args->c, args->ldc) == dnnl_success;
}
