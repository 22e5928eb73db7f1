/* See submit_store.h. */
#include "daemon/submit_store.h"

#include <stdio.h>
#include <string.h>

#include "daemon/params.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"

static bool run_exists(void *user, int64_t id)
{
    struct run_row row = {0};
    enum ij_status status = run_row_get(user, id, &row, NULL);
    run_row_done(&row);
    return status != IJ_NOT_FOUND;
}

static bool checkpoint_exists(void *user, int64_t id)
{
    struct checkpoint_row row;
    return checkpoint_row_get(user, id, &row, NULL) == IJ_OK && row.state == CHECKPOINT_ROW_VALID;
}

static bool checkpoint_path(void *user, int64_t id, char *ret_path, size_t size)
{
    struct checkpoint_row row;
    if (checkpoint_row_get(user, id, &row, NULL) != IJ_OK || strlen(row.path) >= size)
        return false;
    snprintf(ret_path, size, "%s", row.path);
    return true;
}

static bool run_spec(void *user, int64_t id, struct engine_spec *ret_spec)
{
    struct run_row row = {0};
    enum engine_kind kind;
    bool good = run_row_get(user, id, &row, NULL) == IJ_OK &&
                params_kind_from_name(row.kind, &kind) && kind == ENGINE_PRETRAIN;
    json_t *params = good ? json_loads(row.resolved, 0, NULL) : NULL;
    good = params &&
           params_from_json(ENGINE_PRETRAIN, params, "/params", ret_spec, NULL, NULL) == IJ_OK;
    json_decref(params);
    run_row_done(&row);
    return good;
}

struct submit_lookup submit_store_lookup(struct store *store, struct device_table *devices,
                                         const char *data_roots)
{
    return (struct submit_lookup){.user = store,
                                  .run_exists = run_exists,
                                  .checkpoint_exists = checkpoint_exists,
                                  .checkpoint_path = checkpoint_path,
                                  .run_spec = run_spec,
                                  .devices = devices,
                                  .data_roots = data_roots};
}
