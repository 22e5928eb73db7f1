/* Writing metrics: streams and their limits, group commit, what a failure loses, deletion. */
#include "tests/unit/metric_model.h"

#include "store/handle.h"

TestSuite(metric_store, .init = fixture_open, .fini = fixture_close, .timeout = 120);

static const char *const keys[] = {"loss", "lr"};

static int64_t make_stream(int64_t run, int32_t attempt, const char *name)
{
    int64_t id;
    OK(metric_store_stream(store, run, attempt, name, keys, 2, &id, &err));
    return id;
}

static enum ij_status put(int64_t stream, uint64_t step, float value)
{
    return metric_store_put(store, stream, step, 1, (float[]){value, 1}, 2, &err);
}

static int64_t frames(void)
{
    return fixture_value("metrics.db", "SELECT count(*) FROM frame");
}

Test(metric_store, a_stream_is_found_again_and_new_keys_make_a_new_one)
{
    int64_t a = make_stream(1, 1, "train"), other;
    cr_assert_eq(make_stream(1, 1, "train"), a);
    OK(metric_store_stream(store, 1, 1, "train", keys, 1, &other, &err));
    cr_assert_neq(other, a);
    cr_assert_neq(make_stream(1, 2, "train"), a);
    cr_assert_neq(make_stream(2, 1, "train"), a);
    cr_assert_neq(make_stream(1, 1, "eval"), a);
    fixture_reopen();
    cr_assert_eq(make_stream(1, 1, "train"), a);
}

Test(metric_store, streams_are_checked)
{
    int64_t id;
    const char *many[METRIC_STORE_KEYS_MAX + 1];
    char names[METRIC_STORE_KEYS_MAX + 1][16];
    for (int i = 0; i <= METRIC_STORE_KEYS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        many[i] = names[i];
    }
    OK(metric_store_stream(store, 1, 1, "wide", many, METRIC_STORE_KEYS_MAX, &id, &err));
    GIVES(IJ_INVALID,
          metric_store_stream(store, 1, 1, "wide", many, METRIC_STORE_KEYS_MAX + 1, &id, &err));
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "none", many, 0, &id, &err));
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "a b", keys, 2, &id, &err));
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "", keys, 2, &id, &err));
    GIVES(IJ_INVALID, metric_store_stream(store, -1, 1, "train", keys, 2, &id, &err));
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 0, "train", keys, 2, &id, &err));
    const char *twice[] = {"a", "b", "a"};
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "train", twice, 3, &id, &err));
    cr_assert(strstr(err.text, "\"a\""), "%s", err.text);
}

Test(metric_store, keys_are_checked)
{
    int64_t id;
    static char longest[METRIC_STORE_KEY_MAX + 2];
    memset(longest, 'k', METRIC_STORE_KEY_MAX);
    const char *key = longest;
    OK(metric_store_stream(store, 1, 1, "train", &key, 1, &id, &err));
    longest[METRIC_STORE_KEY_MAX] = 'k';
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "train", &key, 1, &id, &err));
    static const char *const bad[] = {"", "a b", "a,b", "a\"b", "a\\b", "a\nb", "\xc3\xbc"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "train", &bad[i], 1, &id, &err));
    static const char *const good[] = {"train/loss", "ssl/rankme", "a'b", "x.y-z_1", "%s"};
    OK(metric_store_stream(store, 1, 1, "train", good, COUNT_OF(good), &id, &err));
}

Test(metric_store, an_attempt_has_at_most_256_streams)
{
    int64_t id;
    char name[16];
    for (int i = 0; i < METRIC_STORE_STREAMS_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        OK(metric_store_stream(store, 1, 1, name, keys, 2, &id, &err));
    }
    GIVES(IJ_INVALID, metric_store_stream(store, 1, 1, "more", keys, 2, &id, &err));
    OK(metric_store_stream(store, 1, 1, "s7", keys, 2, &id, &err));
    OK(metric_store_stream(store, 1, 2, "more", keys, 2, &id, &err));
}

