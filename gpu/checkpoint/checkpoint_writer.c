/*
 * See checkpoint_writer.h.
 *
 * Two threads: the submitter and the writer's own. `job`, `busy`, `stop` and the kept error are
 * guarded by `mutex`. The snapshot belongs to the submitter while `busy` is false and to the thread
 * while it is true.
 */
#include "gpu/checkpoint/checkpoint_writer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SNAPSHOT_ALIGNMENT 64

/* Everything of one checkpoint, copied. */
struct snapshot {
    struct checkpoint_content content; /* points into the arrays below */
    struct safetensors_tensor *tensors;
    char *texts;   /* names and state strings, one after the other */
    uint8_t *data; /* tensor values */
    size_t data_capacity;
};

struct checkpoint_writer {
    char run_directory[ENGINE_PATH_MAX];
    const struct engine_sink *sink;
    uint32_t keep;
    struct snapshot snapshot;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool busy, stop;       /* guarded by mutex */
    enum ij_status status; /* guarded by mutex; the kept error */
    struct ij_err error;   /* guarded by mutex */
};

/* ---- The snapshot ---------------------------------------------------------------------------- */

static void snapshot_done(struct snapshot *snapshot)
{
    mem_free(snapshot->tensors);
    mem_free(snapshot->texts);
    mem_free(snapshot->data);
    *snapshot = (struct snapshot){.data = NULL};
}

static uint64_t padded_bytes(const struct safetensors_tensor *tensor)
{
    uint64_t bytes = safetensors_type_size(tensor->type);
    for (int i = 0; i < tensor->dims; i++)
        bytes *= tensor->shape[i];
    return (bytes + SNAPSHOT_ALIGNMENT - 1) / SNAPSHOT_ALIGNMENT * SNAPSHOT_ALIGNMENT;
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Copies `text` to *at and moves it on; NULL stays NULL. */
static const char *put_text(char **at, const char *text)
{
    size_t size = text_size(text);
    char *copy = *at;
    if (size == 0)
        return NULL;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

/* Makes room for a copy of `content`. The large buffer is kept from one checkpoint to the next. */
static enum ij_status snapshot_reserve(struct snapshot *snapshot,
                                       const struct checkpoint_content *content,
                                       struct ij_err *reterr_err)
{
    const struct checkpoint_state *s = &content->state;
    size_t count = 0, data = 0;
    size_t texts =
        text_size(s->parameters) + text_size(s->trainer) + text_size(s->build) + text_size(s->data);
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        count += content->sections[i].count;
        for (size_t t = 0; t < content->sections[i].count; t++) {
            texts += text_size(content->sections[i].tensors[t].name);
            data += (size_t)padded_bytes(&content->sections[i].tensors[t]);
        }
    }
    mem_free(snapshot->tensors);
    mem_free(snapshot->texts);
    snapshot->tensors = mem_array(struct safetensors_tensor, count);
    snapshot->texts = mem_array(char, texts);
    if (data > snapshot->data_capacity) {
        mem_free(snapshot->data);
        snapshot->data = mem_alloc_aligned(SNAPSHOT_ALIGNMENT, data);
        snapshot->data_capacity = snapshot->data ? data : 0;
    }
    if (!snapshot->tensors || !snapshot->texts || (data > 0 && !snapshot->data))
        return IJ_ERR(reterr_err, IJ_NO_MEMORY,
                      "no memory for the %zu bytes of a checkpoint's snapshot", data);
    return IJ_OK;
}

static enum ij_status copy_bytes(const struct checkpoint_copy *copy, void *host, const void *source,
                                 size_t bytes, struct ij_err *reterr_err)
{
    if (copy && copy->call)
        return copy->call(copy->user, host, source, bytes, reterr_err);
    if (bytes > 0)
        memcpy(host, source, bytes);
    return IJ_OK;
}

static enum ij_status snapshot_take(struct snapshot *snapshot,
                                    const struct checkpoint_content *content,
                                    const struct checkpoint_copy *copy, struct ij_err *reterr_err)
{
    IJ_TRY(snapshot_reserve(snapshot, content, reterr_err));
    struct safetensors_tensor *tensor = snapshot->tensors;
    char *text = snapshot->texts;
    uint8_t *data = snapshot->data;
    snapshot->content = *content;
    struct checkpoint_state *state = &snapshot->content.state;
    state->parameters = put_text(&text, state->parameters);
    state->trainer = put_text(&text, state->trainer);
    state->build = put_text(&text, state->build);
    state->data = put_text(&text, state->data);
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        snapshot->content.sections[i].tensors = tensor;
        for (size_t t = 0; t < content->sections[i].count; t++, tensor++) {
            *tensor = content->sections[i].tensors[t];
            uint64_t bytes = safetensors_type_size(tensor->type);
            for (int d = 0; d < tensor->dims; d++)
                bytes *= tensor->shape[d];
            IJ_TRY(copy_bytes(copy, data, tensor->data, (size_t)bytes, reterr_err));
            tensor->data = data;
            data += padded_bytes(tensor);
            tensor->name = put_text(&text, tensor->name);
        }
    }
    return IJ_OK;
}

/* ---- The writer's thread --------------------------------------------------------------------- */

static enum ij_status call_barrier(void *user, uint64_t step, struct ij_err *reterr_err)
{
    const struct engine_sink *sink = user;
    enum ij_status status =
        sink->checkpoint_barrier ? sink->checkpoint_barrier(sink->user, step) : IJ_OK;
    if (status != IJ_OK)
        return IJ_ERR(reterr_err, status, "the host gave up the checkpoint of step %" PRIu64, step);
    return IJ_OK;
}

