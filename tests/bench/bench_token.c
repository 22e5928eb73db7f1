/*
 * Does the time that a wrong token takes tell how wrong it is? Two classes of stored hashes, one
 * that differs from the presented token's in its first byte and one that differs in its last, are
 * drawn at random a million times; Welch's t of the two samples of times, without their slowest
 * tenth, must stay below 10 (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?",
 * DATE 2017). The same measurement of a comparison that ends at the first difference must exceed
 * it, or the machine is too noisy to say anything. One JSON line; 1 if either fails.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

#define SAMPLES 1000000
#define KEEP    0.9
#define LIMIT   10.0
#define TOKEN   "ijp_0123456789abcdef_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno12"
#define CLASSES 2
#define NOON_MS 1000

typedef bool (*matches)(const char *token, const struct token_row *row);

static struct token_row rows[CLASSES]; /* wrong in the first byte, in the last */
static int64_t times[SAMPLES], sorted[SAMPLES];
static uint8_t classes[SAMPLES];

static bool by_auth(const char *token, const struct token_row *row)
{
    return auth_token_matches(token, row, NOON_MS);
}

/* What must be seen: one byte after the other, until they differ. */
static bool by_first_difference(const char *token, const struct token_row *row)
{
    uint8_t sha256[HASH_SIZE];
    hash_bytes(token, strlen(token), sha256);
    for (volatile int i = 0; i < HASH_SIZE; i++)
        if (sha256[i] != row->sha256[i])
            return false;
    return true;
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double welch(void)
{
    double n[CLASSES] = {0}, mean[CLASSES] = {0}, squares[CLASSES] = {0};
    memcpy(sorted, times, sizeof sorted);
    qsort(sorted, SAMPLES, sizeof *sorted, compare);
    int64_t longest = sorted[(size_t)(KEEP * SAMPLES)];
    for (size_t i = 0; i < SAMPLES; i++) {
        int c = classes[i];
        if (times[i] > longest)
            continue;
        double apart = (double)times[i] - mean[c];
        n[c]++;
        mean[c] += apart / n[c];
        squares[c] += apart * ((double)times[i] - mean[c]);
    }
    double error = squares[0] / (n[0] - 1) / n[0] + squares[1] / (n[1] - 1) / n[1];
    return (mean[1] - mean[0]) / sqrt(error);
}

static double measure(matches function)
{
    struct rng rng;
    rng_init(&rng, 1, RNG_CROP, 0, 0);
    for (size_t i = 0; i < SAMPLES; i++)
        classes[i] = (uint8_t)rng_below(&rng, CLASSES);
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct token_row *row = &rows[classes[i]];
        int64_t begin = clock_monotonic_ns();
        if (function(TOKEN, row))
            abort();
        times[i] = clock_monotonic_ns() - begin;
    }
    return welch();
}

int main(void)
{
    for (int c = 0; c < CLASSES; c++) {
        snprintf(rows[c].id, sizeof rows[c].id, "%s", "0123456789abcdef");
        hash_bytes(TOKEN, strlen(TOKEN), rows[c].sha256);
        rows[c].sha256[c == 0 ? 0 : HASH_SIZE - 1] ^= 1;
    }
    double t = measure(by_auth), control = measure(by_first_difference);
    printf("{\"bench\": \"token_compare\", \"samples\": %d, \"t\": %.2f, \"limit\": %g, "
           "\"t_of_a_leaking_comparison\": %.1f, \"commit\": \"%s\"}\n",
           SAMPLES, t, LIMIT, control, build_id());
    return fabs(t) < LIMIT && fabs(control) > LIMIT ? 0 : 1;
}
