/* Lists of runs: order, filters, pages. */
#include "tests/unit/store_fixture.h"

#include "base/rng.h"

TestSuite(run_row_list, .init = fixture_open, .fini = fixture_close);

#define RUNS 120

static struct rng rng;

static void make_runs(void)
{
    rng_init(&rng, 7, RNG_TEST, 0, 0);
    OK(store_begin(store, &err));
    for (int i = 0; i < RUNS; i++) {
        struct run_row row = {.kind = "pretrain", .slots = 1};
        snprintf(row.name, sizeof row.name, "run-%03d", i);
        snprintf(row.user, sizeof row.user, "user%d", i % 3);
        strcpy(row.kind, i % 4 ? "pretrain" : "knn");
        row.tags = i % 5 ? "[\"big\",\"x\"]" : "[\"small\"]";
        row.state = (enum run_state)(i % RUN_STATE_COUNT);
        row.priority = (int32_t)rng_below(&rng, 4) - 2;
        row.created_ms = 1000 + rng_below(&rng, 20); /* many ties */
        OK(run_row_insert(store, &row, &err));
    }
    OK(store_commit(store, &err));
}

static int64_t key_of(const struct run_row *row, enum run_row_sort sort)
{
    return sort == RUN_ROW_BY_PRIORITY  ? row->priority
           : sort == RUN_ROW_BY_UPDATED ? row->updated_ms
                                        : row->created_ms;
}

/* Walks every page; asserts order, no repetition, no gap. */
static void walk(enum run_row_sort sort, bool ascending, uint32_t limit, bool insert_between)
{
    struct run_row_filter filter = {.sort = sort, .ascending = ascending, .limit = limit};
    bool seen[RUNS + 1] = {false};
    int count = 0;
    int64_t last_key = 0, last_id = 0;
    for (bool more = true; more;) {
        struct run_row_list list;
        OK(run_row_list(store, &filter, &list, &err));
        cr_assert(list.count == limit || !list.more);
        for (size_t i = 0; i < list.count; i++) {
            int64_t key = key_of(&list.rows[i], sort), id = list.rows[i].id;
            int64_t order = key != last_key ? key - last_key : id - last_id;
            cr_assert(last_id == 0 || (ascending ? order > 0 : order < 0));
            last_key = key;
            last_id = id;
            if (id > RUNS)
                continue;
            cr_assert(!seen[id]);
            seen[id] = true;
            count++;
        }
        filter.after = list.next;
        more = list.more;
        run_row_list_done(&list);
        if (insert_between) {
            fixture_run("newcomer", 900);
            fixture_run("newcomer", 5000);
        }
        if (insert_between && filter.after.id > 3 * RUNS) /* newcomers without end, upwards */
            break;
    }
    if (!insert_between || !ascending)
        cr_assert_eq(count, RUNS);
}

Test(run_row_list, pages_have_no_gaps_and_no_repetitions)
{
    make_runs();
    for (int sort = 0; sort < 3; sort++)
        for (int ascending = 0; ascending < 2; ascending++) {
            walk((enum run_row_sort)sort, ascending, 1, false);
            walk((enum run_row_sort)sort, ascending, 7, false);
            walk((enum run_row_sort)sort, ascending, RUNS, false);
            walk((enum run_row_sort)sort, ascending, 500, false);
        }
}

Test(run_row_list, insertions_between_pages_disturb_nothing)
{
    make_runs();
    walk(RUN_ROW_BY_CREATED, false, 7, true);
    walk(RUN_ROW_BY_PRIORITY, false, 7, true);
    walk(RUN_ROW_BY_UPDATED, false, 7, true);
}

static size_t count_matches(struct run_row_filter filter)
{
    struct run_row_list list;
    int64_t count;
    filter.limit = 500;
    OK(run_row_list(store, &filter, &list, &err));
    OK(run_row_count(store, &filter, &count, &err));
    cr_assert_eq(count, (int64_t)list.count);
    size_t n = list.count;
    run_row_list_done(&list);
    return n;
}

