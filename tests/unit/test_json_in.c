/* Strict JSON: limits at the limit and one beyond, and JSONTestSuite where it is at hand. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_in.h"
#include "base/file.h"
#include "base/mem.h"

static enum ij_status parse(const char *text, size_t size, struct ij_err *err)
{
    json_t *value = NULL;
    enum ij_status status = json_in_parse(text, size, &value, err);
    cr_expect((status == IJ_OK) == (value != NULL));
    json_decref(value);
    return status;
}

static enum ij_status parse_text(const char *text)
{
    struct ij_err err = IJ_ERR_INIT;
    return parse(text, strlen(text), &err);
}

/* {"a":[[...]]} with `depth` levels in all. */
static enum ij_status parse_depth(int depth)
{
    char text[512];
    size_t size = (size_t)snprintf(text, sizeof text, "{\"a\":");
    for (int i = 1; i < depth; i++)
        text[size++] = '[';
    for (int i = 1; i < depth; i++)
        text[size++] = ']';
    text[size++] = '}';
    struct ij_err err = IJ_ERR_INIT;
    return parse(text, size, &err);
}

Test(json_in, depth_at_the_limit)
{
    cr_expect_eq(parse_depth(JSON_IN_DEPTH_MAX), IJ_OK);
    cr_expect_eq(parse_depth(JSON_IN_DEPTH_MAX + 1), IJ_MALFORMED);
    cr_expect_eq(parse_text("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}"), IJ_OK,
                 "brackets in a string are no depth");
    cr_expect_eq(parse_text("{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}"), IJ_OK);
}

static enum ij_status parse_string(size_t length)
{
    char *text = mem_alloc_zero(length + 16, 1);
    size_t size = (size_t)sprintf(text, "{\"a\":\"");
    memset(text + size, 'x', length);
    memcpy(text + size + length, "\"}", 2);
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = parse(text, size + length + 2, &err);
    mem_free(text);
    return status;
}

Test(json_in, string_at_the_limit)
{
    cr_expect_eq(parse_string(JSON_IN_STRING_MAX), IJ_OK);
    cr_expect_eq(parse_string(JSON_IN_STRING_MAX + 1), IJ_MALFORMED);
}

Test(json_in, the_place_of_an_error_is_told)
{
    static const char text[] = "{\n  \"a\": 1,\n  \"b\": x\n}";
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(parse(text, strlen(text), &err), IJ_MALFORMED);
    cr_expect(strstr(err.text, "line 3, column 8"), "%s", err.text);
    char deep[64] = "{\n\"a\":";
    memset(deep + 6, '[', 40);
    cr_assert_eq(parse(deep, 46, &err), IJ_MALFORMED);
    cr_expect(strstr(err.text, "line 2"), "%s", err.text);
    cr_expect(strstr(err.text, "deeper than 32"), "%s", err.text);
}

Test(json_in, what_is_refused)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "}",
                                        "{}{}",
                                        "{}x",
                                        "{\"a\":1,\"a\":1}",
                                        "{'a':1}",
                                        "{\"a\":01}",
                                        "{a:1}",
                                        "[1,]",
                                        "{\"a\":\"\\u0000\"}",
                                        "{\"\\u0000\":1}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":\"\\ud800\"}",
                                        "NaN",
                                        "1",
                                        "\"x\"",
                                        "null",
                                        "{\"a\":Infinity}",
                                        "\xef\xbb\xbf{}",
                                        "{\"a\":\"\n\"}",
                                        "{\"a\":99999999999999999999}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        cr_expect_eq(parse_text(texts[i]), IJ_MALFORMED, "%s", texts[i]);
    struct ij_err err = IJ_ERR_INIT;
    cr_expect_eq(parse("{\"a\0\":1}", 8, &err), IJ_MALFORMED);
    cr_expect_eq(parse("{}\0", 3, &err), IJ_MALFORMED);
}

Test(json_in, a_body_is_an_object)
{
    json_t *object = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_expect_eq(json_in_object("[]", 2, &object, &err), IJ_MALFORMED);
    cr_expect_null(object);
    cr_assert_eq(json_in_object("{\"a\":1}", 7, &object, &err), IJ_OK);
    json_decref(object);
}

Test(json_in, unknown_keys_name_the_nearest)
{
    static const char *const names[] = {"priority", "notes"};
    json_t *object = json_pack("{s:i, s:i, s:i}", "prioritty", 1, "notes", 2, "zzzzzzzzzzzz", 3);
    struct problem problem;
    struct ij_err err = IJ_ERR_INIT;
    problem_init(&problem);
    cr_assert_eq(json_in_known_keys(object, names, 2, &problem, &err), IJ_INVALID);
    cr_assert_eq(json_array_size(problem.errors), 2);
    char *text = json_dumps(problem.errors, JSON_COMPACT);
    cr_expect(strstr(text, "\"/prioritty\"") && strstr(text, "did you mean \\\"priority\\\"?"),
              "%s", text);
    cr_expect(strstr(text, "{\"pointer\":\"/zzzzzzzzzzzz\",\"detail\":\"unknown key\"}"), "%s",
              text);
    free(text);
    problem_done(&problem);
    json_decref(object);
}

