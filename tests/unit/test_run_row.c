/* Rows of runs: round trip, versions, deletion. */
#include "tests/unit/store_fixture.h"

#include "store/attempt_row.h"
#include "store/checkpoint_row.h"

TestSuite(run_row, .init = fixture_open, .fini = fixture_close);

static struct run_row full_row(void)
{
    struct run_row row = {.params = "{\"lr\":0.001}",
                          .resolved = "{\"lr\":0.001,\"batch\":64}",
                          .tags = "[\"a\",\"b\"]",
                          .notes = "first\nsecond",
                          .retention = "{\"latest\":2}",
                          .dataset = "/data/images",
                          .health = "{\"rankme\":12.5}",
                          .last = "{\"loss\":0.1}",
                          .state = RUN_STATE_BACKOFF,
                          .desired = RUN_STATE_DESIRE_PAUSE,
                          .deadline_ms = 11,
                          .priority = -3,
                          .queue_pos = 2.5,
                          .slots = 4,
                          .attempts = 5,
                          .failures = 6,
                          .preemptions = 7,
                          .same_failures = 8,
                          .not_before_ms = 9,
                          .start_eta_ms = 123,
                          .step = 1ULL << 40,
                          .steps = 1ULL << 41,
                          .epoch = 1.25,
                          .images_per_s = 100.5,
                          .eta_s = NAN,
                          .created_ms = 1700000000123,
                          .started_ms = 12,
                          .finished_ms = 13};
    strcpy(row.name, "vit-s16 \xc3\xbc");
    strcpy(row.kind, "linear_probe");
    strcpy(row.user, "bob");
    strcpy(row.build, "abc-dirty");
    strcpy(row.reason, "crash");
    strcpy(row.reason_text, "The worker died by signal 11.");
    strcpy(row.backend, "host");
    strcpy(row.device, "cpu");
    strcpy(row.failure, "0123abcd");
    strcpy(row.phase, "training");
    return row;
}

static void same_state(const struct run_row *a, const struct run_row *b)
{
    cr_assert_eq(a->state, b->state);
    cr_assert_eq(a->desired, b->desired);
    cr_assert_str_eq(a->reason, b->reason);
    cr_assert_str_eq(a->reason_text, b->reason_text);
    cr_assert_eq(a->deadline_ms, b->deadline_ms);
    cr_assert_eq(a->priority, b->priority);
    cr_assert_eq(a->queue_pos, b->queue_pos);
    cr_assert_eq(a->slots, b->slots);
    cr_assert_str_eq(a->backend, b->backend);
    cr_assert_str_eq(a->device, b->device);
    cr_assert_eq(a->attempts, b->attempts);
    cr_assert_eq(a->failures, b->failures);
    cr_assert_eq(a->preemptions, b->preemptions);
    cr_assert_str_eq(a->failure, b->failure);
    cr_assert_eq(a->same_failures, b->same_failures);
    cr_assert_eq(a->not_before_ms, b->not_before_ms);
    cr_assert_eq(a->start_eta_ms, b->start_eta_ms);
    cr_assert_eq(a->sweep, b->sweep);
    cr_assert_eq(a->started_ms, b->started_ms);
    cr_assert_eq(a->finished_ms, b->finished_ms);
}

static void same_rest(const struct run_row *a, const struct run_row *b)
{
    cr_assert_str_eq(a->name, b->name);
    cr_assert_str_eq(a->kind, b->kind);
    cr_assert_str_eq(a->user, b->user);
    cr_assert_eq(a->parent, b->parent);
    cr_assert_str_eq(a->build, b->build);
    cr_assert_str_eq(a->params, b->params);
    cr_assert_str_eq(a->resolved, b->resolved);
    cr_assert_str_eq(a->tags, b->tags);
    cr_assert_str_eq(a->notes, b->notes);
    cr_assert_str_eq(a->retention, b->retention);
    cr_assert_str_eq(a->dataset, b->dataset);
    cr_assert_str_eq(a->health, b->health);
    cr_assert_str_eq(a->last, b->last);
    cr_assert_eq(a->step, b->step);
    cr_assert_eq(a->steps, b->steps);
    cr_assert_eq(a->epoch, b->epoch);
    cr_assert_eq(a->images_per_s, b->images_per_s);
    cr_assert_eq(isnan(a->eta_s), isnan(b->eta_s));
    cr_assert_str_eq(a->phase, b->phase);
    cr_assert_eq(a->ver, b->ver);
    cr_assert_eq(a->created_ms, b->created_ms);
    cr_assert_eq(a->updated_ms, b->updated_ms);
}

