/* The background writer: the snapshot is a snapshot, calls come in order, retention keeps the
 * newest, errors come back once. */
#include "tests/unit/checkpoint_fixture.h"

#include <pthread.h>

#include "gpu/checkpoint/checkpoint_writer.h"

TestSuite(checkpoint_writer, .init = fixture_open, .fini = fixture_close);

/* A host that records the calls and can be made to block or to fail. */
struct host {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool hold;       /* the barrier waits while this is set */
    char calls[256]; /* "b5 c5 " */
    enum ij_status barrier, report;
    uint64_t present_at_report; /* checkpoints on disk when the last report came */
    char hash[HASH_HEX_SIZE];
};

static enum ij_status on_barrier(void *user, uint64_t step)
{
    struct host *host = user;
    pthread_mutex_lock(&host->mutex);
    while (host->hold)
        pthread_cond_wait(&host->changed, &host->mutex);
    size_t n = strlen(host->calls);
    snprintf(host->calls + n, sizeof host->calls - n, "b%d ", (int)step);
    pthread_mutex_unlock(&host->mutex);
    char path[CHECKPOINT_PATH_MAX];
    cr_assert_eq(checkpoint_path(run, step, path, NULL), IJ_OK);
    cr_assert(!fixture_exists(path), "the barrier comes before the checkpoint is visible");
    return host->barrier;
}

static enum ij_status on_checkpoint(void *user, const struct engine_checkpoint *checkpoint)
{
    struct host *host = user;
    size_t n = strlen(host->calls), count;
    uint64_t *steps;
    snprintf(host->calls + n, sizeof host->calls - n, "c%d ", (int)checkpoint->step);
    snprintf(host->hash, sizeof host->hash, "%s", checkpoint->hash);
    cr_assert_eq(checkpoint->bytes, file_tree_bytes(checkpoint->path));
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    mem_free(steps);
    host->present_at_report = count;
    return host->report;
}

static struct host host = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static const struct engine_sink sink = {
    .user = &host, .checkpoint_barrier = on_barrier, .checkpoint = on_checkpoint};

static struct checkpoint_writer *writer_new(uint32_t keep)
{
    struct checkpoint_writer *writer = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(checkpoint_writer_new(run, &sink, keep, &writer, &err), IJ_OK, "%s", err.text);
    return writer;
}

static void set_hold(bool hold)
{
    pthread_mutex_lock(&host.mutex);
    host.hold = hold;
    pthread_cond_broadcast(&host.changed);
    pthread_mutex_unlock(&host.mutex);
}

static enum ij_status submit(struct checkpoint_writer *writer, uint64_t step)
{
    struct checkpoint_content content = fixture_content(step);
    return checkpoint_writer_submit(writer, &content, NULL, NULL);
}

Test(checkpoint_writer, the_snapshot_is_of_the_moment_of_submit)
{
    struct checkpoint_writer *writer = writer_new(0);
    char parameters[] = "{\"a\":1}";
    struct checkpoint_content content = fixture_content(9);
    content.state.parameters = parameters;
    set_hold(true);
    cr_assert_eq(checkpoint_writer_submit(writer, &content, NULL, NULL), IJ_OK);
    memset(weights, 0xff, sizeof weights); /* training goes on */
    memset(model_tensors, 0, sizeof model_tensors);
    parameters[5] = '2';
    cr_assert(checkpoint_writer_is_busy(writer));
    set_hold(false);
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK);
    cr_assert(!checkpoint_writer_is_busy(writer));
    struct checkpoint *checkpoint = NULL;
    float got[20];
    cr_assert_eq(checkpoint_find_newest(run, NULL, NULL, &checkpoint, NULL), IJ_OK);
    cr_assert_eq(checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL,
                                     "target_encoder.blocks.0.mlp.fc1.weight", got, 20, NULL),
                 IJ_OK);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(got[i], 9 + (float)(i + 4) / 8);
    cr_assert_str_eq(checkpoint_get_state(checkpoint)->parameters, "{\"a\":1}");
    cr_assert_str_eq(checkpoint_get_info(checkpoint)->hash, host.hash);
    checkpoint_free(checkpoint);
    checkpoint_writer_free(writer);
}

Test(checkpoint_writer, writes_the_same_bytes_as_the_plain_writer)
{
    struct checkpoint_info info = fixture_write(3);
    struct checkpoint_writer *writer = writer_new(0);
    cr_assert_eq(checkpoint_remove(run, 3, NULL), IJ_OK);
    cr_assert_eq(submit(writer, 3), IJ_OK);
    checkpoint_writer_free(writer); /* waits */
    cr_assert_str_eq(host.hash, info.hash);
}

