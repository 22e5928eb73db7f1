/* Arenas to and from checkpoints. See train_save.h. */
#include "gpu/train/train_save.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/seed_bug.h"

#define POSITION_TABLES 3 /* of encoder, target encoder and predictor */

static const struct {
    enum trainer_arena arena;
    const char *prefix;
} moments[] = {{TRAINER_MOMENT1, "exp_avg."}, {TRAINER_MOMENT2, "exp_avg_sq."}};

/* Appends a view; its name is copied to the save's memory. */
static struct safetensors_tensor *append(struct train_save *save, enum checkpoint_section section,
                                         const char *prefix, const char *name, const float *data,
                                         size_t *name_at)
{
    struct safetensors_tensor *t = &save->tensors[section][save->counts[section]++];
    char *text = save->names + *name_at * LAYOUT_TARGET_NAME_MAX;
    (*name_at)++;
    snprintf(text, LAYOUT_TARGET_NAME_MAX, "%s%s", prefix, name);
    t->name = text;
    t->type = SAFETENSORS_F32;
    t->data = data;
    return t;
}

static void set_shape(struct safetensors_tensor *t, int dims, const uint64_t *shape)
{
    t->dims = dims;
    memcpy(t->shape, shape, (size_t)dims * sizeof *shape);
}

static void append_positions(struct train_save *save, const char *name, const float *table,
                             int64_t width, size_t *name_at)
{
    uint64_t patches = (uint64_t)save->trainer->config.patches;
    set_shape(append(save, CHECKPOINT_MODEL, "", name, table, name_at), 3,
              (const uint64_t[]){1, patches, (uint64_t)width});
}

/* Encoder, target encoder and predictor, each led by its position table as in public files. */
static void view_model(struct train_save *save, size_t *name_at)
{
    const struct trainer *t = save->trainer;
    const struct layout *l = &t->layout;
    const struct vit_config *c = &t->config;
    const float *position = ijepa_position(t->ijepa);
    static const char *const tables[] = {"encoder.pos_embed", "target_encoder.pos_embed"};
    for (int copy = 0; copy < 2; copy++) {
        append_positions(save, tables[copy], position, c->encoder.width, name_at);
        for (size_t i = 0; i < l->count && l->tensors[i].encoder; i++) {
            const struct layout_tensor *p = &l->tensors[i];
            const float *arena = t->arenas[copy ? TRAINER_TARGET : TRAINER_PARAMETER];
            set_shape(append(save, CHECKPOINT_MODEL, copy ? "target_" : "", p->name,
                             arena + p->offset, name_at),
                      p->dims, p->shape);
        }
    }
    append_positions(save, "predictor.predictor_pos_embed", ijepa_pred_position(t->ijepa),
                     c->predictor.width, name_at);
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *p = &l->tensors[i];
        if (!p->encoder)
            set_shape(append(save, CHECKPOINT_MODEL, "", p->name,
                             t->arenas[TRAINER_PARAMETER] + p->offset, name_at),
                      p->dims, p->shape);
    }
}

static void view_optimizer(struct train_save *save, size_t *name_at)
{
    const struct layout *l = &save->trainer->layout;
    for (size_t m = 0; m < COUNT_OF(moments); m++)
        for (size_t i = 0; i < l->count; i++) {
            const struct layout_tensor *p = &l->tensors[i];
            const float *arena = save->trainer->arenas[moments[m].arena];
            set_shape(append(save, CHECKPOINT_OPTIMIZER, moments[m].prefix, p->name,
                             arena + p->offset, name_at),
                      p->dims, p->shape);
        }
}

enum ij_status train_save_init(struct train_save *save, struct trainer *trainer,
                               struct ij_err *reterr_err)
{
    size_t count = trainer->layout.count, names = 0;
    memset(save, 0, sizeof *save);
    save->trainer = trainer;
    size_t model = 2 * count + POSITION_TABLES, optimizer = 2 * count;
    save->tensors[CHECKPOINT_MODEL] = mem_array(struct safetensors_tensor, model);
    save->tensors[CHECKPOINT_OPTIMIZER] = mem_array(struct safetensors_tensor, optimizer);
    save->names = mem_array(char, (model + optimizer) * LAYOUT_TARGET_NAME_MAX);
    if (!save->tensors[CHECKPOINT_MODEL] || !save->tensors[CHECKPOINT_OPTIMIZER] || !save->names) {
        train_save_done(save);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a checkpoint's table");
    }
    view_model(save, &names);
    view_optimizer(save, &names);
    return IJ_OK;
}

void train_save_done(struct train_save *save)
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

enum ij_status train_save_submit(const struct train_save *save, struct checkpoint_writer *writer,
                                 const struct checkpoint_state *state, struct ij_err *reterr_err)
{
    struct checkpoint_content content = {.state = *state};
    struct checkpoint_copy copy = {download, save->trainer->backend};
    for (int i = 0; i < CHECKPOINT_SECTION_COUNT; i++) {
        content.sections[i].tensors = save->tensors[i];
        content.sections[i].count = save->counts[i];
    }
    return checkpoint_writer_submit(writer, &content, &copy, reterr_err);
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* One arena by the names `prefix` + tensor name. */
static enum ij_status load_arena(struct trainer *trainer, const struct checkpoint *checkpoint,
                                 enum trainer_arena arena, enum checkpoint_section section,
                                 const char *prefix, float *staging, struct ij_err *reterr_err)
{
    const struct layout *l = &trainer->layout;
    memset(staging, 0, (size_t)l->floats * sizeof *staging);
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        char name[LAYOUT_TARGET_NAME_MAX];
        if (arena == TRAINER_TARGET && !t->encoder)
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        IJ_TRY(checkpoint_read_f32(checkpoint, section, name, staging + t->offset,
                                   (uint64_t)t->count, reterr_err));
    }
    return trainer_write(trainer, arena, staging, reterr_err);
}

enum ij_status train_save_load(struct trainer *trainer, const struct checkpoint *checkpoint,
                               struct ij_err *reterr_err)
{
    mem_auto float *staging = mem_array(float, (size_t)trainer->layout.floats);
    if (!staging)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read a checkpoint");
    IJ_TRY(load_arena(trainer, checkpoint, TRAINER_PARAMETER, CHECKPOINT_MODEL, "", staging,
                      reterr_err));
    IJ_TRY(load_arena(trainer, checkpoint, TRAINER_TARGET, CHECKPOINT_MODEL, "target_", staging,
                      reterr_err));
    for (size_t m = SEED_BUG(MOMENTS_LOST) ? 1 : 0; m < COUNT_OF(moments); m++)
        IJ_TRY(load_arena(trainer, checkpoint, moments[m].arena, CHECKPOINT_OPTIMIZER,
                          moments[m].prefix, staging, reterr_err));
    return IJ_OK;
}
