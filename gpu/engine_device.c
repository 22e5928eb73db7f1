/* The choice of a backend. See engine_device.h. */
#include "gpu/engine_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/ops/cuda_device.h"

/* A run sees its own GPUs only, in the order of its ranks. */
static enum ij_status open_cuda(const struct engine_spec *spec, struct backend **ret_backend,
                                struct ij_err *reterr_err)
{
    if (!cuda_device_built())
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "this build has no CUDA backend; use device host or auto");
    return backend_cuda_new((int)spec->ranks.rank, ret_backend, reterr_err);
}

bool engine_cuda_usable(char *ret_reason, size_t size)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!cuda_device_built())
        snprintf(err.text, sizeof err.text, "this build has no CUDA backend");
    else if (backend_cuda_usable(0, &err) != IJ_OK && !err.text[0])
        snprintf(err.text, sizeof err.text, "the driver does not answer");
    size_t length = strnlen(err.text, size - 1);
    memcpy(ret_reason, err.text, length);
    ret_reason[length] = '\0';
    return length == 0;
}

/* For `auto` the environment has the say, then what is there. */
static bool wants_cuda(const struct engine_spec *spec)
{
    const char *name = getenv("IJEPAD_DEVICE");
    char unused[8];
    if (spec->device != ENGINE_DEVICE_AUTO)
        return spec->device == ENGINE_DEVICE_CUDA;
    if (name && (strcmp(name, "cuda") == 0 || strcmp(name, "host") == 0))
        return strcmp(name, "cuda") == 0;
    return engine_cuda_usable(unused, sizeof unused);
}

bool engine_runs_on_host(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_SCAN || !wants_cuda(spec);
}

enum ij_status engine_device_open(const struct engine_spec *spec, struct backend **ret_backend,
                                  struct ij_err *reterr_err)
{
    if (wants_cuda(spec))
        return open_cuda(spec, ret_backend, reterr_err);
    return backend_host_new((int)spec->threads, ret_backend, reterr_err);
}

/* ---- Trust ----------------------------------------------------------------------------------- */

#define CHECKS_MAX (1 << 20) /* bytes of the file */

static void ignore_line(void *user, const char *line)
{
    (void)user, (void)line;
}

/* Is `line` one of the file's? A file that cannot be read knows nothing. */
static bool is_remembered(const char *path, const char *line)
{
    mem_auto char *text = NULL;
    struct ij_err err = IJ_ERR_INIT;
    size_t size, length = strlen(line);
    if (!path[0] || file_read(path, CHECKS_MAX, &text, &size, &err) != IJ_OK)
        return false;
    for (char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, line, length) == 0)
            return true;
    return false;
}

/* What cannot be remembered is checked again. */
static void remember(const char *path, const char *line)
{
    FILE *file = path[0] ? fopen(path, "ae") : NULL;
    if (!file)
        return;
    fputs(line, file);
    fclose(file);
}

enum ij_status engine_device_trust(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    char name[400], line[600];
    struct ij_err err = IJ_ERR_INIT;
    bool named = spec->device == ENGINE_DEVICE_CUDA && !spec->device_checks[0];
    const char *forced = getenv("IJEPAD_DEVICE");
    if (named || forced || spec->ranks.rank > 0 || !wants_cuda(spec))
        return IJ_OK;
    IJ_TRY(backend_cuda_name(0, name, sizeof name, reterr_err));
    snprintf(line, sizeof line, "%s, build %s\n", name, build_id());
    if (is_remembered(spec->device_checks, line))
        return IJ_OK;
    if (engine_check_device(ignore_line, NULL, &err) != IJ_OK)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "auto found a GPU that did not pass its check (%.300s); ask for cuda "
                            "or host by name",
                            err.text);
    remember(spec->device_checks, line);
    return IJ_OK;
}