static enum ij_status report(struct checkpoint_writer *writer, const struct checkpoint_info *info,
                             struct ij_err *reterr_err)
{
    const struct engine_checkpoint checkpoint = {.path = info->path,
                                                 .step = info->step,
                                                 .bytes = info->bytes,
                                                 .epoch = info->epochs_done,
                                                 .hash = info->hash};
    enum ij_status status = writer->sink->checkpoint
                                ? writer->sink->checkpoint(writer->sink->user, &checkpoint)
                                : IJ_OK;
    if (status != IJ_OK)
        return IJ_ERR(reterr_err, status, "the host refused the checkpoint of step %" PRIu64,
                      info->step);
    return IJ_OK;
}

/* Removes the oldest beyond `keep`, but for pinned ones, of the checkpoints up to `newest`, which
 * stays. Later ones can only be unreadable leftovers that a resume walked past: training replaces
 * them. */
static enum ij_status retain(struct checkpoint_writer *writer, uint64_t newest,
                             struct ij_err *reterr_err)
{
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    if (writer->keep == 0)
        return IJ_OK;
    IJ_TRY(checkpoint_list(writer->run_directory, &steps, &count, reterr_err));
    while (count > 0 && steps[count - 1] > newest)
        count--;
    for (size_t i = 0; i + writer->keep < count; i++)
        if (!checkpoint_is_pinned(writer->run_directory, steps[i]))
            IJ_TRY(checkpoint_remove(writer->run_directory, steps[i], reterr_err));
    return IJ_OK;
}

static enum ij_status write_snapshot(struct checkpoint_writer *writer, struct ij_err *reterr_err)
{
    const struct checkpoint_barrier barrier = {call_barrier, (void *)writer->sink};
    mem_auto struct checkpoint_info *info = mem_new(struct checkpoint_info);
    if (!info)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to write a checkpoint");
    IJ_TRY(checkpoint_write(writer->run_directory, &writer->snapshot.content, &barrier, info,
                            reterr_err));
    IJ_TRY(report(writer, info, reterr_err));
    return retain(writer, info->step, reterr_err);
}

static void *writer_main(void *user)
{
    struct checkpoint_writer *writer = user;
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        while (!writer->busy && !writer->stop)
            pthread_cond_wait(&writer->changed, &writer->mutex);
        if (!writer->busy)
            break; /* stop, and nothing left to write */
        pthread_mutex_unlock(&writer->mutex);
        struct ij_err error = IJ_ERR_INIT;
        enum ij_status status = write_snapshot(writer, &error);
        pthread_mutex_lock(&writer->mutex);
        if (status != IJ_OK && writer->status == IJ_OK) {
            writer->status = status;
            writer->error = error;
        }
        writer->busy = false;
        pthread_cond_broadcast(&writer->changed);
    }
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}

/* ---- The submitter --------------------------------------------------------------------------- */

enum ij_status checkpoint_writer_new(const char *run_directory, const struct engine_sink *sink,
                                     uint32_t keep, struct checkpoint_writer **ret_writer,
                                     struct ij_err *reterr_err)
{
    struct checkpoint_writer *writer = mem_new(struct checkpoint_writer);
    if (!writer)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the checkpoint writer");
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->changed, NULL);
    writer->sink = sink;
    writer->keep = keep;
    int n = snprintf(writer->run_directory, sizeof writer->run_directory, "%s", run_directory);
    if (n < 0 || (size_t)n >= sizeof writer->run_directory) {
        checkpoint_writer_free(writer);
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "path is too long: %s",
                            run_directory);
    }
    int sys = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (sys != 0) {
        checkpoint_writer_free(writer);
        return IJ_ERR_SYS(reterr_err, sys, "", "cannot start the checkpoint writer");
    }
    writer->has_thread = true;
    *ret_writer = writer;
    return IJ_OK;
}

enum ij_status checkpoint_writer_wait(struct checkpoint_writer *writer, struct ij_err *reterr_err)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->busy)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    enum ij_status status = writer->status;
    if (status != IJ_OK && reterr_err)
        *reterr_err = writer->error;
    writer->status = IJ_OK;
    pthread_mutex_unlock(&writer->mutex);
    return status;
}

enum ij_status checkpoint_writer_submit(struct checkpoint_writer *writer,
                                        const struct checkpoint_content *content,
                                        const struct checkpoint_copy *copy,
                                        struct ij_err *reterr_err)
{
    IJ_TRY(checkpoint_writer_wait(writer, reterr_err));
    IJ_TRY(snapshot_take(&writer->snapshot, content, copy, reterr_err));
    pthread_mutex_lock(&writer->mutex);
    writer->busy = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    return IJ_OK;
}

bool checkpoint_writer_is_busy(struct checkpoint_writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    bool busy = writer->busy;
    pthread_mutex_unlock(&writer->mutex);
    return busy;
}

void checkpoint_writer_free(struct checkpoint_writer *writer)
{
    if (!writer)
        return;
    if (writer->has_thread) {
        pthread_mutex_lock(&writer->mutex);
        writer->stop = true;
        pthread_cond_broadcast(&writer->changed);
        pthread_mutex_unlock(&writer->mutex);
        pthread_join(writer->thread, NULL);
    }
    snapshot_done(&writer->snapshot);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->mutex);
    mem_free(writer);
}
