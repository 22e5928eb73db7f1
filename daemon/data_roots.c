/* See data_roots.h. */
#include "daemon/data_roots.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define SHORT "%.200s" /* two of them fit an error's text */

/* The next part of `*at`, copied: false at the end. */
static bool next_root(const char **at, char ret_root[DATA_ROOTS_SIZE])
{
    *at += strspn(*at, ":");
    size_t size = strcspn(*at, ":");
    if (size == 0 || size >= DATA_ROOTS_SIZE)
        return false;
    snprintf(ret_root, DATA_ROOTS_SIZE, "%.*s", (int)size, *at);
    *at += size;
    return true;
}

bool data_roots_are_valid(const char *roots)
{
    char root[DATA_ROOTS_SIZE];
    if (strlen(roots) >= DATA_ROOTS_SIZE)
        return false;
    for (const char *at = roots; next_root(&at, root);)
        if (root[0] != '/')
            return false;
    return true;
}

/* Absolute, and no part of it is "." or "..". */
static bool is_plain(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at;) {
        at += strspn(at, "/");
        size_t size = strcspn(at, "/");
        if ((size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at += size;
    }
    return true;
}

/* As it is written, below the roots as they are written. */
static bool is_named_inside(const char *roots, const char *path)
{
    char root[DATA_ROOTS_SIZE];
    if (!is_plain(path))
        return false;
    for (const char *at = roots; next_root(&at, root);)
        if (text_below(root, path))
            return true;
    return false;
}

/* Where links lead, below where the roots' lead. */
static bool leads_inside(const char *roots, const char *path)
{
    char root[DATA_ROOTS_SIZE], real[PATH_MAX], real_root[PATH_MAX];
    if (!realpath(path, real))
        return false;
    for (const char *at = roots; next_root(&at, root);)
        if (realpath(root, real_root) && text_below(real_root, real))
            return true;
    return false;
}

enum ij_status data_roots_check(const char *roots, const char *path, const char *field,
                                struct ij_err *reterr_err)
{
    if (!roots[0] || !path[0])
        return IJ_OK;
    if (!is_named_inside(roots, path))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                            SHORT " is not below " SHORT ", where data may lie here", path, roots);
    if (!leads_inside(roots, path))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                            SHORT " is not there, or a link leads out of " SHORT, path, roots);
    return IJ_OK;
}
