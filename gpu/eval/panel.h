/*
 * Everything that a visualisation shows, computed once: images, masks, features, predictions.
 * Private to gpu/eval.
 */
#ifndef GPU_EVAL_PANEL_H
#define GPU_EVAL_PANEL_H

#include "gpu/data/dataset.h"
#include "gpu/eval/eval_progress.h"
#include "gpu/eval/pca.h"
#include "gpu/model/frozen.h"
#include "gpu/model/masks.h"
#include "gpu/train/trainer.h"

#define PANEL_NEIGHBORS 5
#define PANEL_QUERIES   3 /* patches per image whose similarity is shown */

#define PANEL_BANK_BATCH 16 /* images of a forward pass over the bank */

struct panel_neighbor {
    uint32_t image, row, column; /* place in the bank; corner of the moved box */
    float cosine;
};

/* n images of a bank of B; N patches, D wide, M target blocks of K patches. All owned. */
struct panel {
    const struct engine_spec *spec; /* borrowed; with the checkpoint's model */
    struct vit_config config;
    struct dataset *dataset;
    struct trainer *trainer;
    struct masks masks;
    bool predictor;
    uint32_t images, bank;
    uint32_t *rows;                 /* (n) index in the bank */
    uint64_t *samples;              /* (B) index in the dataset */
    uint8_t *pixels;                /* (B, crop, crop, 3) */
    float *bank_tokens;             /* (B, N, D) normalised as targets are */
    float *target, *context;        /* (n, N, D) final norm's output of the two encoders */
    float *scores, *context_scores; /* (n, N, 3) */
    struct pca pca;
    uint8_t *context_mask;            /* (n, N) */
    uint8_t *target_masks;            /* (n, M, N) */
    float *error;                     /* (n, N); NaN where nothing was predicted */
    float *predicted;                 /* (n, N, D) mean over the blocks that cover a patch */
    float *similarity;                /* (n, 3, N) */
    float *attention;                 /* (n, heads, N) received in the target's last block */
    struct panel_neighbor *neighbors; /* (n, 5) of each image's first block */
};

/* The smallest rectangle that holds the first target of an image; the target itself, where it is a
 * block. */
struct panel_box {
    uint32_t row, column, height, width;
};
struct panel_box panel_box(const struct panel *panel, uint32_t image);

/* Where a patch in the box comes to lie when the box's corner is moved to (row, column). */
uint32_t panel_moved(const struct panel *panel, struct panel_box box, uint32_t patch, uint32_t row,
                     uint32_t column);

IJ_MUST_USE enum ij_status panel_make(struct backend *backend, const struct engine_spec *spec,
                                      const struct checkpoint *checkpoint,
                                      struct eval_progress *progress, struct panel *ret_panel,
                                      struct ij_err *reterr_err);
void panel_done(struct panel *panel); /* a zeroed struct is fine */

/* The patch of query q of PANEL_QUERIES. */
uint32_t panel_query(const struct panel *panel, int q);

#endif