Test(metric_store, frames_are_checked_and_a_bad_one_spoils_nothing)
{
    int64_t id = make_stream(1, 1, "train");
    float three[3] = {0};
    OK(put(id, 1, 0.5f));
    GIVES(IJ_INVALID, metric_store_put(store, id, 2, 1, three, 3, &err));
    GIVES(IJ_INVALID, metric_store_put(store, id, 2, 1, three, 1, &err));
    GIVES(IJ_NOT_FOUND, put(id + 1, 2, 0.5f));
    GIVES(IJ_INVALID, put(id, (1ULL << 62) + 1, 0.5f));
    cr_assert(store->metrics.begun);
    OK(put(id, 1ULL << 62, 0.5f));
    OK(metric_store_commit(store, &err));
    cr_assert_eq(frames(), 2);
    GIVES(IJ_NOT_FOUND, put(id + 1, 2, 0.5f));
    cr_assert(!store->metrics.begun, "an empty transaction would keep the log from being emptied");
}

Test(metric_store, nothing_is_visible_before_the_commit)
{
    struct store *reader;
    struct metric_catalogue_entry *entries;
    size_t count;
    int64_t id = make_stream(1, 1, "train");
    OK(store_reader_open(fixture_dir, &reader, &err));
    cr_assert_eq(metric_store_pending(store), 0);
    OK(put(id, 1, 0.5f));
    cr_assert_gt(metric_store_pending(store), 0);
    OK(metric_query_catalogue(reader, 1, &entries, &count, &err));
    cr_assert_eq(count, 0);
    mem_free(entries);
    OK(metric_store_commit(store, &err));
    cr_assert_eq(metric_store_pending(store), 0);
    OK(metric_query_catalogue(reader, 1, &entries, &count, &err));
    cr_assert_eq(count, 2);
    mem_free(entries);
    store_close(reader);
    OK(metric_store_commit(store, &err));
}

Test(metric_store, closing_loses_what_was_not_committed)
{
    int64_t id = make_stream(1, 1, "train");
    OK(put(id, 1, 0.5f));
    OK(metric_store_commit(store, &err));
    OK(put(id, 2, 0.5f));
    fixture_reopen();
    cr_assert_eq(frames(), 1);
}

