/* See retention_policy.h. */
#include "daemon/retention_policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define EPOCH_SLACK 1e-9

static const char *const measure_names[] = {"knn", "rankme"};
static const char *const measure_metrics[] = {"ssl/probe/knn_top1", "ssl/rankme"};
static const char *const keys[] = {"latest", "best", "best_by", "every_epochs"};

struct retention_policy retention_policy_default(uint32_t latest)
{
    return (struct retention_policy){.latest = latest ? latest : 1, .best = 1};
}

const char *retention_policy_metric(enum retention_policy_measure measure)
{
    return measure_metrics[measure];
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static enum ij_status take_count(const json_t *value, const char *key, uint32_t min, uint32_t max,
                                 uint32_t *count, struct ij_err *reterr_err)
{
    char field[64];
    json_int_t number = json_integer_value(value);
    snprintf(field, sizeof(field), "/retention/%s", key);
    if (!json_is_integer(value) || number < min || number > max)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                            "%s must be a whole number from %u to %u", key, min, max);
    *count = (uint32_t)number;
    return IJ_OK;
}

static enum ij_status take_measure(const json_t *value, struct retention_policy *policy,
                                   struct ij_err *reterr_err)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < COUNT_OF(measure_names); i++)
        if (strcmp(text, measure_names[i]) == 0) {
            policy->best_by = (enum retention_policy_measure)i;
            return IJ_OK;
        }
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/retention/best_by",
                        "best_by must be \"knn\" or \"rankme\"; the loss does not tell how good "
                        "a representation is");
}

static enum ij_status take_epochs(const json_t *value, struct retention_policy *policy,
                                  struct ij_err *reterr_err)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0 && number <= RETENTION_POLICY_EPOCHS_MAX))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/retention/every_epochs",
                            "every_epochs must be a number from 0 (off) to %.0f",
                            RETENTION_POLICY_EPOCHS_MAX);
    policy->every_epochs = number;
    return IJ_OK;
}

static enum ij_status take_one(const char *key, const json_t *value,
                               struct retention_policy *policy, struct ij_err *reterr_err)
{
    if (strcmp(key, "latest") == 0)
        return take_count(value, key, 1, RETENTION_POLICY_LATEST_MAX, &policy->latest, reterr_err);
    if (strcmp(key, "best") == 0)
        return take_count(value, key, 0, RETENTION_POLICY_BEST_MAX, &policy->best, reterr_err);
    if (strcmp(key, "best_by") == 0)
        return take_measure(value, policy, reterr_err);
    if (strcmp(key, "every_epochs") == 0)
        return take_epochs(value, policy, reterr_err);
    char field[128];
    const char *nearest = text_nearest(key, keys, COUNT_OF(keys));
    snprintf(field, sizeof(field), "/retention/%.100s", key);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                        "unknown key; it takes latest, best, best_by, every_epochs%s%s%s",
                        nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                        nearest ? "\"?" : "");
}

enum ij_status retention_policy_parse(const json_t *object, struct retention_policy *policy,
                                      struct ij_err *reterr_err)
{
    struct retention_policy fresh = *policy;
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/retention", "retention must be an object");
    json_object_foreach((json_t *)object, key, value)
    {
        IJ_TRY(take_one(key, value, &fresh, reterr_err));
    }
    *policy = fresh;
    return IJ_OK;
}

json_t *retention_policy_json(const struct retention_policy *policy)
{
    return json_pack("{s:I, s:I, s:s, s:f}", "latest", (json_int_t)policy->latest, "best",
                     (json_int_t)policy->best, "best_by", measure_names[policy->best_by],
                     "every_epochs", policy->every_epochs);
}

char *retention_policy_text(const struct retention_policy *policy)
{
    json_t *whole = retention_policy_json(policy);
    char *text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(whole);
    return copy;
}

/* ---- Choice ---------------------------------------------------------------------------------- */

/* Is `a` a better checkpoint than `b`? */
static bool is_better(const struct checkpoint_row *a, const struct checkpoint_row *b)
{
    if (a->score != b->score)
        return a->score > b->score;
    return a->step != b->step ? a->step < b->step : a->id < b->id;
}

static void mark_best(const struct retention_policy *policy, const struct checkpoint_row *rows,
                      size_t count, unsigned *reasons)
{
    for (uint32_t n = 0; n < policy->best; n++) {
        size_t best = count;
        for (size_t i = 0; i < count; i++)
            if (!isnan(rows[i].score) && !(reasons[i] & RETENTION_POLICY_IS_BEST) &&
                (best == count || is_better(&rows[i], &rows[best])))
                best = i;
        if (best == count)
            return;
        reasons[best] |= RETENTION_POLICY_IS_BEST;
    }
}

/* Rows come with falling steps: the last one of each multiple is the first that was saved. */
static void mark_epochs(const struct retention_policy *policy, const struct checkpoint_row *rows,
                        size_t count, unsigned *reasons)
{
    for (size_t i = 0; i < count; i++) {
        double place = floor(rows[i].epoch / policy->every_epochs + EPOCH_SLACK);
        double before =
            i + 1 < count ? floor(rows[i + 1].epoch / policy->every_epochs + EPOCH_SLACK) : 0;
        if (place >= 1 && place > before)
            reasons[i] |= RETENTION_POLICY_IS_EPOCH;
    }
}

void retention_policy_choose(const struct retention_policy *policy,
                             const struct checkpoint_row *rows, size_t count, unsigned *ret_reasons)
{
    for (size_t i = 0; i < count; i++) {
        ret_reasons[i] = rows[i].pinned ? RETENTION_POLICY_IS_PINNED : 0;
        if (i < policy->latest)
            ret_reasons[i] |= RETENTION_POLICY_IS_LATEST;
    }
    mark_best(policy, rows, count, ret_reasons);
    if (policy->every_epochs > 0)
        mark_epochs(policy, rows, count, ret_reasons);
}
