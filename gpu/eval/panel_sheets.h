/* Contact sheets of a panel, as PNG; gpu/eval/visualize.h says what is on them. */
#ifndef GPU_EVAL_PANEL_SHEETS_H
#define GPU_EVAL_PANEL_SHEETS_H

#include <jansson.h>

#include "gpu/eval/panel.h"
#include "gpu/eval/panel_decode.h"

/* All borrowed. */
struct panel_sheets {
    const struct panel *panel;
    const struct panel_decode *decoded; /* NULL: none */
    const char *folder, *suffix;        /* <folder>/pca<suffix>.png */
    json_t *files;                      /* array that the names of the files are added to */
};

IJ_MUST_USE enum ij_status panel_sheets_draw(const struct panel_sheets *sheets,
                                             struct ij_err *reterr_err);

/* The scores between which a component's colour runs. */
IJ_MUST_USE enum ij_status panel_sheets_range(const struct panel *panel, float low[PCA_COMPONENTS],
                                              float high[PCA_COMPONENTS],
                                              struct ij_err *reterr_err);

#endif