Test(json_in, members_are_checked)
{
    json_t *object =
        json_pack("{s:s, s:i, s:b, s:n, s:f}", "t", "abc", "i", 7, "b", 1, "n", "f", 1.5);
    struct ij_err err = IJ_ERR_INIT;
    const char *text = "default";
    json_int_t number = 3;
    bool flag = false;
    cr_expect_eq(json_in_text(object, "t", 3, &text, &err), IJ_OK);
    cr_expect_str_eq(text, "abc");
    cr_expect_eq(json_in_text(object, "t", 2, &text, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "/t");
    cr_expect_eq(json_in_text(object, "i", 9, &text, &err), IJ_INVALID);
    cr_expect_eq(json_in_text(object, "missing", 9, &text, &err), IJ_OK);
    cr_expect_eq(json_in_text(object, "n", 9, &text, &err), IJ_OK);
    cr_expect_str_eq(text, "abc");
    cr_expect_eq(json_in_integer(object, "i", 7, 7, &number, &err), IJ_OK);
    cr_expect_eq(number, 7);
    cr_expect_eq(json_in_integer(object, "i", 8, 9, &number, &err), IJ_INVALID);
    cr_expect_eq(json_in_integer(object, "i", 0, 6, &number, &err), IJ_INVALID);
    cr_expect_eq(json_in_integer(object, "f", 0, 6, &number, &err), IJ_INVALID);
    cr_expect_eq(json_in_bool(object, "b", &flag, &err), IJ_OK);
    cr_expect(flag);
    cr_expect_eq(json_in_bool(object, "i", &flag, &err), IJ_INVALID);
    json_decref(object);
}

/* ---- The grammar ---- */

/* Turns \\xHH and \\\\ of a line into bytes, in place; returns how many. */
static size_t unescape(char *line)
{
    size_t size = 0;
    for (const char *at = line; *at; size++) {
        unsigned byte;
        if (sscanf(at, "\\x%2x", &byte) == 1)
            at += 4;
        else {
            at += strncmp(at, "\\\\", 2) == 0;
            byte = (unsigned char)*at++;
        }
        line[size] = (char)byte;
    }
    return size;
}

Test(json_in, the_grammar)
{
    file_auto FILE *cases = fopen("tests/unit/data/json_cases.txt", "r");
    char line[512];
    unsigned taken = 0, refused = 0;
    cr_assert_not_null(cases);
    while (fgets(line, sizeof line, cases)) {
        struct ij_err err = IJ_ERR_INIT;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#')
            continue;
        bool wanted = line[0] == 'y';
        cr_assert(wanted || line[0] == 'n', "%s", line);
        char shown[512];
        memcpy(shown, line, sizeof shown);
        size_t size = unescape(line + 2);
        cr_expect_eq(parse(line + 2, size, &err) == IJ_OK, wanted, "%s", shown);
        (*(wanted ? &taken : &refused))++;
    }
    cr_expect(taken >= 25 && refused >= 100, "%u taken, %u refused", taken, refused);
}

/* ---- JSONTestSuite ---- */

struct tally {
    unsigned files, accepted;
};

static void read_suite(const char *folder, struct tally tallies[3])
{
    static const char kinds[] = "nyi";
    DIR *directory = opendir(folder);
    cr_assert_not_null(directory, "%s", folder);
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *kind = strchr(kinds, entry->d_name[0]);
        if (!kind || entry->d_name[1] != '_')
            continue;
        char path[1024], *text = NULL;
        size_t size;
        struct ij_err err = IJ_ERR_INIT;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        cr_assert_eq(file_read(path, 1 << 20, &text, &size, &err), IJ_OK, "%s", err.text);
        bool accepted = parse(text, size, &err) == IJ_OK;
        mem_free(text);
        tallies[kind - kinds].files++;
        tallies[kind - kinds].accepted += accepted;
        if (*kind == 'n')
            cr_expect_not(accepted, "%s", entry->d_name);
    }
    closedir(directory);
}

/* 188 invalid files, all refused; of 95 valid ones 83 are taken, the other 12 are refused by
 * design: 8 scalars at the top level, 2 with a duplicate key, 2 with a NUL character. */
Test(json_in, json_test_suite, .timeout = 60)
{
    const char *data = getenv("IJEPAD_TEST_DATA");
    if (!data)
        cr_skip_test("IJEPAD_TEST_DATA is not set");
    char folder[] = "/tmp/json-suite-XXXXXX", command[1024];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(command, sizeof command, "tar -xzf '%s/json-suite.tar.gz' -C %s", data, folder);
    cr_assert_eq(system(command), 0);
    char suite[128];
    snprintf(suite, sizeof suite, "%s/json-suite/test_parsing", folder);
    struct tally tallies[3] = {{0, 0}, {0, 0}, {0, 0}};
    read_suite(suite, tallies);
    cr_expect_eq(tallies[0].files, 188, "%u", tallies[0].files);
    cr_expect_eq(tallies[0].accepted, 0);
    cr_expect_eq(tallies[1].files, 95, "%u", tallies[1].files);
    cr_expect_eq(tallies[1].accepted, 83, "%u", tallies[1].accepted);
    cr_expect_gt(tallies[2].files, 0);
    cr_expect_eq(file_remove_tree(folder, NULL), IJ_OK);
}
