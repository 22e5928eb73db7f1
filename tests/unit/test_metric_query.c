/* Metric queries against the naive model: buckets, ranges, raw, catalogue, limits. */
#include "tests/unit/metric_model.h"

#include "store/handle.h"

TestSuite(metric_query, .init = fixture_open, .fini = fixture_close, .timeout = 240);

static const char *const keys_a[] = {"loss", "lr"};
static const char *const keys_b[] = {"lr", "grad_norm", "loss"};
static const char *const keys_c[] = {"rankme"};
static struct rng rng;

static float any_value(void)
{
    uint32_t die = rng_below(&rng, 50);
    return die == 0 ? NAN : die == 1 ? INFINITY : (float)rng_normal(&rng);
}

static void put_random(struct model_stream *stream, uint64_t step)
{
    float values[MODEL_KEYS_MAX];
    for (size_t k = 0; k < stream->key_count; k++)
        values[k] = any_value();
    model_put(stream, step, values);
}

/* Steps forward, sometimes far; sometimes an older one, the same again, or another value for it. */
static void random_frame(struct model_stream *stream, uint64_t base)
{
    uint32_t die = rng_below(&rng, 100);
    uint64_t next = stream->newest + 1 + rng_below(&rng, 3);
    if (die == 0)
        next += rng_below(&rng, 1500);
    if (next < base)
        next = base;
    if (die < 85) {
        if (next < MODEL_STEPS)
            put_random(stream, next);
        return;
    }
    if (stream->newest <= base)
        return;
    uint64_t older = base + rng_below(&rng, (uint32_t)(stream->newest - base));
    if (die < 92 && stream->present[older])
        model_put(stream, older, stream->values[older]);
    else
        put_random(stream, older);
}

static void fill_model(uint64_t seed)
{
    uint64_t base = 0;
    rng_init(&rng, seed, RNG_TEST, 0, 0);
    model_count = 0;
    for (int attempt = 1; attempt <= 4; attempt++) {
        size_t first = model_count;
        model_add(1, attempt, "eval", keys_c, 1);
        model_add(1, attempt, "train", keys_a, 2);
        model_add(1, attempt, "train", keys_b, 3);
        for (int i = 0; i < 1500; i++) {
            random_frame(&model[first + rng_below(&rng, 3)], base);
            if (rng_below(&rng, 40) == 0)
                OK(metric_store_commit(store, &err));
            if (rng_below(&rng, 400) == 0) {
                OK(metric_store_commit(store, &err));
                fixture_reopen();
            }
        }
        base = attempt == 2 ? 0 : model[first + 1].newest * (2 + rng_below(&rng, 3)) / 5;
        if (attempt < 4)
            model_supersede(1, attempt + 1, base);
        base = base ? base + 1 : 0;
    }
    OK(metric_store_commit(store, &err));
}

static void same_float(float a, float b)
{
    cr_assert(a == b || (isnan(a) && isnan(b)), "%g is not %g", (double)a, (double)b);
}

static void check_column(const struct metric_result *result, const struct metric_table *table,
                         const struct metric_series *series, uint64_t from, uint64_t to)
{
    uint64_t count = 0, nonfinite = 0;
    for (size_t i = 0; i < table->rows; i++) {
        uint64_t lo = table->step[i], hi = lo + result->width - 1;
        struct model_answer a =
            model_ask(table->stream, series->key, lo < from ? from : lo, hi > to ? to : hi);
        float none = NAN;
        count += a.count;
        nonfinite += a.count - a.finite;
        if (!series->min) { /* raw */
            same_float(series->last[i], a.count ? a.newest : none);
            continue;
        }
        same_float(series->last[i], a.finite ? a.last : none);
        same_float(series->min[i], a.finite ? a.min : none);
        same_float(series->max[i], a.finite ? a.max : none);
        double mean = a.finite ? a.sum / (double)a.finite : NAN;
        cr_assert(isnan(mean) ? isnan(series->mean[i])
                              : fabs((double)series->mean[i] - mean) < 1e-6 * (1 + fabs(mean)));
    }
    struct model_answer all = model_ask(table->stream, series->key, from, to);
    cr_assert_eq(series->count, all.count, "%s: %llu frames, not %llu", series->key,
                 (unsigned long long)series->count, (unsigned long long)all.count);
    cr_assert_eq(count, all.count, "buckets leave frames out");
    cr_assert_eq(series->nonfinite, nonfinite);
}

