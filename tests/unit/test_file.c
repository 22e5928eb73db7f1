/* Bounded reads, durable writes, safe removal. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static char dir[64];
static struct ij_err err;

static void make_dir(void)
{
    strcpy(dir, "/tmp/ijepad-file-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
    cr_assert_eq(file_remove_tree(dir, &err), IJ_OK, "%s", err.text);
    cr_assert_neq(access(dir, F_OK), 0);
}

TestSuite(file, .init = make_dir, .fini = remove_dir);

static const char *at(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, 256, "%s/%s", dir, name);
    return path;
}

Test(file, what_is_written_is_read)
{
    char *data;
    size_t size;
    struct stat st;
    cr_assert_eq(file_write_durable(at("a"), "x\0y", 3, 0640, &err), IJ_OK);
    cr_assert_eq(file_write_durable(at("a"), "hello\0", 6, 0640, &err), IJ_OK);
    cr_assert_eq(file_read(at("a"), 6, &data, &size, &err), IJ_OK);
    cr_assert_eq(size, 6);
    cr_assert_eq(memcmp(data, "hello\0", 7), 0);
    mem_free(data);
    cr_assert_eq(stat(at("a"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0640);
    cr_assert_eq(file_write_durable(at("empty"), NULL, 0, 0600, &err), IJ_OK);
    cr_assert_eq(file_read(at("empty"), 0, &data, &size, &err), IJ_OK);
    cr_assert(size == 0 && data[0] == '\0');
    mem_free(data);
}

Test(file, reading_is_bounded_and_only_of_regular_files)
{
    char *data = NULL;
    size_t size;
    cr_assert_eq(file_write_durable(at("a"), "123456", 6, 0600, &err), IJ_OK);
    cr_assert_eq(file_read(at("a"), 5, &data, &size, &err), IJ_TOO_LARGE);
    cr_assert(strstr(err.text, "more than 5"), "%s", err.text);
    cr_assert_eq(file_read(at("missing"), 5, &data, &size, &err), IJ_NOT_FOUND);
    cr_assert(strstr(err.text, "missing"), "%s", err.text);
    cr_assert_eq(file_read(dir, 5, &data, &size, &err), IJ_INVALID);
    cr_assert_eq(mkfifo(at("fifo"), 0600), 0);
    cr_assert_eq(file_read(at("fifo"), 5, &data, &size, &err), IJ_INVALID);
    cr_assert_null(data);
}

static int entries(void)
{
    int count = 0;
    DIR *d = opendir(dir);
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

Test(file, a_failed_write_leaves_the_old_file_and_nothing_else)
{
    char *data;
    size_t size;
    cr_assert_eq(mkdir(at("taken"), 0700), 0);
    cr_assert_neq(file_write_durable(at("taken"), "x", 1, 0600, &err), IJ_OK);
    cr_assert_eq(entries(), 1);
    cr_assert_eq(file_write_durable(at("no/such/folder"), "x", 1, 0600, &err), IJ_NOT_FOUND);
    cr_assert_eq(file_write_durable(at("a"), "old", 3, 0600, &err), IJ_OK);
    cr_assert_eq(file_read(at("a"), 3, &data, &size, &err), IJ_OK);
    cr_assert_str_eq(data, "old");
    mem_free(data);
}

Test(file, a_write_goes_through_no_link)
{
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s/a.tmp-%d", dir, (int)getpid());
    cr_assert_eq(file_write_durable(at("victim"), "safe", 4, 0600, &err), IJ_OK);
    cr_assert_eq(symlink(at("victim"), temporary), 0);
    cr_assert_neq(file_write_durable(at("a"), "evil", 4, 0600, &err), IJ_OK);
    char *data;
    size_t size;
    cr_assert_eq(file_read(at("victim"), 4, &data, &size, &err), IJ_OK);
    cr_assert_str_eq(data, "safe");
    mem_free(data);
}

Test(file, a_full_device_is_told)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(file_write_all(fd, "x", 1, "/dev/full", &err), IJ_NO_SPACE);
    close(fd);
}

Test(file, directories_are_made_with_parents)
{
    cr_assert_eq(file_make_dirs(at("a/b/c"), 0700, &err), IJ_OK);
    cr_assert_eq(file_make_dirs(at("a/b/c"), 0700, &err), IJ_OK);
    cr_assert_eq(file_make_dirs(at("a//d/"), 0700, &err), IJ_OK);
    cr_assert_eq(access(at("a/d"), F_OK), 0);
    cr_assert_eq(file_write_durable(at("f"), "x", 1, 0600, &err), IJ_OK);
    cr_assert_neq(file_make_dirs(at("f"), 0700, &err), IJ_OK);
    cr_assert_neq(file_make_dirs(at("f/g"), 0700, &err), IJ_OK);
    cr_assert_eq(file_make_dirs("", 0700, &err), IJ_INVALID);
    cr_assert_eq(file_make_dirs("/", 0700, &err), IJ_OK);
}

Test(file, removal_follows_no_link)
{
    cr_assert_eq(file_make_dirs(at("outside"), 0700, &err), IJ_OK);
    cr_assert_eq(file_write_durable(at("outside/precious"), "x", 1, 0600, &err), IJ_OK);
    cr_assert_eq(file_make_dirs(at("tree/sub"), 0700, &err), IJ_OK);
    cr_assert_eq(symlink(at("outside"), at("tree/sub/link")), 0);
    cr_assert_eq(file_remove_tree(at("tree"), &err), IJ_OK);
    cr_assert_neq(access(at("tree"), F_OK), 0);
    cr_assert_eq(access(at("outside/precious"), F_OK), 0);
    cr_assert_eq(symlink(at("outside"), at("link")), 0);
    cr_assert_eq(file_remove_tree(at("link"), &err), IJ_OK);
    cr_assert_eq(access(at("outside/precious"), F_OK), 0);
    cr_assert_eq(file_remove_tree(at("never/was"), &err), IJ_OK);
}

Test(file, sizes_add_up_and_links_do_not_count)
{
    static const char big[5000];
    cr_assert_eq(file_tree_bytes(at("missing")), 0);
    cr_assert_eq(file_make_dirs(at("t/u"), 0700, &err), IJ_OK);
    cr_assert_eq(file_write_durable(at("t/a"), big, 5000, 0600, &err), IJ_OK);
    cr_assert_eq(file_write_durable(at("t/u/b"), big, 123, 0600, &err), IJ_OK);
    cr_assert_eq(symlink(at("t/a"), at("t/link")), 0);
    cr_assert_eq(file_tree_bytes(at("t")), 5123);
    cr_assert_eq(file_tree_bytes(at("t/a")), 5000);
    cr_assert_gt(file_free_bytes(dir), 0);
    cr_assert_eq(file_free_bytes("/nowhere/at/all"), 0);
    cr_assert_geq(file_disk_bytes(dir), file_free_bytes(dir));
    cr_assert_eq(file_disk_bytes("/nowhere/at/all"), 0);
}

Test(file, paths_that_are_too_long_are_refused)
{
    char path[5000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(file_write_durable(path, "x", 1, 0600, &err), IJ_INVALID);
    cr_assert_eq(file_make_dirs(path, 0700, &err), IJ_INVALID);
}
