/* Where data may lie: what is inside, what is not, and that no answer tells what exists outside. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/data_roots.h"

static char top[64]; /* holds data/, data/set/, data-2/ and secret/set/ */

static const char *below(const char *part)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s%s", top, part);
    return path;
}

static void make_folders(void)
{
    static const char *const parts[] = {"/data", "/data/set", "/data-2", "/secret", "/secret/set"};
    snprintf(top, sizeof(top), "/tmp/ijepad-roots-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        cr_assert_eq(mkdir(below(parts[i]), 0700), 0);
}

static void remove_folders(void)
{
    cr_assert_eq(file_remove_tree(top, NULL), IJ_OK);
}

TestSuite(data_roots, .init = make_folders, .fini = remove_folders);

static enum ij_status look(const char *roots, const char *path, struct ij_err *reterr_err)
{
    *reterr_err = (struct ij_err)IJ_ERR_INIT;
    return data_roots_check(roots, path, "data.path", reterr_err);
}

static void expect(const char *roots, const char *path, enum ij_status expected)
{
    struct ij_err err;
    cr_assert_eq(look(roots, path, &err), expected, "%s below %s: %s", path, roots, err.text);
    if (expected != IJ_OK)
        cr_assert_str_eq(err.field, "data.path");
}

Test(data_roots, what_lies_below_one_of_them_is_allowed)
{
    char two[256];
    snprintf(two, sizeof(two), "%s:%s/", below("/data-2"), below("/data"));
    expect(two, below("/data/set"), IJ_OK);
    expect(two, below("/data/set/"), IJ_OK);
    expect(two, below("/data//set"), IJ_OK);
    expect(two, below("/data"), IJ_OK);
    expect(two, below("/data-2"), IJ_OK);
    expect(two, below("/secret/set"), IJ_INVALID);
    expect(below("/data"), below("/data-2"), IJ_INVALID);
    expect("/", below("/secret/set"), IJ_OK);
}

Test(data_roots, without_any_everything_is_allowed)
{
    expect("", below("/secret/set"), IJ_OK);
    expect("", "not even absolute", IJ_OK);
    expect(below("/data"), "", IJ_OK);
}

Test(data_roots, ways_out_are_refused)
{
    expect(below("/data"), below("/data/../secret/set"), IJ_INVALID);
    expect(below("/data"), below("/data/set/../set"), IJ_INVALID);
    expect(below("/data"), below("/./data/set"), IJ_INVALID);
    expect(below("/data"), below("/data/.."), IJ_INVALID);
    expect(below("/data"), "data/set", IJ_INVALID);
    cr_assert_eq(symlink("../secret", below("/data/relative")), 0);
    cr_assert_eq(symlink(below("/secret"), below("/data/absolute")), 0);
    expect(below("/data"), below("/data/relative/set"), IJ_INVALID);
    expect(below("/data"), below("/data/absolute"), IJ_INVALID);
}

Test(data_roots, links_that_stay_inside_are_followed)
{
    cr_assert_eq(symlink(below("/data"), below("/link")), 0);
    cr_assert_eq(symlink("set", below("/data/current")), 0);
    cr_assert_eq(symlink(below("/data/set"), below("/data/absolute")), 0);
    expect(below("/data"), below("/data/current"), IJ_OK);
    expect(below("/data"), below("/data/absolute"), IJ_OK);
    expect(below("/link"), below("/link/set"), IJ_OK);
    expect(below("/link"), below("/data/set"), IJ_INVALID); /* as it is written */
}

/* The answer to `path`, with the path itself replaced. */
static void answer(const char *path, char ret_text[IJ_ERR_TEXT_MAX])
{
    struct ij_err err;
    cr_assert_eq(look(below("/data"), path, &err), IJ_INVALID);
    char *at = strstr(err.text, path);
    cr_assert_not_null(at, "%s", err.text);
    snprintf(ret_text, IJ_ERR_TEXT_MAX, "%.*sPATH%s", (int)(at - err.text), err.text,
             at + strlen(path));
}

static void expect_same_answer(const char *there, const char *missing)
{
    char first[IJ_ERR_TEXT_MAX], second[IJ_ERR_TEXT_MAX];
    answer(there, first);
    answer(missing, second);
    cr_assert_str_eq(first, second);
}

Test(data_roots, no_answer_tells_what_exists_outside)
{
    cr_assert_eq(symlink("../secret", below("/data/out")), 0);
    expect_same_answer(below("/secret/set"), below("/secret/none"));
    expect_same_answer(below("/data/out/set"), below("/data/out/none"));
    expect_same_answer(below("/data/out/set"), below("/data/nothing"));
}

Test(data_roots, parts_are_absolute_paths)
{
    cr_assert(data_roots_are_valid(""));
    cr_assert(data_roots_are_valid("/data"));
    cr_assert(data_roots_are_valid("/data:/scratch/images"));
    cr_assert_not(data_roots_are_valid("data"));
    cr_assert_not(data_roots_are_valid("/data:scratch"));
}
