/* See health.h. */
#include "daemon/health.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TO_COLLAPSE 2 /* checks running that must ask for it */
#define TO_RECOVER  3 /* checks running that must not ask for a level */

/* The checks up to the one that is judged, `now` being its place. */
struct history {
    const struct health_check *checks;
    size_t now, settled; /* settled: the first check that rules compare with; > now: none yet */
};

/* What one check asks for. */
struct demand {
    enum health_level level;
    const char *rule;
    bool at_once;
    char text[160];
};

static void ask(struct demand *demand, enum health_level level, const char *rule)
{
    demand->level = level;
    demand->rule = rule;
}

/* ---- Thresholds ------------------------------------------------------------------------------ */

/* A figure that may not be above (or below) a limit. */
struct threshold {
    const char *rule, *says; /* says: what comes before the value */
    size_t offset;
    bool above;
    double limit;
    enum health_level level;
};
#define THRESHOLD(rule, member, above, limit, level, says)                                         \
    {                                                                                              \
        rule, says, offsetof(struct health_check, member), above, limit, level                     \
    }

static const struct threshold thresholds[] = {
    THRESHOLD("targets_still", target_std, false, 0.15, HEALTH_COLLAPSING,
              "the targets hardly vary: their deviation is"),
    THRESHOLD("dims_dead", dead_dims, true, 0.5, HEALTH_COLLAPSING,
              "dimensions of the targets that do not vary: a share of"),
    THRESHOLD("all_explained", explained, true, 0.98, HEALTH_COLLAPSING,
              "nothing is left to predict: the explained variance is"),
    THRESHOLD("some_dims_dead", dead_dims, true, 0.1, HEALTH_WATCH,
              "dimensions of the targets that do not vary: a share of"),
};

static double figure(const struct health_check *check, size_t offset)
{
    double value;
    memcpy(&value, (const char *)check + offset, sizeof value);
    return value;
}

static bool is_beyond(const struct threshold *t, const struct health_check *check)
{
    double value = figure(check, t->offset);
    return t->above ? value > t->limit : value < t->limit; /* false for NAN */
}

static bool check_thresholds(const struct history *h, enum health_level level,
                             struct demand *demand)
{
    const struct health_check *now = &h->checks[h->now];
    for (size_t i = 0; i < sizeof thresholds / sizeof thresholds[0]; i++) {
        const struct threshold *t = &thresholds[i];
        bool counts = h->now >= h->settled || !is_beyond(t, &h->checks[0]);
        if (t->level != level || !counts || !is_beyond(t, now))
            continue;
        ask(demand, level, t->rule);
        snprintf(demand->text, sizeof demand->text, "%s %.3g, %s %.3g", t->says,
                 figure(now, t->offset), t->above ? "above" : "below", t->limit);
        return true;
    }
    return false;
}

/* Images of one kind look alike to random weights too, so what counts is also how much of the
 * distance from 1 is left. */
static bool look_alike(const struct history *h, double limit, double left, enum health_level level,
                       const char *rule, struct demand *demand)
{
    double first = h->checks[0].pair_cos, value = h->checks[h->now].pair_cos;
    if (!(value > limit && 1 - value < left * (1 - first)))
        return false;
    ask(demand, level, rule);
    snprintf(demand->text, sizeof demand->text,
             "different images look alike: their mean cosine is %.4g, at the start it was %.4g",
             value, first);
    return true;
}

/* So do their pooled features span few directions from the start. */
static bool rank_gone(const struct history *h, struct demand *demand)
{
    double first = h->checks[0].rankme, value = h->checks[h->now].rankme;
    if (!(value < 2.5 && value < 0.4 * first))
        return false;
    ask(demand, HEALTH_COLLAPSING, "rank_gone");
    snprintf(demand->text, sizeof demand->text,
             "the features span hardly a plane: RankMe is %.3g, at the start it was %.3g", value,
             first);
    return true;
}