Test(run_row, round_trip_keeps_every_field)
{
    struct run_row parent = full_row(), row = full_row(), got;
    OK(run_row_insert(store, &parent, &err));
    cr_assert_eq(parent.id, 1);
    row.parent = parent.id;
    OK(run_row_insert(store, &row, &err));
    cr_assert_eq(row.id, 2);
    cr_assert_eq(row.ver, 1);
    cr_assert_eq(row.updated_ms, row.created_ms);
    OK(run_row_get(store, 2, &got, &err));
    same_state(&row, &got);
    same_rest(&row, &got);
    run_row_done(&got);
    cr_assert_null(got.params);
}

Test(run_row, defaults_stand_in_for_null)
{
    struct run_row row = {.kind = "knn", .slots = 1}, got;
    OK(run_row_insert(store, &row, &err));
    OK(run_row_get(store, row.id, &got, &err));
    cr_assert_str_eq(got.params, "{}");
    cr_assert_str_eq(got.tags, "[]");
    cr_assert_str_eq(got.notes, "");
    cr_assert_eq(got.parent, 0);
    run_row_done(&got);
}

Test(run_row, the_queue_grows_at_its_end)
{
    struct run_row row;
    int64_t first = fixture_run("first", 1), second = fixture_run("second", 1);
    OK(run_row_get(store, first, &row, &err));
    cr_assert_eq(row.queue_pos, 1.0);
    run_row_done(&row);
    OK(run_row_get(store, second, &row, &err));
    cr_assert_eq(row.queue_pos, 2.0);
    run_row_done(&row);
}

Test(run_row, update_state_writes_its_block_and_moves_the_version)
{
    struct run_row row = full_row(), got;
    row.state = RUN_STATE_QUEUED;
    OK(run_row_insert(store, &row, &err));
    row.state = RUN_STATE_RUNNING;
    row.desired = RUN_STATE_DESIRE_CANCEL;
    row.priority = 77;
    row.queue_pos = 0.125;
    row.not_before_ms = 0;
    strcpy(row.reason, "");
    strcpy(row.device, "GPU-1");
    OK(run_row_update_state(store, &row, 424242, &err));
    cr_assert_eq(row.ver, 2);
    cr_assert_eq(row.updated_ms, 424242);
    OK(run_row_get(store, row.id, &got, &err));
    same_state(&row, &got);
    same_rest(&row, &got);
    run_row_done(&got);
}

Test(run_row, a_stale_version_conflicts_and_changes_nothing)
{
    struct run_row mine, theirs, got;
    int64_t id = fixture_run("contested", 1);
    OK(run_row_get(store, id, &mine, &err));
    OK(run_row_get(store, id, &theirs, &err));
    theirs.state = RUN_STATE_STARTING;
    OK(run_row_update_state(store, &theirs, 2, &err));
    mine.state = RUN_STATE_CANCELED;
    GIVES(IJ_CONFLICT, run_row_update_state(store, &mine, 3, &err));
    cr_assert(strstr(err.text, "version 2, not 1"), "%s", err.text);
    cr_assert_eq(mine.ver, 1);
    GIVES(IJ_CONFLICT, run_row_update_meta(store, &mine, 3, &err));
    OK(run_row_get(store, id, &got, &err));
    cr_assert_eq(got.state, RUN_STATE_STARTING);
    cr_assert_eq(got.updated_ms, 2);
    mine.id = 999;
    GIVES(IJ_NOT_FOUND, run_row_update_state(store, &mine, 3, &err));
    run_row_done(&mine);
    run_row_done(&theirs);
    run_row_done(&got);
}

