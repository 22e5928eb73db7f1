/*
 * Memory of the model before there is one: the largest batch that masks bring, bytes for it, and
 * how much of them batches in fact write. Pure arithmetic over the views of ijepa_views.h.
 */
#ifndef GPU_MODEL_IJEPA_MEMORY_H
#define GPU_MODEL_IJEPA_MEMORY_H

#include "gpu/model/mask_sizes.h"
#include "gpu/model/predictor.h"

#define IJEPA_WHOLE 32 /* a batch of so many images is never worked on in parts */

/* The largest batch that the masks of a run can bring, and how much of it is worked on at once. */
IJ_MUST_USE enum ij_status ijepa_limits(const struct mask_sizes_rules *rules, uint32_t images,
                                        struct predictor_limits *ret_limits,
                                        struct ij_err *reterr_err);

/* Device memory by part, in bytes. */
struct ijepa_bytes {
    uint64_t activations, input;
    uint64_t scratch; /* that a CUDA backend reserves */
};
IJ_MUST_USE enum ij_status ijepa_measure(const struct vit_config *config,
                                         const struct predictor_limits *limits,
                                         enum tensor_type pixels, struct ijepa_bytes *ret_bytes,
                                         struct ij_err *reterr_err);

/* Largest rows, width and heads of any operation: what a backend reserves scratch for. */
struct ijepa_scratch {
    int64_t rows, width, heads;
};
struct ijepa_scratch ijepa_scratch(const struct vit_config *config,
                                   const struct predictor_limits *limits);

/* Mask lengths of a batch of `limits.images` images. */
struct ijepa_lengths {
    uint32_t context_count, target_count;
};

/* Bytes of the activations that lie in views as far as one of `count` batches fills them: what is
 * written of memory that was carved for `limits`. */
IJ_MUST_USE enum ij_status ijepa_written(const struct vit_config *config,
                                         const struct predictor_limits *limits,
                                         const struct ijepa_lengths *lengths, size_t count,
                                         uint64_t *ret_bytes, struct ij_err *reterr_err);

#endif
