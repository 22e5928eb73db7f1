/* Names of events: which are known, and what each takes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/webhook_event.h"

static struct ij_err err;

static enum ij_status check(const char *text)
{
    json_t *names = json_loads(text, JSON_DECODE_ANY, NULL);
    err = (struct ij_err)IJ_ERR_INIT;
    enum ij_status status = webhook_event_check(names, &err);
    json_decref(names);
    return status;
}

static bool matches(const char *names_text, const char *type, const char *body_text)
{
    json_t *names = json_loads(names_text, 0, NULL), *body = json_loads(body_text, 0, NULL);
    bool found = webhook_event_matches(names, type, body);
    json_decref(names);
    json_decref(body);
    return found;
}

Test(webhook_event, known_names)
{
    cr_assert_eq(check("[\"*\"]"), IJ_OK, "%s", err.text);
    cr_assert_eq(check("[\"run.failed\",\"run.succeeded\",\"run.state\",\"run.checkpoint\","
                       "\"server\"]"),
                 IJ_OK, "%s", err.text);
}

Test(webhook_event, wrong_ones_are_named)
{
    static const struct {
        const char *text, *field, *word;
    } rows[] = {
        {"[]", "/events", "1 to 32"},
        {"\"run.failed\"", "/events", "array"},
        {"{}", "/events", "array"},
        {"[\"run.fialed\"]", "/events/0", "run.failed"},
        {"[\"*\",3]", "/events/1", "name"},
        {"[\"run.failed\",\"run.failed\"]", "/events/1", "twice"},
        {"[\"test\"]", "/events/0", "no event"},
        {"[\"\"]", "/events/0", "no event"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(check(rows[i].text), IJ_INVALID, "%s", rows[i].text);
        cr_assert_str_eq(err.field, rows[i].field);
        cr_assert(strstr(err.text, rows[i].word), "%s", err.text);
    }
    cr_assert_eq(webhook_event_check(NULL, &err), IJ_INVALID);
}

Test(webhook_event, what_each_takes)
{
    const char *failed = "{\"state\":\"failed\"}";
    cr_assert(matches("[\"run.failed\"]", "run.state", failed));
    cr_assert(!matches("[\"run.failed\"]", "run.state", "{\"state\":\"queued\"}"));
    cr_assert(matches("[\"run.state\"]", "run.state", failed));
    cr_assert(matches("[\"*\"]", "run.checkpoint", "{}"));
    cr_assert(!matches("[\"run.checkpoint\"]", "run.checkpoint_deleted", "{}"));
    cr_assert(matches("[\"server\"]", "server.alert", "{}"));
    cr_assert(!matches("[\"server\"]", "run.state", failed));
    cr_assert(!matches("[]", "run.state", failed));
    char name[64];
    webhook_event_name("run.warning", NULL, name, sizeof name);
    cr_assert_str_eq(name, "run.warning");
}
