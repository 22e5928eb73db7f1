/* The engine's face of gpu/interop. See engine.h. */
#include "gpu/interop/export.h"
#include "gpu/interop/import.h"

enum ij_status engine_export(const struct engine_export *options, char **ret_json,
                             struct ij_err *reterr_err)
{
    return export_run(options, ret_json, reterr_err);
}

enum ij_status engine_import(const struct engine_import *options, char **ret_json,
                             struct ij_err *reterr_err)
{
    return import_run(options, ret_json, reterr_err);
}