static void check_table(const struct metric_result *result, const struct metric_table *table,
                        uint64_t from, uint64_t to)
{
    cr_assert_gt(table->rows, 0);
    for (size_t i = 0; i < table->rows; i++) {
        cr_assert_eq(table->step[i] % result->width, 0,
                     "buckets begin at multiples of their width");
        cr_assert(i == 0 || table->step[i] > table->step[i - 1]);
    }
    for (size_t c = 0; c < table->columns; c++)
        check_column(result, table, &table->series[c], from, to);
}

static size_t check_query(struct store *from_store, const struct metric_query *query)
{
    struct metric_result result;
    OK(metric_query(from_store, query, &result, &err));
    cr_assert_eq(result.width & (result.width - 1), 0, "a power of two");
    for (size_t i = 0; i < result.count; i++) {
        cr_assert(query->raw || result.tables[i].rows <= query->max_points);
        check_table(&result, &result.tables[i], query->from, query->to);
    }
    size_t count = result.count;
    metric_query_done(&result);
    return count;
}

static void check_random_queries(struct store *from_store, int count)
{
    static const char *const keys[] = {"train/loss", "lr", "rankme", "grad_norm"};
    static const int64_t run = 1;
    for (int i = 0; i < count; i++) {
        struct metric_query query = {.runs = &run,
                                     .run_count = 1,
                                     .keys = keys,
                                     .key_count = 4,
                                     .max_points = 1 + rng_below(&rng, 300),
                                     .to = UINT64_MAX,
                                     .raw = i % 8 == 7};
        if (i % 4) {
            query.from = rng_below(&rng, MODEL_STEPS);
            query.to = query.from + rng_below(&rng, 9000);
        }
        if (i == 0 || i == 4)
            query.max_points = 1;
        size_t tables = check_query(from_store, &query);
        cr_assert(i % 4 || tables == 2);
    }
}

static void check_seed(uint64_t seed)
{
    struct store *reader;
    fill_model(seed);
    OK(store_reader_open(fixture_dir, &reader, &err));
    reader->metrics.limit_ns = 0; /* the machine may be slow; limits have their own test */
    check_random_queries(reader, 40);
    store_close(reader);
    check_random_queries(store, 8);
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=6"),
                 fixture_value("metrics.db", "SELECT count(*) FROM frame"));
    cr_assert_eq(fixture_value("metrics.db", "SELECT sum(n) FROM frame_lod WHERE lvl=12"),
                 fixture_value("metrics.db", "SELECT count(*) FROM frame"));
    OK(store_check(store, &err));
}

Test(metric_query, agrees_with_the_model_1)
{
    check_seed(1);
}

Test(metric_query, agrees_with_the_model_2)
{
    check_seed(2);
}

Test(metric_query, agrees_with_the_model_3)
{
    check_seed(3);
}

Test(metric_query, agrees_with_the_model_4)
{
    check_seed(4);
}

Test(metric_query, the_catalogue_agrees_with_the_model)
{
    struct metric_catalogue_entry *entries;
    size_t count;
    fill_model(5);
    OK(metric_query_catalogue(store, 1, &entries, &count, &err));
    cr_assert_eq(count, 4);
    cr_assert_str_eq(entries[0].stream, "eval");
    cr_assert_str_eq(entries[1].key, "grad_norm");
    for (size_t i = 0; i < count; i++) {
        struct model_answer a = model_ask(entries[i].stream, entries[i].key, 0, UINT64_MAX);
        cr_assert_eq(entries[i].count, a.count);
        cr_assert_eq(entries[i].nonfinite, a.count - a.finite);
        same_float(entries[i].min, a.min);
        same_float(entries[i].max, a.max);
        same_float(entries[i].last, a.last);
    }
    mem_free(entries);
    OK(metric_query_catalogue(store, 2, &entries, &count, &err));
    cr_assert_eq(count, 0);
    mem_free(entries);
}

static struct model_stream *straight_run(int64_t run, uint64_t steps)
{
    struct model_stream *stream = model_add(run, 1, "train", keys_a, 2);
    for (uint64_t step = 0; step < steps; step++) {
        float values[2] = {(float)step, 1};
        OK(metric_store_put(store, stream->id, step, 1, values, 2, &err));
    }
    OK(metric_store_commit(store, &err));
    return stream;
}

static struct metric_query ask(const int64_t *runs, size_t count, uint32_t max_points)
{
    return (struct metric_query){.runs = runs,
                                 .run_count = count,
                                 .keys = keys_a,
                                 .key_count = 1,
                                 .to = UINT64_MAX,
                                 .max_points = max_points};
}

