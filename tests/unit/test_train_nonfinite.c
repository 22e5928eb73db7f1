/* One value that is no number, put into each part of a step: the run ends within two steps, nothing
 * of it is ever saved, and from the newest checkpoint a sound device goes on. */
#include "gpu/ops/ops.h"
#include "gpu/train/train.h"
#include "tests/unit/train_fixture.h"

#define BAD_STEP 7

enum place { INPUT, ACTIVATION, ATTENTION, GRADIENT, WEIGHT, AVERAGE, MOMENT1, MOMENT2, LOSS };

static struct ops faulty;
static const struct ops *sound;
static enum place bad_place;
static uint64_t updates; /* made so far */

/* Once, in step BAD_STEP. */
static void spoil(enum place place, float *value)
{
    static bool done;
    if (place != bad_place || updates + 1 != BAD_STEP || done)
        return;
    *value = NAN;
    done = true;
}

static enum ij_status patchify(struct backend *b, const struct op_patchify *a, struct ij_err *e)
{
    IJ_TRY(sound->patchify(b, a, e));
    spoil(INPUT, a->y.data);
    return IJ_OK;
}

static enum ij_status linear_forward(struct backend *b, const struct op_linear_forward *a,
                                     struct ij_err *e)
{
    IJ_TRY(sound->linear_forward(b, a, e));
    spoil(ACTIVATION, a->y.data);
    return IJ_OK;
}

static enum ij_status attention_forward(struct backend *b, const struct op_attention_forward *a,
                                        struct ij_err *e)
{
    spoil(ATTENTION, a->qkv.data);
    return sound->attention_forward(b, a, e);
}

static enum ij_status linear_backward_weight(struct backend *b,
                                             const struct op_linear_backward_weight *a,
                                             struct ij_err *e)
{
    IJ_TRY(sound->linear_backward_weight(b, a, e));
    spoil(GRADIENT, a->dweight);
    return IJ_OK;
}

static enum ij_status loss(struct backend *b, const struct op_loss *a, struct ij_err *e)
{
    IJ_TRY(sound->loss(b, a, e));
    spoil(LOSS, a->sums);
    return IJ_OK;
}

static enum ij_status adamw_ema(struct backend *b, const struct op_adamw_ema *a, struct ij_err *e)
{
    IJ_TRY(sound->adamw_ema(b, a, e));
    spoil(WEIGHT, a->parameter);
    spoil(AVERAGE, a->ema);
    spoil(MOMENT1, a->moment1);
    spoil(MOMENT2, a->moment2);
    updates++;
    return IJ_OK;
}

static void make_faulty(struct backend *backend)
{
    sound = backend->ops;
    faulty = *sound;
    faulty.patchify = patchify;
    faulty.linear_forward = linear_forward;
    faulty.attention_forward = attention_forward;
    faulty.linear_backward_weight = linear_backward_weight;
    faulty.loss = loss;
    faulty.adamw_ema = adamw_ema;
    backend->ops = &faulty;
}

static void expect_found(enum place place)
{
    struct engine_sink sink = {.metrics = train_on_metrics, .checkpoint = train_on_checkpoint};
    struct engine_spec spec = train_spec("run");
    struct backend *backend;
    struct ij_err err = IJ_ERR_INIT;
    bad_place = place;
    spec.monitor.checkpoint_every_steps = 1;
    spec.monitor.keep_checkpoints = 0;
    cr_assert_eq(file_make_dirs(spec.directory, 0755, NULL), IJ_OK);
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK);
    make_faulty(backend);
    cr_assert_eq(train_run(backend, &spec, &sink, &err), IJ_NONFINITE, "%s", err.text);
    backend->ops->free(backend);
    cr_expect_not(host.nonfinite, "a metric of what is no number was told as good");
    for (unsigned s = BAD_STEP + 2; s < TRAIN_STEPS_MAX; s++)
        cr_expect_eq(host.frames[s], 0, "step %u went on", s);
    cr_expect(train_has("run", BAD_STEP - 1), "what was good is saved");
    cr_expect_not(train_has("run", BAD_STEP + 1), "what was bad is saved");
    cr_expect_not(train_has("run", BAD_STEP), "what the bad step left is saved");
    memset(&host, 0, sizeof host);
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    cr_expect_not(host.nonfinite);
    cr_expect_eq(host.frames[BAD_STEP], 1, "it goes on where it was sound");
    cr_expect_eq(host.frames[BAD_STEP - 1], 0);
}

#define CASE(name, place)                                                                          \
    Test(train_nonfinite, in_##name, .init = train_open, .fini = train_close, .timeout = 60)       \
    {                                                                                              \
        expect_found(place);                                                                       \
    }
CASE(the_input, INPUT)
CASE(an_activation, ACTIVATION)
CASE(attention, ATTENTION)
CASE(a_gradient, GRADIENT)
CASE(a_weight, WEIGHT)
CASE(the_average, AVERAGE)
CASE(the_first_moment, MOMENT1)
CASE(the_second_moment, MOMENT2)
CASE(the_loss, LOSS)
