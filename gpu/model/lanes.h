/*
 * Micro-batches on their way to the device: two places, of which one is worked on while the other
 * is filled (the lanes of gpu/ops/ops.h). A batch with more context tokens than were planned for
 * lies there in parts of fewer images. Part of ijepa, which carves the device memory. One thread.
 */
#ifndef GPU_MODEL_LANES_H
#define GPU_MODEL_LANES_H

#include "gpu/model/carve.h"
#include "gpu/model/predictor.h"

/* One micro-batch in host memory, borrowed for lanes_prefetch. */
struct ijepa_batch {
    const void
        *pixels; /* of the type given to ijepa_new: (B, crop, crop, 3) or (B, 3, crop, crop) */
    int64_t images, context_count, target_count;
    const int32_t *context; /* (B, context_count) */
    const int32_t *targets; /* (M, B, target_count) */
};

/* A batch, part by part: in device memory, or in the host memory that is sent there. */
struct lanes_input {
    struct tensor pixels;
    int32_t *context, *targets; /* of a part as in struct ijepa_batch */
    int32_t *needed;            /* (needed_count) rows of the target encoder's output */
    int32_t *pick;              /* (M * B * K) which of those each target token is */
};

/* What the host knows of a lane's batch; its pointers are not valid. */
struct lanes_loaded {
    struct ijepa_batch batch;
    int64_t part_images;    /* of each part; the last may have fewer */
    int64_t *needed_counts; /* owned; of each part */
};

/* As many images of a batch as are worked on at once; views into its lane. */
struct lanes_part {
    struct ijepa_batch batch; /* of the part's images; its pointers are not valid */
    struct lanes_input input;
    int64_t needed_count;
};

struct lanes {
    struct backend *backend; /* borrowed, as the next two */
    const struct vit_config *config;
    const struct predictor_limits *limits;
    enum tensor_type pixels;
    size_t bytes; /* of one lane */
    struct lanes_input inputs[OPS_LANES];
    struct lanes_loaded loaded[OPS_LANES];
    int32_t *slots;  /* owned; (B * patches) */
    int lane;        /* of the batch that is worked on */
    bool entered;    /* there is one */
    bool on_its_way; /* the other lane has a batch that was not loaded yet */
};

/* Bytes of one lane. */
size_t lanes_measure(const struct vit_config *config, const struct predictor_limits *limits,
                     enum tensor_type pixels);
IJ_MUST_USE enum ij_status lanes_init(struct lanes *lanes, struct backend *backend,
                                      const struct vit_config *config,
                                      const struct predictor_limits *limits,
                                      enum tensor_type pixels, struct ij_err *reterr_err);
void lanes_done(struct lanes *lanes); /* a zeroed struct is fine */
void lanes_carve(struct lanes *lanes, struct carve *carve);

/* As ijepa_prefetch and ijepa_load, which say more. */
IJ_MUST_USE enum ij_status lanes_prefetch(struct lanes *lanes, const struct ijepa_batch *batch,
                                          struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status lanes_load(struct lanes *lanes, const struct ijepa_batch *batch,
                                      struct ij_err *reterr_err);

/* The batch that is worked on, and its parts. */
static inline const struct lanes_loaded *lanes_loaded(const struct lanes *lanes)
{
    return &lanes->loaded[lanes->lane];
}
int64_t lanes_parts(const struct lanes *lanes);
struct lanes_part lanes_part(const struct lanes *lanes, int64_t part);

#endif
