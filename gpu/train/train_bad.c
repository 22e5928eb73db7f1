/* See train_bad.h. */
#include "gpu/train/train_bad.h"

#include <stdio.h>

#include "base/file.h"
#include "gpu/train/train_ranks.h"

static enum ij_status write_list(const struct engine_spec *spec, struct loader *loader,
                                 struct ij_err *reterr_err)
{
    char folder[ENGINE_PATH_MAX + 16], path[ENGINE_PATH_MAX + 64];
    snprintf(folder, sizeof folder, "%s/reports", spec->directory);
    if (train_ranks_is_leader(spec))
        snprintf(path, sizeof path, "%s/bad_images.csv", folder);
    else
        snprintf(path, sizeof path, "%s/bad_images-rank%u.csv", folder, spec->ranks.rank);
    IJ_TRY(file_make_dirs(folder, 0700, reterr_err));
    return loader_bad_write(loader, path, reterr_err);
}

enum ij_status train_bad_report(const struct engine_spec *spec, struct loader *loader,
                                struct train_sink *sink, uint64_t *reported,
                                struct ij_err *reterr_err)
{
    struct loader_bad bad;
    char text[LOADER_NAME_MAX + LOADER_CAUSE_MAX + 128];
    loader_bad(loader, &bad);
    if (bad.count <= *reported || bad.listed == 0)
        return IJ_OK;
    *reported = bad.count;
    IJ_TRY(write_list(spec, loader, reterr_err));
    snprintf(text, sizeof text, "%llu bad images so far, replaced by others; one is %s: %s",
             (unsigned long long)bad.count, bad.images[bad.listed - 1].name,
             bad.images[bad.listed - 1].cause);
    return train_sink_warning(sink, "bad_images", text, reterr_err);
}