Test(run_row_list, filters_choose_and_combine)
{
    make_runs();
    cr_assert_eq(count_matches((struct run_row_filter){.limit = 1}), RUNS);
    cr_assert_eq(count_matches((struct run_row_filter){.kind = "knn"}), RUNS / 4);
    cr_assert_eq(count_matches((struct run_row_filter){.user = "user1"}), RUNS / 3);
    cr_assert_eq(count_matches((struct run_row_filter){.tag = "small"}), RUNS / 5);
    cr_assert_eq(count_matches((struct run_row_filter){.tag = "smal"}), 0);
    cr_assert_eq(count_matches((struct run_row_filter){.name_prefix = "run-01"}), 10);
    cr_assert_eq(count_matches((struct run_row_filter){.name_prefix = "un-01"}), 0);
    cr_assert_eq(
        count_matches((struct run_row_filter){.states = RUN_STATE_BIT(RUN_STATE_QUEUED) |
                                                        RUN_STATE_BIT(RUN_STATE_QUARANTINED)}),
        2 * RUNS / RUN_STATE_COUNT);
    cr_assert_eq(count_matches((struct run_row_filter){.states = run_state_live_mask()}),
                 8 * RUNS / RUN_STATE_COUNT);
    cr_assert_eq(count_matches((struct run_row_filter){.kind = "knn", .tag = "small"}), RUNS / 20);
}

Test(run_row_list, the_limit_is_1_to_500)
{
    struct run_row_list list;
    struct run_row_filter filter = {.limit = 0};
    GIVES(IJ_INVALID, run_row_list(store, &filter, &list, &err));
    cr_assert_str_eq(err.field, "limit");
    filter.limit = RUN_ROW_LIST_MAX + 1;
    GIVES(IJ_INVALID, run_row_list(store, &filter, &list, &err));
    filter.limit = RUN_ROW_LIST_MAX;
    OK(run_row_list(store, &filter, &list, &err));
    cr_assert(list.count == 0 && !list.more);
    run_row_list_done(&list);
}

Test(run_row_list, live_runs_come_in_scheduling_order)
{
    struct run_row_list list;
    make_runs();
    OK(run_row_live(store, &list, &err));
    cr_assert_eq(list.count, 8 * RUNS / RUN_STATE_COUNT);
    for (size_t i = 0; i < list.count; i++) {
        cr_assert(run_state_is_live(list.rows[i].state));
        if (i == 0)
            continue;
        const struct run_row *a = &list.rows[i - 1], *b = &list.rows[i];
        cr_assert(a->priority > b->priority ||
                  (a->priority == b->priority && a->queue_pos < b->queue_pos));
    }
    run_row_list_done(&list);
}

Test(run_row_list, counts_by_state)
{
    int64_t counts[RUN_STATE_COUNT];
    make_runs();
    OK(run_row_count_by_state(store, counts, &err));
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        cr_assert_eq(counts[i], RUNS / RUN_STATE_COUNT);
}

Test(run_row_list, out_of_memory_is_an_error_and_leaks_nothing)
{
    struct run_row_filter filter = {.limit = 100};
    make_runs();
    for (long n = 0;; n++) {
        struct run_row_list list;
        mem_fail_after(n);
        enum ij_status status = run_row_list(store, &filter, &list, &err);
        mem_fail_after(-1);
        if (status == IJ_OK) {
            cr_assert_eq(list.count, 100);
            cr_assert_gt(n, 100);
            run_row_list_done(&list);
            return;
        }
        cr_assert_eq(status, IJ_NO_MEMORY, "%s", err.text);
    }
}

/* A filter that matches little must not have every row read. */
Test(run_row_list, what_is_filtered_by_lies_in_the_index_of_each_order)
{
    static const char *const indices[] = {"run_created", "run_priority", "run_updated"};
    for (size_t i = 0; i < COUNT_OF(indices); i++) {
        char sql[160];
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM pragma_index_info('%s') WHERE name IN"
                 "('state','kind','user','parent','name','tags')",
                 indices[i]);
        cr_expect_eq(fixture_value("state.db", sql), 6, "%s", indices[i]);
    }
}
