/* What batches write of the model's memory, against sums made by hand. */
#include <criterion/criterion.h>

#include "gpu/model/ijepa_memory.h"
#include "tests/unit/spec_fixture.h"

enum {
    IMAGES = 16, /* rows are multiples of 16, so that no view is padded */
    BLOCKS = 4,
    PATCHES = 196,
    VALUES = 768,
    WIDTH = 64,
    HIDDEN = 256,
    HEADS = 4,
    NARROW = 16, /* the predictor's */
    NARROW_HIDDEN = 64,
    NARROW_HEADS = 2
};

static struct vit_config small_config(void)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.model.width = WIDTH;
    spec.model.depth = 1;
    spec.model.heads = HEADS;
    spec.model.mlp_ratio = 4;
    spec.model.pred_width = NARROW;
    spec.model.pred_depth = 1;
    spec.model.pred_heads = NARROW_HEADS;
    return vit_config_from_spec(&spec);
}

static const struct predictor_limits room = {.images = IMAGES,
                                             .blocks = BLOCKS,
                                             .context_count = 139,
                                             .target_count = 42,
                                             .context_rows = IMAGES * 139};

static uint64_t written(const struct ijepa_lengths *lengths, size_t count)
{
    struct vit_config config = small_config();
    struct ij_err err = IJ_ERR_INIT;
    uint64_t bytes = 0;
    cr_assert_eq(ijepa_written(&config, &room, lengths, count, &bytes, &err), IJ_OK, "%s",
                 err.text);
    return bytes;
}

/* A block that keeps all for its backward pass: norm1, q k v, attended, middle, norm2, twice the
 * hidden layer, two norms' statistics, log-sum-exps. Of a tail block only `out` rows leave. */
static uint64_t block_floats(uint64_t in, uint64_t out, uint64_t d, uint64_t hidden, uint64_t heads)
{
    return in * (5 * d + 2 + heads) + out * (2 * d + 2 * hidden + 2);
}

/* Everything beside what the target encoder shares with the backward pass. */
static uint64_t kept_floats(uint64_t context, uint64_t target)
{
    uint64_t rows = IMAGES * context, out = (uint64_t)IMAGES * BLOCKS * target;
    uint64_t all = BLOCKS * rows + out;
    uint64_t fixed = PATCHES * (WIDTH + NARROW) + 3 * IMAGES + out * WIDTH;
    uint64_t encoder = rows * (VALUES + 5 * WIDTH + 2) /* x twice, normed, two gradients */
                       + block_floats(rows, rows, WIDTH, HIDDEN, HEADS);
    uint64_t predictor = rows * NARROW + all * 2 * NARROW /* context; x and its gradient */
                         + block_floats(all, out, NARROW, NARROW_HIDDEN, NARROW_HEADS) +
                         out * (3 * NARROW + 2 + 2 * WIDTH); /* picked, x, normed; prediction */
    return fixed + encoder + predictor;
}

/* Of all patches: pixels, x, norm, q k v, attended, picked, middle, hidden; needed features. The
 * backward pass's scratch, which is smaller, lies within. */
static uint64_t shared_floats(void)
{
    return (uint64_t)IMAGES * PATCHES * (VALUES + 9 * WIDTH + HIDDEN);
}

Test(ijepa_memory, one_batch_writes_what_was_counted_by_hand)
{
    static const struct ijepa_lengths lengths[] = {{60, 30}, {11, 42}, {139, 25}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t want = kept_floats(lengths[i].context_count, lengths[i].target_count);
        cr_expect_eq(written(&lengths[i], 1), 4 * (want + shared_floats()));
    }
}

Test(ijepa_memory, the_longest_batch_writes_all)
{
    struct vit_config config = small_config();
    struct ijepa_lengths longest = {139, 42};
    struct ijepa_bytes bytes;
    cr_assert_eq(ijepa_measure(&config, &room, TENSOR_U8, &bytes, NULL), IJ_OK);
    cr_expect_eq(written(&longest, 1), bytes.activations);
    longest.context_count = 1000; /* worked on in parts */
    cr_expect_eq(written(&longest, 1), bytes.activations);
}

/* Each view is written as far as by the batch that goes furthest in it. */
Test(ijepa_memory, several_batches_write_more_than_each)
{
    static const struct ijepa_lengths both[] = {{80, 20}, {40, 40}}, most = {80, 40};
    uint64_t together = written(both, 2);
    cr_expect_gt(together, written(&both[0], 1));
    cr_expect_gt(together, written(&both[1], 1));
    cr_expect_lt(together, written(&most, 1), "rows of contexts and targets: 120 x 4, not 160");
    cr_expect_eq(written(both, 1), written(&both[0], 1));
}
