/* A loss that breaks under on_nan "rewind": where the run goes back to, which data it then reads,
 * and that this order is kept by resumes, to the bit. */
#include <jansson.h>

#include "gpu/ops/ops.h"
#include "gpu/train/train.h"
#include "gpu/train/train_rewind.h"
#include "tests/unit/train_fixture.h"

static struct ops faulty;
static const struct ops *sound;
static uint64_t calls, bad_from, bad_to; /* of the loss, from 1: those that give no number */
static struct engine_rewind told;
static unsigned told_count;

static enum ij_status loss(struct backend *b, const struct op_loss *a, struct ij_err *e)
{
    IJ_TRY(sound->loss(b, a, e));
    calls++;
    if (calls >= bad_from && calls <= bad_to)
        *a->sums = NAN;
    return IJ_OK;
}

static enum ij_status on_rewind(void *user, const struct engine_rewind *rewind)
{
    (void)user;
    told = *rewind;
    told_count++;
    return IJ_OK;
}

static struct engine_spec rewinding(const char *name)
{
    struct engine_spec spec = train_spec(name);
    spec.guard.on_nan = ENGINE_ON_NAN_REWIND;
    spec.guard.skip_steps = 2;
    spec.monitor.checkpoint_every_steps = 3;
    return spec;
}

/* On a device whose loss breaks in the calls `from` to `to` of this start. */
static enum ij_status go_broken(const struct engine_spec *spec, uint64_t from, uint64_t to,
                                struct ij_err *err)
{
    struct engine_sink sink = {
        .metrics = train_on_metrics, .checkpoint = train_on_checkpoint, .rewind = on_rewind};
    struct backend *backend;
    *err = (struct ij_err)IJ_ERR_INIT;
    calls = 0;
    bad_from = from;
    bad_to = to;
    cr_assert_eq(file_make_dirs(spec->directory, 0755, NULL), IJ_OK);
    cr_assert_eq(backend_host_new(1, &backend, err), IJ_OK);
    sound = backend->ops;
    faulty = *sound;
    faulty.loss = loss;
    backend->ops = &faulty;
    enum ij_status status = train_run(backend, spec, &sink, err);
    backend->ops->free(backend);
    return status;
}

/* A run from the start that is told beforehand what to leave out. */
static struct engine_spec leaving_out(const char *name, uint64_t first, uint64_t count)
{
    struct engine_spec spec = rewinding(name);
    struct train_rewind rewind = {
        .count = 1, .window_count = 1, .windows[0] = {.first = first, .count = count}};
    cr_assert_eq(file_make_dirs(spec.directory, 0755, NULL), IJ_OK);
    cr_assert_eq(train_rewind_save(spec.directory, &rewind, NULL), IJ_OK);
    return spec;
}

TestSuite(train_back, .init = train_open, .fini = train_close, .timeout = 120);

Test(train_back, it_goes_on_from_the_newest_checkpoint_behind_what_broke)
{
    struct ij_err err;
    struct engine_spec broken = rewinding("broken"), told_before;
    cr_assert_eq(go_broken(&broken, 8, 8, &err), IJ_NONFINITE);
    cr_expect_not_null(strstr(err.text, "goes back to step 6"), "%s", err.text);
    cr_assert_eq(told_count, 1);
    cr_expect_str_eq(told.why, "nonfinite");
    cr_expect(told.failed_step == 8 && told.back_to == 6 && told.number == 1 && told.max == 2);
    cr_expect(told.skip_first == 6 && told.skip_count == 4, "steps 7 and 8, and two more");
    cr_assert_eq(train_go(&broken, &err), IJ_OK, "%s", err.text);
    told_before = leaving_out("told", 6, 4);
    cr_assert_eq(train_go(&told_before, &err), IJ_OK, "%s", err.text);
    train_expect_equal("broken", "told", 20);
    struct engine_spec plain = rewinding("plain");
    cr_assert_eq(train_go(&plain, &err), IJ_OK, "%s", err.text);
    train_expect_equal("broken", "plain", 6);
    char path[512];
    train_path(path, "told", 20, "state.json");
    json_t *state = json_load_file(path, 0, NULL);
    cr_expect_eq(json_integer_value(json_object_get(state, "epoch")), 4, "24 steps of data on");
    cr_expect_eq(json_integer_value(json_object_get(state, "batch")), 4);
    json_decref(state);
}

Test(train_back, a_resume_from_before_reads_the_same)
{
    struct ij_err err;
    struct engine_spec whole = leaving_out("whole", 6, 4), stopped = leaving_out("stopped", 6, 4);
    cr_assert_eq(train_go(&whole, &err), IJ_OK, "%s", err.text);
    host.stop_at_poll = 5;
    cr_assert_eq(train_go(&stopped, &err), IJ_STOPPED, "%s", err.text);
    cr_assert(train_has("stopped", 4));
    host.stop_at_poll = 4;
    cr_assert_eq(train_go(&stopped, &err), IJ_STOPPED, "%s", err.text);
    host.stop_at_poll = 0;
    cr_assert_eq(train_go(&stopped, &err), IJ_OK, "%s", err.text);
    train_expect_equal("whole", "stopped", 20);
}

Test(train_back, before_the_first_checkpoint_it_begins_anew)
{
    struct ij_err err;
    struct engine_spec broken = rewinding("broken"), told_before = leaving_out("told", 0, 4);
    cr_assert_eq(go_broken(&broken, 2, 2, &err), IJ_NONFINITE);
    cr_expect(told.back_to == 0 && told.skip_first == 0 && told.skip_count == 4);
    cr_assert_eq(train_go(&broken, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(train_go(&told_before, &err), IJ_OK, "%s", err.text);
    train_expect_equal("broken", "told", 20);
}

Test(train_back, twice_and_no_more)
{
    struct ij_err err;
    struct engine_spec spec = rewinding("run");
    cr_assert_eq(go_broken(&spec, 5, 1000, &err), IJ_NONFINITE);
    cr_assert_eq(go_broken(&spec, 1, 1000, &err), IJ_NONFINITE);
    cr_expect(told.number == 2 && told.back_to == 3);
    cr_expect_eq(told.skip_first, 3 + 4, "behind what was left out before");
    cr_assert_eq(go_broken(&spec, 1, 1000, &err), IJ_NONFINITE);
    cr_expect_not_null(strstr(err.text, "gone back 2 times already"), "%s", err.text);
    cr_assert_eq(told_count, 2);
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "a sound device still goes on: %s", err.text);
}

Test(train_back, nothing_is_noted_where_the_run_is_to_stop)
{
    struct ij_err err;
    struct engine_spec spec = rewinding("run");
    struct train_rewind rewind;
    spec.guard.on_nan = ENGINE_ON_NAN_STOP;
    cr_assert_eq(go_broken(&spec, 5, 5, &err), IJ_NONFINITE);
    cr_assert_eq(told_count, 0);
    cr_assert_eq(train_rewind_load(spec.directory, &rewind, NULL), IJ_OK);
    cr_assert_eq(rewind.count, 0);
}
