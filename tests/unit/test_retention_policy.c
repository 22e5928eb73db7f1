/* Which checkpoints stay: read from JSON, and chosen among rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/retention_policy.h"

static enum ij_status parse(const char *text, struct retention_policy *policy, struct ij_err *err)
{
    json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(object, "%s", text);
    enum ij_status status = retention_policy_parse(object, policy, err);
    json_decref(object);
    return status;
}

Test(retention_policy, what_is_said_replaces_what_was)
{
    struct retention_policy policy = retention_policy_default(3);
    struct ij_err err = IJ_ERR_INIT;
    cr_expect_eq(policy.latest, 3);
    cr_expect_eq(policy.best, 1);
    cr_expect_eq(policy.best_by, RETENTION_POLICY_KNN);
    cr_expect_eq(parse("{}", &policy, &err), IJ_OK);
    cr_expect_eq(policy.latest, 3);
    cr_expect_eq(parse("{\"best\":2,\"best_by\":\"rankme\"}", &policy, &err), IJ_OK);
    cr_expect_eq(parse("{\"every_epochs\":2.5,\"latest\":10000}", &policy, &err), IJ_OK);
    cr_expect_eq(policy.latest, 10000);
    cr_expect_eq(policy.best, 2);
    cr_expect_eq(policy.best_by, RETENTION_POLICY_RANKME);
    cr_expect_eq(policy.every_epochs, 2.5);
    json_t *shown = retention_policy_json(&policy);
    struct retention_policy again = retention_policy_default(1);
    cr_expect_eq(retention_policy_parse(shown, &again, &err), IJ_OK);
    cr_expect_eq(again.latest, 10000);
    cr_expect_eq(again.best, 2);
    cr_expect_eq(again.best_by, RETENTION_POLICY_RANKME);
    cr_expect_eq(again.every_epochs, 2.5);
    json_decref(shown);
}

Test(retention_policy, errors_name_the_key_and_change_nothing)
{
    static const struct {
        const char *text, *field;
    } rows[] = {{"{\"latest\":0}", "/retention/latest"},
                {"{\"latest\":10001}", "/retention/latest"},
                {"{\"latest\":1.5}", "/retention/latest"},
                {"{\"best\":-1}", "/retention/best"},
                {"{\"best\":101}", "/retention/best"},
                {"{\"best_by\":\"loss\"}", "/retention/best_by"},
                {"{\"best_by\":1}", "/retention/best_by"},
                {"{\"every_epochs\":-0.1}", "/retention/every_epochs"},
                {"{\"every_epochs\":1000000.5}", "/retention/every_epochs"},
                {"{\"every_epochs\":\"2\"}", "/retention/every_epochs"},
                {"{\"latest\":5,\"bst\":1}", "/retention/bst"},
                {"[]", "/retention"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct retention_policy policy = retention_policy_default(7);
        struct ij_err err = IJ_ERR_INIT;
        cr_expect_eq(parse(rows[i].text, &policy, &err), IJ_INVALID, "%s", rows[i].text);
        cr_expect_str_eq(err.field, rows[i].field);
        cr_expect_eq(policy.latest, 7, "%s", rows[i].text);
    }
}

#define ROWS 8

/* Steps 80 to 10, epochs 8 to 1. */
static void make_rows(struct checkpoint_row rows[ROWS], const double scores[ROWS])
{
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct checkpoint_row){.id = 100 - i,
                                          .step = (uint64_t)(10 * (ROWS - i)),
                                          .epoch = ROWS - i,
                                          .score = scores ? scores[i] : NAN};
}

static void expect_reasons(const struct retention_policy *policy, const struct checkpoint_row *rows,
                           const unsigned expected[ROWS], const char *what)
{
    unsigned reasons[ROWS];
    retention_policy_choose(policy, rows, ROWS, reasons);
    for (int i = 0; i < ROWS; i++)
        cr_expect_eq(reasons[i], expected[i], "%s: row %d: %u, not %u", what, i, reasons[i],
                     expected[i]);
}

enum { L = RETENTION_POLICY_IS_LATEST, B = RETENTION_POLICY_IS_BEST };
enum { E = RETENTION_POLICY_IS_EPOCH, P = RETENTION_POLICY_IS_PINNED };

Test(retention_policy, the_newest_stay)
{
    struct checkpoint_row rows[ROWS];
    struct retention_policy policy = retention_policy_default(2);
    make_rows(rows, NULL);
    expect_reasons(&policy, rows, (unsigned[]){L, L, 0, 0, 0, 0, 0, 0}, "no scores, no best");
    rows[5].pinned = true;
    expect_reasons(&policy, rows, (unsigned[]){L, L, 0, 0, 0, P, 0, 0}, "pinned");
    policy.latest = 8;
    expect_reasons(&policy, rows, (unsigned[]){L, L, L, L, L, L | P, L, L}, "all");
}

Test(retention_policy, the_best_stay_and_of_equals_the_earlier)
{
    struct checkpoint_row rows[ROWS];
    struct retention_policy policy = retention_policy_default(1);
    make_rows(rows, (double[]){0.2, NAN, 0.9, 0.9, 0.5, 0.6, NAN, -1});
    expect_reasons(&policy, rows, (unsigned[]){L, 0, 0, B, 0, 0, 0, 0}, "one");
    policy.best = 3;
    expect_reasons(&policy, rows, (unsigned[]){L, 0, B, B, 0, B, 0, 0}, "three");
    policy.best = 100;
    expect_reasons(&policy, rows, (unsigned[]){L | B, 0, B, B, B, B, 0, B}, "all with a score");
    policy.best = 0;
    expect_reasons(&policy, rows, (unsigned[]){L, 0, 0, 0, 0, 0, 0, 0}, "off");
}

Test(retention_policy, the_first_after_each_multiple_stays)
{
    struct checkpoint_row rows[ROWS];
    struct retention_policy policy = retention_policy_default(1);
    make_rows(rows, NULL);
    policy.every_epochs = 3;
    expect_reasons(&policy, rows, (unsigned[]){L, 0, E, 0, 0, E, 0, 0}, "every third");
    policy.every_epochs = 1;
    expect_reasons(&policy, rows, (unsigned[]){L | E, E, E, E, E, E, E, E}, "each");
    policy.every_epochs = 9;
    expect_reasons(&policy, rows, (unsigned[]){L, 0, 0, 0, 0, 0, 0, 0}, "none yet");
    rows[2].epoch = 4.2; /* uneven: 8, 7, 4.2, 4.1, ... */
    rows[3].epoch = 4.1;
    rows[4].epoch = 3.9;
    policy.every_epochs = 2;
    expect_reasons(&policy, rows, (unsigned[]){L | E, E, 0, E, 0, 0, E, 0}, "uneven");
}