/* SQLite may roll back by itself in the middle: no later commit may then acknowledge. */
Test(metric_store, a_loss_is_told_by_the_next_commit_and_only_by_it)
{
    int64_t id = make_stream(1, 1, "train");
    OK(put(id, 1, 0.5f));
    OK(metric_store_commit(store, &err));
    OK(put(id, 2, 0.5f));
    cr_assert_eq(sqlite3_exec(store->metrics.handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_neq(put(id, 3, 0.5f), IJ_OK);
    cr_assert_neq(put(id, 4, 0.5f), IJ_OK);
    cr_assert_gt(metric_store_pending(store), 0, "who commits only if something is pending asks");
    cr_assert_neq(metric_store_commit(store, &err), IJ_OK);
    cr_assert_eq(metric_store_pending(store), 0);
    cr_assert(strstr(err.text, "send them again"), "%s", err.text);
    OK(metric_store_commit(store, &err));
    OK(put(id, 2, 0.5f));
    OK(metric_store_commit(store, &err));
    cr_assert_eq(frames(), 2);
}

Test(metric_store, a_loss_found_by_the_commit_itself_is_told_once)
{
    int64_t id = make_stream(1, 1, "train");
    OK(put(id, 2, 0.5f));
    cr_assert_eq(sqlite3_exec(store->metrics.handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_neq(metric_store_commit(store, &err), IJ_OK);
    OK(metric_store_commit(store, &err));
}

/* A new stream commits what is pending; a loss then is told by the commit that would
 * acknowledge. */
Test(metric_store, a_loss_found_by_a_new_stream_is_told_by_the_commit)
{
    int64_t id = make_stream(1, 1, "train"), other;
    OK(put(id, 2, 0.5f));
    cr_assert_eq(sqlite3_exec(store->metrics.handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_neq(metric_store_stream(store, 1, 1, "eval", keys, 2, &other, &err), IJ_OK);
    cr_assert_neq(metric_store_commit(store, &err), IJ_OK);
    OK(metric_store_commit(store, &err));
}

Test(metric_store, more_live_streams_than_are_kept_open)
{
    enum { STREAMS = 300, STEPS = 70 };
    int64_t ids[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        ids[i] = make_stream(i + 1, 1, "train");
    for (uint64_t step = 0; step < STEPS; step++)
        for (int i = 0; i < STREAMS; i++)
            OK(put(ids[i], step, (float)i));
    OK(metric_store_commit(store, &err));
    cr_assert_eq(frames(), STREAMS * STEPS);
    cr_assert_eq(fixture_value("metrics.db", "SELECT count(*) FROM frame_lod WHERE lvl=6"),
                 2 * STREAMS);
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=12"),
                 STREAMS * STEPS);
}

Test(metric_store, superseding_again_never_brings_frames_back)
{
    int64_t a = make_stream(1, 1, "train");
    make_stream(1, 3, "train");
    OK(metric_store_supersede(store, 1, 2, 50, &err));
    OK(metric_store_supersede(store, 1, 3, 80, &err));
    cr_assert_eq(fixture_value("metrics.db", "SELECT dead_after FROM stream WHERE attempt=1"), 50);
    OK(metric_store_supersede(store, 1, 3, 20, &err));
    cr_assert_eq(fixture_value("metrics.db", "SELECT dead_after FROM stream WHERE attempt=1"), 20);
    cr_assert_eq(
        fixture_value("metrics.db", "SELECT dead_after IS NULL FROM stream WHERE attempt=3"), 1);
    OK(put(a, 60, 1));
    OK(metric_store_commit(store, &err));
}

Test(metric_store, a_run_is_deleted_in_parts_and_others_stay)
{
    int64_t a = make_stream(1, 1, "train"), b = make_stream(1, 2, "train");
    int64_t keep = make_stream(2, 1, "train");
    for (uint64_t step = 0; step < 12000; step++) {
        OK(put(a, step, 1));
        if (step < 3000)
            OK(put(b, step, 1));
        if (step < 100)
            OK(put(keep, step, 1));
    }
    OK(metric_store_commit(store, &err));
    int64_t pages = fixture_value("metrics.db", "PRAGMA page_count");
    bool done = false;
    int calls = 0;
    for (; !done; calls++)
        OK(metric_store_delete_run(store, 1, &done, &err));
    cr_assert_eq(calls, 2);
    cr_assert_lt(fixture_value("metrics.db", "PRAGMA page_count"), pages / 4);
    cr_assert_eq(fixture_value("metrics.db", "PRAGMA freelist_count"), 0);
    cr_assert_eq(frames(), 100);
    cr_assert_eq(fixture_value("metrics.db", "SELECT count(*) FROM stream"), 1);
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=12"), 100);
    GIVES(IJ_NOT_FOUND, put(a, 1, 1));
    OK(metric_store_delete_run(store, 77, &done, &err));
    cr_assert(done);
}

Test(metric_store, out_of_memory_loses_nothing_acknowledged)
{
    int64_t id = make_stream(1, 1, "train"), acknowledged = 0;
    for (long n = 0; n < 40; n++) {
        fixture_reopen();
        mem_fail_after(n % 8);
        enum ij_status status = put(id, (uint64_t)n, 1);
        enum ij_status commit = metric_store_commit(store, &err);
        mem_fail_after(-1);
        cr_assert(status == IJ_OK || commit != IJ_OK);
        acknowledged += commit == IJ_OK;
    }
    cr_assert(acknowledged > 0 && acknowledged < 40);
    cr_assert_eq(frames(), acknowledged);
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=6"),
                 acknowledged);
}

/* Frames below one step go, summaries below another; other runs keep theirs. */
Test(metric_store, trims_what_is_old)
{
    int64_t machine, run;
    fixture_open();
    OK(metric_store_stream(store, METRIC_STORE_MACHINE, 1, "GPU-a", keys, 2, &machine, &err));
    OK(metric_store_stream(store, 1, 1, "train", keys, 2, &run, &err));
    for (uint64_t step = 0; step < 300; step++) {
        float values[2] = {(float)step, 0};
        OK(metric_store_put(store, machine, step, 0, values, 2, &err));
        OK(metric_store_put(store, run, step, 0, values, 2, &err));
    }
    OK(metric_store_commit(store, &err));
    OK(metric_store_trim(store, METRIC_STORE_MACHINE, 200, 128, &err));
    cr_assert_eq(fixture_value("metrics.db", "SELECT count(*) FROM frame JOIN stream ON id=stream"
                                             " WHERE run=0"),
                 100);
    cr_assert_eq(fixture_value("metrics.db", "SELECT min(step) FROM frame JOIN stream ON id=stream"
                                             " WHERE run=0"),
                 200);
    cr_assert_eq(fixture_value("metrics.db", "SELECT count(*) FROM frame JOIN stream ON id=stream"
                                             " WHERE run=1"),
                 300);
    cr_assert_eq(fixture_value("metrics.db", "SELECT min(bucket) FROM frame_lod JOIN stream"
                                             " ON id=stream WHERE run=0 AND lvl=6"),
                 2, "the summaries of steps 0 to 127 go, others stay");
    fixture_close();
}