/* ---- Comparisons with earlier checks --------------------------------------------------------- */

#define OFFSET(member) offsetof(struct health_check, member)

/* The largest of a figure since the run settled; NAN: none. */
static double best(const struct history *h, size_t offset)
{
    double most = (double)NAN;
    for (size_t i = h->settled; i <= h->now; i++)
        most = fmax(most, figure(&h->checks[i], offset));
    return most;
}

static bool rank_fell(const struct history *h, double share, enum health_level level,
                      const char *rule, struct demand *demand)
{
    double top = best(h, OFFSET(rankme)), value = h->checks[h->now].rankme;
    if (!(value < top * (1 - share)))
        return false;
    ask(demand, level, rule);
    snprintf(demand->text, sizeof demand->text,
             "the features lose dimensions: RankMe fell from %.3g to %.3g", top, value);
    return true;
}

static bool std_fell(const struct history *h, struct demand *demand)
{
    const struct health_check *now = &h->checks[h->now];
    double top = (double)NAN;
    for (size_t i = h->settled; i < h->now; i++)
        if (h->checks[i].step + 1000 >= now->step)
            top = fmax(top, h->checks[i].target_std);
    if (!(now->target_std <= top / 2))
        return false;
    ask(demand, HEALTH_WATCH, "std_fell");
    snprintf(demand->text, sizeof demand->text,
             "the targets vary less: their deviation fell from %.3g to %.3g within 1000 steps", top,
             now->target_std);
    return true;
}

static bool explained_jumped(const struct history *h, struct demand *demand)
{
    const struct health_check *now = &h->checks[h->now];
    double low = (double)NAN;
    for (size_t i = h->settled; i < h->now; i++)
        if (i + 1 == h->now || h->checks[i].step + 500 >= now->step)
            low = fmin(low, h->checks[i].explained);
    if (!(now->explained > low + 0.2))
        return false;
    ask(demand, HEALTH_WATCH, "explained_jump");
    snprintf(demand->text, sizeof demand->text,
             "the targets suddenly became easy: the explained variance rose from %.3g to %.3g", low,
             now->explained);
    return true;
}

static bool lidar_fell(const struct history *h, struct demand *demand)
{
    const struct health_check *now = &h->checks[h->now];
    double top = best(h, OFFSET(lidar)), rank = best(h, OFFSET(rankme));
    if (!(now->lidar < 0.7 * top && now->rankme >= 0.9 * rank))
        return false;
    ask(demand, HEALTH_WATCH, "lidar_fell");
    snprintf(demand->text, sizeof demand->text,
             "images are told apart less well though RankMe holds: LiDAR fell from %.3g to %.3g",
             top, now->lidar);
    return true;
}

/* Whether a figure went one way at each of the last `times` checks since the run settled. */
static bool runs_on(const struct history *h, size_t offset, bool up, size_t times)
{
    if (h->now < h->settled + times)
        return false;
    for (size_t i = h->now - times; i < h->now; i++) {
        double a = figure(&h->checks[i], offset), b = figure(&h->checks[i + 1], offset);
        if (!(up ? b > a : b < a))
            return false;
    }
    return true;
}

static bool gap_grows(const struct history *h, struct demand *demand)
{
    if (!runs_on(h, OFFSET(ema_gap), true, 5))
        return false;
    double from = h->checks[h->now - 5].ema_gap, to = h->checks[h->now].ema_gap;
    if (!(to > 1.5 * from))
        return false;
    ask(demand, HEALTH_WATCH, "gap_grows");
    snprintf(demand->text, sizeof demand->text,
             "the encoder runs away from its average: the gap grew from %.3g to %.3g", from, to);
    return true;
}

