/* See tuner_save.h. */
#include "gpu/train/tuner_save.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const struct {
    enum tuner_arena arena;
    enum checkpoint_section section;
    const char *prefix;
} parts[] = {{TUNER_PARAMETER, CHECKPOINT_MODEL, ""},
             {TUNER_MOMENT1, CHECKPOINT_OPTIMIZER, "exp_avg."},
             {TUNER_MOMENT2, CHECKPOINT_OPTIMIZER, "exp_avg_sq."}};

static struct safetensors_tensor *append(struct tuner_save *save, enum checkpoint_section section,
                                         const char *prefix, const char *name, const float *data,
                                         size_t *names)
{
    struct safetensors_tensor *t = &save->tensors[section][save->counts[section]++];
    char *text = save->names + (*names)++ * LAYOUT_TARGET_NAME_MAX;
    snprintf(text, LAYOUT_TARGET_NAME_MAX, "%s%s", prefix, name);
    *t = (struct safetensors_tensor){.name = text, .type = SAFETENSORS_F32, .data = data};
    return t;
}

static void view_all(struct tuner_save *save)
{
    const struct tuner *t = save->tuner;
    const struct classifier_layout *l = &t->layout;
    size_t names = 0;
    struct safetensors_tensor *table = append(save, CHECKPOINT_MODEL, "", "encoder.pos_embed",
                                              classifier_position(t->classifier), &names);
    table->dims = 3;
    table->shape[0] = 1;
    table->shape[1] = (uint64_t)t->config.patches;
    table->shape[2] = (uint64_t)t->config.encoder.width;
    for (size_t p = 0; p < COUNT_OF(parts); p++)
        for (size_t i = 0; i < l->count; i++) {
            const struct layout_tensor *from = &l->tensors[i];
            struct safetensors_tensor *to =
                append(save, parts[p].section, parts[p].prefix, from->name,
                       t->arenas[parts[p].arena] + from->offset, &names);
            to->dims = from->dims;
            memcpy(to->shape, from->shape, (size_t)from->dims * sizeof *from->shape);
        }
}

enum ij_status tuner_save_init(struct tuner_save *save, struct tuner *tuner,
                               struct ij_err *reterr_err)
{
    size_t count = tuner->layout.count;
    memset(save, 0, sizeof *save);
    save->tuner = tuner;
    save->tensors[CHECKPOINT_MODEL] = mem_array(struct safetensors_tensor, count + 1);
    save->tensors[CHECKPOINT_OPTIMIZER] = mem_array(struct safetensors_tensor, 2 * count);
    save->names = mem_array(char, (3 * count + 1) * LAYOUT_TARGET_NAME_MAX);
    if (!save->tensors[CHECKPOINT_MODEL] || !save->tensors[CHECKPOINT_OPTIMIZER] || !save->names) {
        tuner_save_done(save);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a checkpoint's table");
    }
    view_all(save);
    return IJ_OK;
}

void tuner_save_done(struct tuner_save *save)
{
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++)
        mem_free(save->tensors[i]);
    mem_free(save->names);
    memset(save, 0, sizeof *save);
}

static enum ij_status download(void *user, void *host, const void *source, size_t bytes,
                               struct ij_err *reterr_err)
{
    struct backend *backend = user;
    return backend->ops->download(backend, host, source, bytes, reterr_err);
}

enum ij_status tuner_save_submit(const struct tuner_save *save, struct checkpoint_writer *writer,
                                 const struct checkpoint_state *state, struct ij_err *reterr_err)
{
    struct checkpoint_content content = {.state = *state};
    struct checkpoint_copy copy = {download, save->tuner->backend};
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        content.sections[i].tensors = save->tensors[i];
        content.sections[i].count = save->counts[i];
    }
    return checkpoint_writer_submit(writer, &content, &copy, reterr_err);
}

enum ij_status tuner_save_load(struct tuner *tuner, const struct checkpoint *checkpoint,
                               struct ij_err *reterr_err)
{
    const struct classifier_layout *l = &tuner->layout;
    mem_auto float *staging = mem_array(float, (size_t)l->floats);
    if (!staging)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read a checkpoint");
    for (size_t p = 0; p < COUNT_OF(parts); p++) {
        memset(staging, 0, (size_t)l->floats * sizeof *staging);
        for (size_t i = 0; i < l->count; i++) {
            const struct layout_tensor *t = &l->tensors[i];
            char name[LAYOUT_TARGET_NAME_MAX];
            snprintf(name, sizeof name, "%s%s", parts[p].prefix, t->name);
            IJ_TRY(checkpoint_read_f32(checkpoint, parts[p].section, name, staging + t->offset,
                                       (uint64_t)t->count, reterr_err));
        }
        IJ_TRY(tuner_write(tuner, parts[p].arena, staging, reterr_err));
    }
    return IJ_OK;
}