static enum ij_status copy_negated(void *user, void *target, const void *source, size_t size,
                                   struct ij_err *reterr_err)
{
    (void)reterr_err;
    for (size_t i = 0; i < size / sizeof(float); i++)
        ((float *)target)[i] = -((const float *)source)[i];
    *(int *)user += 1;
    return IJ_OK;
}

static enum ij_status copy_failing(void *user, void *target, const void *source, size_t size,
                                   struct ij_err *reterr_err)
{
    (void)user, (void)target, (void)source, (void)size;
    return IJ_ERR(reterr_err, IJ_DEVICE, "the copy failed");
}

Test(checkpoint_writer, tensors_come_through_the_callers_copy)
{
    int calls = 0;
    const struct checkpoint_copy negated = {copy_negated, &calls}, failing = {copy_failing, NULL};
    struct checkpoint_writer *writer = writer_new(0);
    struct checkpoint_content content = fixture_content(4);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(checkpoint_writer_submit(writer, &content, &failing, &err), IJ_DEVICE);
    cr_assert_str_eq(err.text, "the copy failed");
    cr_assert_eq(checkpoint_writer_submit(writer, &content, &negated, NULL), IJ_OK);
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK);
    cr_assert_eq(calls, 3);
    struct checkpoint *checkpoint = NULL;
    float got[4];
    cr_assert_eq(checkpoint_find_newest(run, NULL, NULL, &checkpoint, NULL), IJ_OK);
    cr_assert_eq(
        checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL, "encoder.norm.weight", got, 4, NULL),
        IJ_OK);
    cr_assert(got[0] == -4 && got[3] == -4.375f);
    checkpoint_free(checkpoint);
    checkpoint_writer_free(writer);
}

Test(checkpoint_writer, retention_keeps_the_newest_and_deletes_last)
{
    struct checkpoint_writer *writer = writer_new(2);
    uint64_t *steps;
    size_t count;
    for (uint64_t step = 1; step <= 5; step++)
        cr_assert_eq(submit(writer, step), IJ_OK);
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK);
    cr_assert_str_eq(host.calls, "b1 c1 b2 c2 b3 c3 b4 c4 b5 c5 ");
    cr_assert_eq(host.present_at_report, 3, "the oldest goes after the report of the newest");
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert(count == 2 && steps[0] == 4 && steps[1] == 5);
    mem_free(steps);
    checkpoint_writer_free(writer);
}

Test(checkpoint_writer, an_unreported_checkpoint_removes_nothing)
{
    struct checkpoint_writer *writer = writer_new(1);
    struct ij_err err = IJ_ERR_INIT;
    uint64_t *steps;
    size_t count;
    cr_assert_eq(submit(writer, 1), IJ_OK);
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK);
    host.report = IJ_IO;
    cr_assert_eq(submit(writer, 2), IJ_OK);
    cr_assert_eq(checkpoint_writer_wait(writer, &err), IJ_IO);
    cr_assert_not_null(strstr(err.text, "step 2"));
    host.report = IJ_OK;
    host.barrier = IJ_BUSY;
    cr_assert_eq(submit(writer, 3), IJ_OK);
    cr_assert_eq(submit(writer, 4), IJ_BUSY, "the next call has the error of the last");
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK, "and only once");
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert(count == 2 && steps[0] == 1 && steps[1] == 2);
    mem_free(steps);
    checkpoint_writer_free(writer);
}

Test(checkpoint_writer, an_unreadable_later_checkpoint_does_not_count)
{
    char path[CHECKPOINT_PATH_MAX + 32];
    uint64_t *steps;
    size_t count;
    struct checkpoint_info info = fixture_write(20);
    snprintf(path, sizeof path, "%s/model.safetensors", info.path);
    cr_assert_eq(truncate(path, 10), 0);
    fixture_write(10);
    struct checkpoint_writer *writer = writer_new(2);
    cr_assert_eq(submit(writer, 15), IJ_OK);
    cr_assert_eq(checkpoint_writer_wait(writer, NULL), IJ_OK);
    cr_assert_eq(checkpoint_list(run, &steps, &count, NULL), IJ_OK);
    cr_assert(count == 3 && steps[0] == 10 && steps[1] == 15 && steps[2] == 20);
    mem_free(steps);
    checkpoint_writer_free(writer);
}
