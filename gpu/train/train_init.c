/* See train_init.h. */
#include "gpu/train/train_init.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define LISTED_MAX 6 /* differences named */
#define TEXT_MAX   ((size_t)1 << 14)

struct init {
    struct trainer *trainer;
    const struct safetensors *model;
    struct buf differences;
    size_t count, expected; /* differences; tensors that the model has */
    float *staging;         /* one arena */
};

static bool has_predictor(const struct safetensors *model)
{
    for (size_t i = 0; i < safetensors_count(model); i++)
        if (strncmp(safetensors_at(model, i)->name, "predictor.", 10) == 0)
            return true;
    return false;
}

/* "3x16" */
static void print_shape(char text[96], int dims, const uint64_t *shape)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < dims && used < 96; i++)
        used += (size_t)snprintf(text + used, 96 - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)shape[i]);
}

/* Notes one difference; `found` NULL: the tensor is missing. */
static void note(struct init *init, const char *name, const struct safetensors_tensor *found,
                 const struct layout_tensor *t)
{
    char has[96], wants[96];
    if (init->count++ >= LISTED_MAX)
        return;
    buf_printf(&init->differences, "%s%s ", init->count > 1 ? ", " : "", name);
    if (!found) {
        buf_append_text(&init->differences, "is missing");
        return;
    }
    print_shape(has, found->dims, found->shape);
    print_shape(wants, t->dims, t->shape);
    buf_printf(&init->differences, "is %s, expected %s", has, wants);
}

static void compare(struct init *init, const char *prefix, const struct layout_tensor *t)
{
    char name[LAYOUT_TARGET_NAME_MAX];
    snprintf(name, sizeof name, "%s%s", prefix, t->name);
    const struct safetensors_tensor *found = safetensors_find(init->model, name);
    bool same = found && found->dims == t->dims;
    for (int i = 0; same && i < t->dims; i++)
        same = found->shape[i] == t->shape[i];
    init->expected++;
    if (!same)
        note(init, name, found, t);
}

/* Whether the model has a tensor of this name, or it is a position table. */
static bool is_known(const struct layout *layout, const char *name)
{
    const char *encoder = strncmp(name, "target_encoder.", 15) == 0 ? name + 7 : name;
    return layout_find(layout, encoder) < layout->count || strstr(name, "pos_embed");
}

/* What the checkpoint holds and the model does not. */
static void find_unexpected(struct init *init)
{
    for (size_t i = 0; i < safetensors_count(init->model); i++) {
        const char *name = safetensors_at(init->model, i)->name;
        if (!is_known(&init->trainer->layout, name) && init->count++ < LISTED_MAX)
            buf_printf(&init->differences, "%s%s is not expected", init->count > 1 ? ", " : "",
                       name);
    }
}

/* All differences of all parts before anything is loaded. */
static enum ij_status compare_all(struct init *init, bool predictor, struct ij_err *reterr_err)
{
    const struct layout *l = &init->trainer->layout;
    for (size_t i = 0; i < l->count; i++) {
        if (l->tensors[i].encoder)
            compare(init, "target_", &l->tensors[i]);
        if (l->tensors[i].encoder || predictor)
            compare(init, "", &l->tensors[i]);
    }
    find_unexpected(init);
    if (init->count == 0)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, "init_from",
                        "the checkpoint does not fit the model in %zu of %zu tensors: %s%s",
                        init->count, init->expected,
                        init->differences.data ? init->differences.data : "",
                        init->count > LISTED_MAX ? ", ..." : "");
}

/* Over what the arena holds, so that the parts left out stay. */
static enum ij_status load(struct init *init, enum trainer_arena arena, const char *prefix,
                           bool predictor, struct ij_err *reterr_err)
{
    const struct layout *l = &init->trainer->layout;
    IJ_TRY(trainer_read(init->trainer, arena, init->staging, reterr_err));
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        char name[LAYOUT_TARGET_NAME_MAX];
        if (!t->encoder && (!predictor || arena == TRAINER_TARGET))
            continue;
        snprintf(name, sizeof name, "%s%s", t->encoder ? prefix : "", t->name);
        IJ_TRY(safetensors_copy_f32(safetensors_find(init->model, name), init->staging + t->offset,
                                    (uint64_t)t->count, reterr_err));
    }
    return trainer_write(init->trainer, arena, init->staging, reterr_err);
}

enum ij_status train_init_weights(struct trainer *trainer, const struct checkpoint *checkpoint,
                                  enum train_init_use use, bool *ret_predictor,
                                  struct ij_err *reterr_err)
{
    mem_auto float *staging = mem_array(float, (size_t)trainer->layout.floats);
    struct init init = {.trainer = trainer,
                        .model = checkpoint_get_section(checkpoint, CHECKPOINT_MODEL),
                        .staging = staging};
    bool predictor = has_predictor(init.model);
    if (!staging)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read a checkpoint");
    buf_init(&init.differences, TEXT_MAX);
    enum ij_status status = compare_all(&init, predictor, reterr_err);
    buf_done(&init.differences);
    IJ_TRY(status);
    IJ_TRY(load(&init, TRAINER_PARAMETER, use == TRAIN_INIT_NEW_RUN ? "target_" : "", predictor,
                reterr_err));
    IJ_TRY(load(&init, TRAINER_TARGET, "target_", false, reterr_err));
    *ret_predictor = predictor;
    return IJ_OK;
}