Test(run_row, update_meta_leaves_the_state_alone)
{
    struct run_row row, got;
    int64_t id = fixture_run("old", 1);
    OK(run_row_get(store, id, &row, &err));
    enum run_state before = row.state;
    row.state = RUN_STATE_FAILED;
    strcpy(row.name, "new");
    row.priority = 5;
    mem_free(row.tags);
    row.tags = mem_strdup("[\"x\"]");
    OK(run_row_update_meta(store, &row, 9, &err));
    OK(run_row_get(store, id, &got, &err));
    cr_assert_str_eq(got.name, "new");
    cr_assert_str_eq(got.tags, "[\"x\"]");
    cr_assert_eq(got.priority, 5);
    cr_assert_eq(got.state, before);
    cr_assert_eq(got.ver, 2);
    run_row_done(&row);
    run_row_done(&got);
}

Test(run_row, progress_does_not_move_the_version)
{
    struct run_row row, got;
    int64_t id = fixture_run("going", 1);
    OK(run_row_get(store, id, &row, &err));
    row.step = 10;
    row.steps = 100;
    row.eta_s = 12.5;
    strcpy(row.phase, "saving");
    OK(run_row_update_progress(store, &row, 777, &err));
    OK(run_row_get(store, id, &got, &err));
    cr_assert(got.step == 10 && got.steps == 100 && got.eta_s == 12.5);
    cr_assert_str_eq(got.phase, "saving");
    cr_assert_eq(got.ver, 1);
    cr_assert_eq(got.updated_ms, 777);
    row.id = 999;
    GIVES(IJ_NOT_FOUND, run_row_update_progress(store, &row, 777, &err));
    run_row_done(&row);
    run_row_done(&got);
}

Test(run_row, only_an_ended_run_goes_and_takes_its_rows_along)
{
    int64_t id = fixture_run("doomed", 1), child;
    struct run_row row = {.kind = "knn", .slots = 1, .parent = id}, got;
    struct attempt_row attempt = {.run = id, .n = 1};
    struct checkpoint_row checkpoint = {.run = id, .state = CHECKPOINT_ROW_VALID};
    OK(run_row_insert(store, &row, &err));
    child = row.id;
    OK(attempt_row_insert(store, &attempt, &err));
    OK(checkpoint_row_put(store, &checkpoint, &err));
    GIVES(IJ_CONFLICT, run_row_delete(store, id, &err));
    cr_assert(strstr(err.text, "queued"), "%s", err.text);
    fixture_set_state(id, RUN_STATE_FAILED);
    OK(run_row_delete(store, id, &err));
    GIVES(IJ_NOT_FOUND, run_row_delete(store, id, &err));
    GIVES(IJ_NOT_FOUND, attempt_row_get(store, id, 0, &attempt, &err));
    GIVES(IJ_NOT_FOUND, checkpoint_row_get(store, checkpoint.id, &checkpoint, &err));
    OK(run_row_get(store, child, &got, &err));
    cr_assert_eq(got.parent, 0);
    run_row_done(&got);
    cr_assert_gt(fixture_run("next", 1), child, "an id is never used twice");
}

/* Text that would be dangerous inside a statement is only text. */
Test(run_row, hostile_text_is_inert)
{
    static const char *const hostile[] = {"'; DROP TABLE run; --",
                                          "\"' OR 1=1 --",
                                          "%",
                                          "_",
                                          "a\x01\x7f",
                                          "', (SELECT sha256 FROM token)) --"};
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        struct run_row_filter filter = {.name_prefix = hostile[i], .limit = 10};
        struct run_row_list list;
        int64_t id = fixture_run(hostile[i], 1);
        OK(run_row_list(store, &filter, &list, &err));
        cr_assert_eq(list.count, 1, "%s", hostile[i]);
        cr_assert_eq(list.rows[0].id, id);
        cr_assert_str_eq(list.rows[0].name, hostile[i]);
        run_row_list_done(&list);
        filter = (struct run_row_filter){.user = hostile[i], .limit = 10};
        OK(run_row_list(store, &filter, &list, &err));
        cr_assert_eq(list.count, 0);
        filter = (struct run_row_filter){.tag = hostile[i], .limit = 10};
        OK(run_row_list(store, &filter, &list, &err));
        cr_assert_eq(list.count, 0);
        filter = (struct run_row_filter){.kind = hostile[i], .limit = 10};
        OK(run_row_list(store, &filter, &list, &err));
        cr_assert_eq(list.count, 0);
    }
    OK(store_check(store, &err));
}