static bool knn_fell(const struct history *h, struct demand *demand)
{
    if (!runs_on(h, OFFSET(knn_top1), false, 2))
        return false;
    double from = h->checks[h->now - 2].knn_top1, to = h->checks[h->now].knn_top1;
    if (!(from - to >= 0.03))
        return false;
    ask(demand, HEALTH_WATCH, "knn_fell");
    snprintf(demand->text, sizeof demand->text,
             "k-NN accuracy fell at two checks running, from %.3g to %.3g", from, to);
    return true;
}

/* ---- The verdict ----------------------------------------------------------------------------- */

/* What the newest check of the history asks for; the gravest, then the first. */
static struct demand judge_one(const struct history *h)
{
    struct demand d = {.level = HEALTH_HEALTHY, .rule = ""};
    if (h->checks[h->now].nonfinite) {
        ask(&d, HEALTH_COLLAPSING, "not_finite");
        d.at_once = true;
        snprintf(d.text, sizeof d.text, "a figure of the check is not finite");
        return d;
    }
    bool settled = h->now >= h->settled;
    (void)(look_alike(h, 0.98, 0.1, HEALTH_COLLAPSING, "features_alike", &d) || rank_gone(h, &d) ||
           check_thresholds(h, HEALTH_COLLAPSING, &d) ||
           (settled && rank_fell(h, 0.6, HEALTH_COLLAPSING, "rank_fell_far", &d)) ||
           look_alike(h, 0.9, 0.15, HEALTH_WATCH, "pair_cos", &d) ||
           check_thresholds(h, HEALTH_WATCH, &d) ||
           (settled &&
            (rank_fell(h, 0.3, HEALTH_WATCH, "rank_fell", &d) || std_fell(h, &d) ||
             explained_jumped(h, &d) || lidar_fell(h, &d) || gap_grows(h, &d) || knn_fell(h, &d))));
    return d;
}

static void give(struct health_verdict *verdict, enum health_level level, const char *rule,
                 const char *text)
{
    if (level != verdict->level)
        verdict->since_step = verdict->step;
    verdict->level = level;
    verdict->rule = rule;
    snprintf(verdict->text, sizeof verdict->text, "%s", text);
}

/* Checks running that asked for at least a level, and that did not. */
struct streaks {
    size_t asked, not_asked[HEALTH_LEVEL_COUNT];
};

static void apply(struct health_verdict *verdict, struct streaks *streaks, const struct demand *d)
{
    streaks->asked = d->level == HEALTH_COLLAPSING ? streaks->asked + 1 : 0;
    for (int level = 0; level < HEALTH_LEVEL_COUNT; level++)
        streaks->not_asked[level] = (int)d->level < level ? streaks->not_asked[level] + 1 : 0;
    enum health_level wanted = d->level;
    if (wanted == HEALTH_COLLAPSING && !d->at_once && streaks->asked < TO_COLLAPSE)
        wanted = HEALTH_WATCH;
    if (wanted >= verdict->level && wanted > HEALTH_HEALTHY)
        give(verdict, wanted, d->rule, d->text);
    else if (wanted < verdict->level && streaks->not_asked[verdict->level] >= TO_RECOVER)
        give(verdict, wanted, d->rule, d->text);
}

struct health_verdict health_judge(const struct health_check *checks, size_t count, uint64_t steps)
{
    struct health_verdict verdict = {.level = HEALTH_HEALTHY, .rule = ""};
    struct streaks streaks = {0};
    uint64_t settled_step = steps / 20 > HEALTH_SETTLED_STEPS ? steps / 20 : HEALTH_SETTLED_STEPS;
    struct history h = {.checks = checks};
    while (h.settled < count && checks[h.settled].step < settled_step)
        h.settled++;
    for (h.now = 0; h.now < count; h.now++) {
        verdict.step = checks[h.now].step;
        struct demand demand = judge_one(&h);
        apply(&verdict, &streaks, &demand);
    }
    return verdict;
}

const char *health_level_name(enum health_level level)
{
    static const char *const names[HEALTH_LEVEL_COUNT] = {"healthy", "watch", "collapsing"};
    return names[level];
}
