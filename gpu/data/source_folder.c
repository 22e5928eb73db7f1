/*
 * Folder trees. The walk goes by descriptors, skips hidden entries, follows links but never into a
 * folder that it is already in, and stops at SOURCE_DEPTH_MAX levels.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "gpu/data/source.h"

struct walk {
    const char *root, *field;
    uint64_t budget, seen;
    source_visit *visit;
    void *user;
    unsigned depth;
    struct stat above[SOURCE_DEPTH_MAX + 1];
    char name[ENGINE_PATH_MAX]; /* relative to the root */
};

static enum ij_status walk_folder(struct walk *walk, int fd, size_t length,
                                  struct ij_err *reterr_err);

static enum ij_status fail(const struct walk *walk, struct ij_err *reterr_err)
{
    return IJ_ERR_SYS(reterr_err, errno, walk->field, "cannot read %s/%s", walk->root, walk->name);
}

static bool is_above(const struct walk *walk, const struct stat *st)
{
    for (unsigned i = 0; i < walk->depth; i++)
        if (walk->above[i].st_ino == st->st_ino && walk->above[i].st_dev == st->st_dev)
            return true;
    return false;
}

static enum ij_status enter(struct walk *walk, int parent, const char *entry, size_t length,
                            struct ij_err *reterr_err)
{
    if (walk->depth > SOURCE_DEPTH_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, walk->field,
                            "%s/%s is nested deeper than %d folders", walk->root, walk->name,
                            SOURCE_DEPTH_MAX);
    int fd = openat(parent, entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(walk, reterr_err);
    return walk_folder(walk, fd, length, reterr_err);
}

static enum ij_status look_at(struct walk *walk, int parent, const struct dirent *entry,
                              size_t length, struct ij_err *reterr_err)
{
    bool image = source_is_image_name(entry->d_name);
    if (!image && entry->d_type == DT_REG)
        return IJ_OK;
    size_t size = strlen(entry->d_name), start = length + (length > 0);
    if (start + size >= sizeof(walk->name))
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, walk->field, "a path below %s is longer than %zu",
                            walk->root, sizeof(walk->name) - 1);
    if (length)
        walk->name[length] = '/';
    memcpy(walk->name + start, entry->d_name, size + 1);
    struct stat st;
    if (fstatat(parent, entry->d_name, &st, 0) < 0) /* a dangling link is no image */
        return errno == ENOENT ? IJ_OK : fail(walk, reterr_err);
    if (S_ISREG(st.st_mode) && image)
        return walk->visit(walk->user, walk->name, (uint64_t)st.st_size, reterr_err);
    if (S_ISDIR(st.st_mode) && !is_above(walk, &st))
        return enter(walk, parent, entry->d_name, start + size, reterr_err);
    return IJ_OK;
}

/* Takes `fd`. `length` is that of the folder's own name in walk->name. */
static enum ij_status walk_folder(struct walk *walk, int fd, size_t length,
                                  struct ij_err *reterr_err)
{
    enum ij_status status = IJ_OK;
    struct dirent *entry;
    DIR *directory = fdopendir(fd);
    if (!directory || fstat(fd, &walk->above[walk->depth]) < 0) {
        status = fail(walk, reterr_err);
        if (!directory)
            close(fd);
        goto out;
    }
    walk->depth++;
    while (status == IJ_OK && (errno = 0, entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        if (walk->budget && ++walk->seen > walk->budget)
            status = IJ_STOPPED;
        else
            status = look_at(walk, dirfd(directory), entry, length, reterr_err);
    }
    walk->depth--;
    walk->name[length] = '\0';
    if (status == IJ_OK && errno)
        status = fail(walk, reterr_err);
out:
    if (directory)
        closedir(directory);
    return status;
}

enum ij_status source_folder_walk(const char *root, const char *field, uint64_t budget,
                                  source_visit *visit, void *user, struct ij_err *reterr_err)
{
    struct walk walk = {
        .root = root, .field = field, .budget = budget, .visit = visit, .user = user};
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, field, "cannot open the dataset %s", root);
    return walk_folder(&walk, fd, 0, reterr_err);
}

/* The class is the first-level folder. */
static enum ij_status add_file(void *user, const char *name, uint64_t size,
                               struct ij_err *reterr_err)
{
    const char *slash = strchr(name, '/');
    struct source_item item = {.size = size, .shard = SOURCE_NO_SHARD};
    return source_add(user, name, slash ? name : NULL, slash ? (size_t)(slash - name) : 0, &item,
                      reterr_err);
}

enum ij_status source_folder_load(struct source *source, struct ij_err *reterr_err)
{
    return source_folder_walk(source->root, source->field, 0, add_file, source, reterr_err);
}
