/* File lists: `path[<tab>label]` a line, relative to the list's own folder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/source.h"

#define LIST_BYTES_MAX ((size_t)4 << 30)

/* The name of the folder that holds `path`; length 0 where there is none. */
static const char *folder_of(const char *path, size_t *ret_length)
{
    const char *end = strrchr(path, '/');
    const char *start = end;
    while (start && start > path && start[-1] != '/')
        start--;
    *ret_length = end ? (size_t)(end - start) : 0;
    return *ret_length ? start : NULL;
}

static enum ij_status add_line(struct source *source, const char *list, size_t number, char *line,
                               struct ij_err *reterr_err)
{
    char *tab = strchr(line, '\t');
    size_t length;
    if (tab)
        *tab = '\0';
    char path[2 * ENGINE_PATH_MAX];
    if (strlen(line) >= ENGINE_PATH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field, "%s line %zu: the path is too long",
                            list, number);
    snprintf(path, sizeof(path), "%s%s%s", *line == '/' ? "" : source->root,
             *line == '/' ? "" : "/", line);
    struct stat st;
    if (stat(path, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, source->field, "%s line %zu: cannot open %.300s", list,
                          number, path);
    if (!S_ISREG(st.st_mode))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field, "%s line %zu: %.300s is not a file",
                            list, number, path);
    const char *label = tab ? tab + 1 : folder_of(line, &length);
    if (tab)
        length = strcspn(label, "\t");
    struct source_item item = {.size = (uint64_t)st.st_size, .shard = SOURCE_NO_SHARD};
    return source_add(source, line, length ? label : NULL, length, &item, reterr_err);
}

enum ij_status source_list_load(struct source *source, const char *file, struct ij_err *reterr_err)
{
    char path[2 * ENGINE_PATH_MAX];
    mem_auto char *data = NULL;
    size_t size, number = 0;
    snprintf(path, sizeof(path), "%s/%s", source->root, file);
    IJ_TRY(file_read(path, LIST_BYTES_MAX, &data, &size, reterr_err));
    if (memchr(data, '\0', size))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, source->field, "%s is not a text file", path);
    char *rest = data, *line;
    while ((line = strsep(&rest, "\n"))) {
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (*line)
            IJ_TRY(add_line(source, file, number, line, reterr_err));
    }
    return IJ_OK;
}