/* Wide buckets are answered from the summaries: they remain when the frames below are gone. */
Test(metric_query, wide_buckets_come_from_the_summaries)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 4);
    struct metric_result result;
    straight_run(1, 16384);
    fixture_sql("metrics.db", "DELETE FROM frame WHERE step NOT IN(0,16383)");
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.width, 4096);
    cr_assert_eq(result.tables[0].rows, 4);
    cr_assert_eq(result.tables[0].series[0].count, 16384);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(result.tables[0].series[0].min[i], (float)(4096 * i));
        cr_assert_eq(result.tables[0].series[0].max[i], (float)(4096 * i + 4095));
        cr_assert_eq(result.tables[0].series[0].mean[i], (float)(4096 * i) + 2047.5f);
    }
    metric_query_done(&result);
}

Test(metric_query, the_width_is_the_smallest_that_fits)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 1000);
    struct metric_result result;
    straight_run(1, 1000);
    OK(metric_query(store, &query, &result, &err));
    cr_assert(result.width == 1 && result.tables[0].rows == 1000);
    metric_query_done(&result);
    query.max_points = 999;
    OK(metric_query(store, &query, &result, &err));
    cr_assert(result.width == 2 && result.tables[0].rows == 500);
    metric_query_done(&result);
    query.max_points = 1;
    OK(metric_query(store, &query, &result, &err));
    cr_assert(result.width == 1024 && result.tables[0].rows == 1);
    metric_query_done(&result);
}

/* So that no query reads more frames than its time limit allows. */
Test(metric_query, a_long_range_is_read_through_summaries)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, METRIC_QUERY_POINTS_MAX);
    struct metric_result result;
    struct model_stream *stream = straight_run(1, METRIC_QUERY_SCAN_MAX);
    OK(metric_query(store, &query, &result, &err));
    cr_assert(result.width == 8 && result.tables[0].rows == METRIC_QUERY_SCAN_MAX / 8);
    metric_query_done(&result);
    OK(metric_store_put(store, stream->id, METRIC_QUERY_SCAN_MAX, 1, (float[]){0, 0}, 2, &err));
    OK(metric_query(store, &query, &result, &err));
    cr_assert(result.width == 64 && result.tables[0].rows == METRIC_QUERY_SCAN_MAX / 64 + 1);
    metric_query_done(&result);
}

Test(metric_query, an_old_bucket_does_not_move_when_points_arrive)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 100);
    struct metric_result before, after;
    struct model_stream *stream = straight_run(1, 5000);
    OK(metric_query(store, &query, &before, &err));
    for (uint64_t step = 5000; step < 5100; step++)
        OK(metric_store_put(store, stream->id, step, 1, (float[]){0, 0}, 2, &err));
    OK(metric_store_commit(store, &err));
    OK(metric_query(store, &query, &after, &err));
    cr_assert_eq(before.width, after.width);
    for (size_t i = 0; i + 1 < before.tables[0].rows; i++) {
        cr_assert_eq(before.tables[0].step[i], after.tables[0].step[i]);
        cr_assert_eq(before.tables[0].series[0].max[i], after.tables[0].series[0].max[i]);
    }
    metric_query_done(&before);
    metric_query_done(&after);
}

Test(metric_query, several_runs_in_the_order_asked_each_once)
{
    static const int64_t runs[] = {3, 1, 3, 9};
    struct metric_query query = ask(runs, 4, 10);
    struct metric_result result;
    straight_run(1, 10);
    straight_run(3, 20);
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.count, 2);
    cr_assert(result.tables[0].run == 3 && result.tables[1].run == 1);
    cr_assert_eq(result.tables[0].series[0].count, 20);
    cr_assert_eq(result.width, 2);
    metric_query_done(&result);
}

/* A new attempt that sends the step it resumed from again: once, and the newer value. */
Test(metric_query, raw_has_every_step_once)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 0);
    struct metric_result result;
    int64_t second;
    query.raw = true;
    straight_run(1, 11);
    OK(metric_store_stream(store, 1, 2, "train", keys_b, 3, &second, &err));
    OK(metric_store_supersede(store, 1, 2, 5, &err));
    for (uint64_t step = 5; step < 8; step++)
        OK(metric_store_put(store, second, step, 1, (float[]){0, 0, -(float)step}, 3, &err));
    OK(metric_store_commit(store, &err));
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.tables[0].rows, 8);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(result.tables[0].step[i], i);
        cr_assert_eq(result.tables[0].series[0].last[i], i < 5 ? (float)i : -(float)i);
    }
    cr_assert(!result.tables[0].series[0].min);
    metric_query_done(&result);
}

