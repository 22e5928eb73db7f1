/* The values behind a panel's sheets, as safetensors; docs/formats.md lists them. */
#ifndef GPU_EVAL_PANEL_GRIDS_H
#define GPU_EVAL_PANEL_GRIDS_H

#include "gpu/eval/panel.h"
#include "gpu/eval/panel_decode.h"

#define PANEL_GRIDS_SIMILARITY_MAX (64u << 20) /* bytes of all similarities; more: left out */

/* `decoded` may be NULL. */
IJ_MUST_USE enum ij_status panel_grids_write(const struct panel *panel,
                                             const struct panel_decode *decoded, const char *path,
                                             struct ij_err *reterr_err);

#endif
