/* Continuing from a checkpoint. See train_resume.h. */
#include "gpu/train/train_resume.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "gpu/model/spec_json.h"

struct skips {
    struct train_sink *sink;
    size_t count;
    enum ij_status status;
    struct ij_err err;
};

/* Whether `path` lies below the run directory. */
static bool is_below(const char *directory, const char *path)
{
    const char *rest = text_below(directory, path);
    return rest && rest[0] == '/';
}

static void skipped(void *user, const char *path, const struct ij_err *reason)
{
    struct skips *s = user;
    char text[CHECKPOINT_PATH_MAX + IJ_ERR_TEXT_MAX + 64];
    snprintf(text, sizeof text, "%s is not valid, trying the one before: %s", path, reason->text);
    s->count++;
    enum ij_status status = train_sink_warning(s->sink, "checkpoint_corrupt", text, &s->err);
    if (s->status == IJ_OK)
        s->status = status;
}

enum ij_status train_resume_find(const struct engine_spec *spec, struct train_sink *sink,
                                 struct checkpoint **ret_checkpoint, struct ij_err *reterr_err)
{
    struct skips skips = {.sink = sink, .status = IJ_OK};
    struct checkpoint *own = NULL;
    *ret_checkpoint = NULL;
    if (spec->resume[0] && is_below(spec->directory, spec->resume))
        return checkpoint_open(spec->resume, CHECKPOINT_CHECK_ALL, ret_checkpoint, reterr_err);
    IJ_TRY(checkpoint_find_newest(spec->directory, skipped, &skips, &own, reterr_err));
    if (skips.status != IJ_OK) {
        checkpoint_free(own);
        return IJ_ERR(reterr_err, skips.status, "%s", skips.err.text);
    }
    if (!own && skips.count > 0)
        return IJ_ERR_FIELD(
            reterr_err, IJ_CORRUPT, "directory",
            "none of the %zu checkpoints in %s/checkpoints is valid; remove them to "
            "start from the beginning",
            skips.count, spec->directory);
    if (!own && spec->resume[0])
        return checkpoint_open(spec->resume, CHECKPOINT_CHECK_ALL, ret_checkpoint, reterr_err);
    *ret_checkpoint = own;
    return IJ_OK;
}

bool train_resume_is_own(const struct engine_spec *spec, const struct checkpoint *checkpoint)
{
    return is_below(spec->directory, checkpoint_get_info(checkpoint)->path);
}

enum ij_status train_resume_check(const struct engine_spec *spec,
                                  const struct checkpoint_state *state, uint64_t steps_per_epoch,
                                  const char *fingerprint, struct train_sink *sink,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(spec_json_check_model(state->parameters, spec, reterr_err));
    if (state->steps_per_epoch != steps_per_epoch)
        return IJ_ERR_FIELD(
            reterr_err, IJ_CONFLICT, "data.path",
            "the checkpoint counts %llu steps per epoch, dataset and batch now give "
            "%llu",
            (unsigned long long)state->steps_per_epoch, (unsigned long long)steps_per_epoch);
    if (state->data && strcmp(state->data, fingerprint) != 0)
        return train_sink_warning(sink, "data_changed",
                                  "the dataset is not the one that the checkpoint was trained on",
                                  reterr_err);
    return IJ_OK;
}