/* What the first attempt had logged beyond the step that the second one went back to. */
Test(metric_query, superseded_frames_can_be_asked_for)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 0);
    struct metric_result result;
    int64_t second;
    query.superseded = true;
    query.max_points = 1000;
    straight_run(1, 200);
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.count, 0, "nothing is superseded yet");
    metric_query_done(&result);
    OK(metric_store_stream(store, 1, 2, "train", keys_b, 3, &second, &err));
    OK(metric_store_supersede(store, 1, 2, 100, &err));
    OK(metric_store_put(store, second, 101, 1, (float[]){0, 0, -1}, 3, &err));
    OK(metric_store_commit(store, &err));
    for (int raw = 0; raw < 2; raw++) {
        query.raw = raw;
        OK(metric_query(store, &query, &result, &err));
        cr_assert_eq(result.count, 1);
        cr_assert_eq(result.tables[0].rows, 99);
        cr_assert_eq(result.tables[0].step[0], 101);
        cr_assert_eq(result.tables[0].series[0].last[0], 101.0f);
        cr_assert_eq(result.tables[0].series[0].last[98], 199.0f);
        metric_query_done(&result);
    }
}

Test(metric_query, raw_stops_at_100000_points)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 0);
    struct metric_result result;
    query.raw = true;
    query.key_count = 2;
    struct model_stream *stream = straight_run(1, METRIC_QUERY_RAW_MAX / 2);
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.tables[0].rows, METRIC_QUERY_RAW_MAX / 2);
    metric_query_done(&result);
    OK(metric_store_put(store, stream->id, METRIC_QUERY_RAW_MAX, 1, (float[]){0, 0}, 2, &err));
    GIVES(IJ_TOO_LARGE, metric_query(store, &query, &result, &err));
    query.key_count = 1;
    OK(metric_query(store, &query, &result, &err));
    metric_query_done(&result);
}

Test(metric_query, counts_have_limits)
{
    int64_t runs[METRIC_QUERY_RUNS_MAX + 1];
    const char *keys[METRIC_QUERY_KEYS_MAX + 1];
    struct metric_result result;
    for (int i = 0; i <= METRIC_QUERY_RUNS_MAX; i++)
        runs[i] = i + 1;
    for (int i = 0; i <= METRIC_QUERY_KEYS_MAX; i++)
        keys[i] = "loss";
    struct metric_query query = {.runs = runs,
                                 .run_count = METRIC_QUERY_RUNS_MAX,
                                 .keys = keys,
                                 .key_count = METRIC_QUERY_KEYS_MAX,
                                 .to = UINT64_MAX,
                                 .max_points = METRIC_QUERY_POINTS_MAX};
    OK(metric_query(store, &query, &result, &err));
    cr_assert_eq(result.count, 0);
    metric_query_done(&result);
    struct metric_query wrong = query;
    wrong.run_count++;
    GIVES(IJ_INVALID, metric_query(store, &wrong, &result, &err));
    cr_assert_str_eq(err.field, "runs");
    wrong = query;
    wrong.key_count++;
    GIVES(IJ_INVALID, metric_query(store, &wrong, &result, &err));
    cr_assert_str_eq(err.field, "keys");
    wrong = query;
    wrong.max_points++;
    GIVES(IJ_INVALID, metric_query(store, &wrong, &result, &err));
    cr_assert_str_eq(err.field, "max_points");
    wrong.max_points = 0;
    GIVES(IJ_INVALID, metric_query(store, &wrong, &result, &err));
    wrong = query;
    wrong.from = 2;
    wrong.to = 1;
    GIVES(IJ_INVALID, metric_query(store, &wrong, &result, &err));
    cr_assert_str_eq(err.field, "from");
}

Test(metric_query, out_of_memory_is_an_error_and_the_next_query_works)
{
    static const int64_t run = 1;
    struct metric_query query = ask(&run, 1, 10);
    struct metric_result result;
    straight_run(1, 300);
    for (int raw = 0; raw < 2; raw++) {
        query.raw = raw;
        enum ij_status status = IJ_NO_MEMORY;
        for (long n = 0; status != IJ_OK; n++) {
            mem_fail_after(n);
            status = metric_query(store, &query, &result, &err);
            mem_fail_after(-1);
            cr_assert(status == IJ_OK ? n > 5 : status == IJ_NO_MEMORY, "%s", err.text);
        }
        metric_query_done(&result);
    }
}
