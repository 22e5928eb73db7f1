/*
 * Is a pretraining run learning, or collapsing? Rules over the checks of its stream "ssl".
 *
 * The loss decides nothing: it is a proxy that may rise while features get better and fall because
 * targets stop varying. Pure: the same checks give the same verdict, whoever asks and whenever, so
 * a resumed run and a restarted daemon go on where they were.
 *
 * What says "collapsing" must say so at two checks running (a value that is not finite: at one), so
 * a collapse is flagged at the second check that shows it:
 *
 *   not_finite      a figure is not finite
 *   features_alike  mean cosine of two images' pooled features above 0.98, and less than a tenth of
 *                   the distance from 1 that the first check had
 *   rank_gone       RankMe below 2.5, and below 40 % of the first check's
 *   targets_still   mean deviation of the targets below 0.15 (layer-normed targets have at most 1)
 *   dims_dead       more than half of the targets' dimensions vary less than 1 % of the median
 *   all_explained   more than 0.98 of the targets' variance is predicted
 *   rank_fell_far   RankMe fell by more than 60 % from its best
 *
 * What says "watch", at once:
 *
 *   pair_cos        mean cosine above 0.9, and less than 15 % of that distance
 *   rank_fell       RankMe fell by more than 30 % from its best
 *   std_fell        the targets' deviation fell by half within 1000 steps
 *   some_dims_dead  more than a tenth of the dimensions
 *   explained_jump  the explained variance rose by 0.2 within 500 steps, or since the check before
 *   lidar_fell      LiDAR fell by more than 30 % from its best while RankMe kept 90 % of its own
 *   gap_grows       the encoders' gap grew at five checks running, by half in all
 *   knn_fell        k-NN accuracy fell at two checks running, by 3 points in all
 *
 * In the first phase targets always lose rank and deviation before they gain, and random weights of
 * some shapes look collapsed. So the rules that compare with earlier checks begin, and take their
 * best from, HEALTH_SETTLED_STEPS or a twentieth of the run on; until then a threshold counts only
 * where the first check was on its good side.
 *
 * A lower verdict is given after three checks running have not asked for the higher one.
 */
#ifndef DAEMON_HEALTH_H
#define DAEMON_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_SETTLED_STEPS 1000 /* or a twentieth of the run, if that is more */

enum health_level { HEALTH_HEALTHY, HEALTH_WATCH, HEALTH_COLLAPSING, HEALTH_LEVEL_COUNT };

/* X(member, key): the figures of a check. */
#define HEALTH_FIGURES(X)                                                                          \
    X(rankme, "ssl/rankme")                                                                        \
    X(lidar, "ssl/lidar")                                                                          \
    X(explained, "ssl/explained")                                                                  \
    X(target_std, "ssl/target_std")                                                                \
    X(dead_dims, "ssl/dead_dims")                                                                  \
    X(pair_cos, "ssl/pair_cos")                                                                    \
    X(ema_gap, "ssl/ema_gap")                                                                      \
    X(knn_top1, "probe/knn_top1")

/* One check. NAN: not measured, or not finite; what needs it is silent. */
struct health_check {
    uint64_t step;
    bool nonfinite; /* a figure that was measured is not finite */
#define X(member, key) double member;
    HEALTH_FIGURES(X)
#undef X
};

struct health_verdict {
    enum health_level level;
    const char *rule;    /* the code of the rule that gave the level; "" for healthy; static */
    char text[160];      /* the same for people */
    uint64_t step;       /* of the newest check */
    uint64_t since_step; /* of the check that gave the level */
};

/* The verdict after `count` checks in order of their steps. `steps`: those that the run plans. No
 * check: healthy, with an empty text. */
struct health_verdict health_judge(const struct health_check *checks, size_t count, uint64_t steps);

const char *health_level_name(enum health_level level); /* "healthy", "watch", "collapsing" */

#endif
