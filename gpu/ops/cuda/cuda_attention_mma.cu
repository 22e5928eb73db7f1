/* Attention by matrix instructions: not there yet, so nothing fits. */
#include "gpu/ops/cuda/cuda_attention.h"

bool cuda_attention_mma_fits(const struct cuda_backend *, const struct attention_args *)
{
    return false;
}
enum ij_status cuda_attention_mma(struct cuda_backend *, const struct attention_args *,
                                  struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "mma");
}
enum ij_status cuda_attention_mma_backward(struct cuda_backend *, const struct attention_args *,
                                           struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "mma");
}
