/* Problems: every status becomes a document, every code is explained. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/problem.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(absent)";
}

Test(problem, every_status_has_a_document_and_an_explanation)
{
    for (int code = IJ_OK + 1; code < IJ_STATUS_COUNT; code++) {
        struct problem problem;
        struct ij_err err = IJ_ERR_INIT;
        unsigned http = 0;
        problem_init(&problem);
        (void)IJ_ERR(&err, (enum ij_status)code, "because");
        problem_from_err(&problem, &err);
        json_t *document = problem_to_json(&problem, "/v1/x", "q1");
        cr_assert_not_null(document);
        cr_expect_eq(json_integer_value(json_object_get(document, "status")),
                     ij_status_http((enum ij_status)code));
        cr_expect_str_eq(text_of(document, "detail"), "because");
        cr_expect_str_eq(text_of(document, "instance"), "/v1/x");
        cr_expect_str_eq(text_of(document, "request_id"), "q1");
        cr_expect_eq(strncmp(text_of(document, "type"), "/problems/", 10), 0);
        cr_expect_str_eq(text_of(document, "type") + 10, text_of(document, "code"));
        cr_expect_not_null(problem_explain(text_of(document, "code"), &http));
        cr_expect_eq(http, problem.http);
        json_decref(document);
        problem_done(&problem);
    }
}

Test(problem, an_error_without_code_is_internal)
{
    struct problem problem;
    struct ij_err err = IJ_ERR_INIT;
    problem_init(&problem);
    problem_from_err(&problem, &err);
    cr_expect_eq(problem.http, 500);
    problem_done(&problem);
}

Test(problem, a_file_of_the_server_is_no_place_in_the_body)
{
    static const enum ij_status codes[] = {IJ_INVALID, IJ_NO_SPACE};
    for (int i = 0; i < 2; i++) {
        struct problem problem;
        struct ij_err err = IJ_ERR_INIT;
        problem_init(&problem);
        (void)IJ_ERR_FIELD(&err, codes[i], "/state/state.db", "full");
        problem_from_err(&problem, &err);
        cr_expect_eq(json_array_size(problem.errors), i == 0 ? 1 : 0);
        problem_done(&problem);
    }
}

Test(problem, a_field_is_named_once)
{
    struct problem problem;
    struct ij_err err = IJ_ERR_INIT;
    problem_init(&problem);
    (void)IJ_ERR_FIELD(&err, IJ_INVALID, "limit", "must be small");
    problem_from_err(&problem, &err);
    cr_expect_str_eq(problem.detail, "limit: must be small");
    cr_expect_null(problem.errors);
    (void)IJ_ERR_FIELD(&err, IJ_INVALID, "limit", "limit must be small");
    problem_from_err(&problem, &err);
    cr_expect_str_eq(problem.detail, "limit must be small");
    (void)IJ_ERR_FIELD(&err, IJ_INVALID, "/priority", "must be small");
    problem_from_err(&problem, &err);
    cr_assert_eq(json_array_size(problem.errors), 1);
    cr_expect_str_eq(text_of(json_array_get(problem.errors, 0), "pointer"), "/priority");
    problem_done(&problem);
}

Test(problem, extensions)
{
    struct problem problem;
    problem_init(&problem);
    problem_set(&problem, PROBLEM_METHOD, "no %s", "PUT");
    strcpy(problem.state, "canceled");
    problem.allowed = json_pack("[s]", "requeue");
    problem_add_error(&problem, "/a/b", "%d is odd", 3);
    json_t *document = problem_to_json(&problem, "/", "q");
    cr_expect_eq(json_integer_value(json_object_get(document, "status")), 405);
    cr_expect_str_eq(text_of(document, "detail"), "no PUT");
    cr_expect_str_eq(text_of(document, "state"), "canceled");
    cr_expect_eq(json_array_size(json_object_get(document, "allowed")), 1);
    const json_t *error = json_array_get(json_object_get(document, "errors"), 0);
    cr_expect_str_eq(text_of(error, "detail"), "3 is odd");
    json_decref(document);
    problem_done(&problem);
}

Test(problem, unknown_codes_are_not_explained)
{
    unsigned http;
    cr_expect_null(problem_explain("nonsense", &http));
    cr_expect_null(problem_explain("", &http));
    cr_expect_null(problem_explain("ok", &http));
}
