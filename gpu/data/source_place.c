/* Which folders are the two splits of a dataset: see dataset.h for the rules. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "gpu/data/source.h"

/* True and `ret_path` = path/name where that is a folder. */
static bool find_folder(const char *path, const char *name, char ret_path[ENGINE_PATH_MAX])
{
    char joined[ENGINE_PATH_MAX];
    struct stat st;
    int n = snprintf(joined, sizeof(joined), "%s/%s", path, name);
    if (n < 0 || (size_t)n >= sizeof(joined) || stat(joined, &st) < 0 || !S_ISDIR(st.st_mode))
        return false;
    strcpy(ret_path, joined);
    return true;
}

static bool find_splits(const char *path, char ret_train[ENGINE_PATH_MAX],
                        char ret_eval[ENGINE_PATH_MAX])
{
    static const char *const names[] = {"val", "test", "validation"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (find_folder(path, names[i], ret_eval))
            return find_folder(path, "train", ret_train);
    return false;
}

static enum ij_status copy_path(const char *path, const char *field, char ret_path[ENGINE_PATH_MAX],
                                struct ij_err *reterr_err)
{
    size_t n = strnlen(path, ENGINE_PATH_MAX);
    if (n == 0 || n >= ENGINE_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "must be a path of 1 to %d bytes",
                            ENGINE_PATH_MAX - 1);
    memcpy(ret_path, path, n + 1);
    while (n > 1 && ret_path[n - 1] == '/')
        ret_path[--n] = '\0';
    return IJ_OK;
}

enum ij_status source_place_find(const struct engine_data *data, bool eval,
                                 struct source_place *ret_place, struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX], train[ENGINE_PATH_MAX], held_out[ENGINE_PATH_MAX] = "";
    char scenes[ENGINE_PATH_MAX];
    const char *eval_field = "data.path";
    IJ_TRY(copy_path(data->path, "data.path", path, reterr_err));
    if (find_folder(path, "scenes", scenes)) /* a CLEVR root */
        (void)find_folder(path, "images", path);
    if (!find_splits(path, train, held_out)) {
        strcpy(train, path);
        held_out[0] = '\0';
    }
    if (data->eval_path[0]) {
        eval_field = "data.eval_path";
        IJ_TRY(copy_path(data->eval_path, eval_field, held_out, reterr_err));
    }
    bool apart = held_out[0] != '\0';
    *ret_place = (struct source_place){
        .field = eval && apart ? eval_field : "data.path",
        .peer_field = eval ? "data.path" : eval_field,
    };
    strcpy(ret_place->path, eval && apart ? held_out : train);
    if (apart)
        strcpy(ret_place->peer, eval ? train : held_out);
    return IJ_OK;
}
