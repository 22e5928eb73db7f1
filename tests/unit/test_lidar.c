/* LiDAR, RankMe and explained variance against NumPy's (tests/golden/health.py) and known cases. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>

#include "base/mem.h"
#include "gpu/eval/explained.h"
#include "gpu/eval/lidar.h"

struct recipe {
    size_t images, draws, width;
    uint64_t seed;
    double decay, between;
};

static double u(uint64_t i, uint64_t seed)
{
    return (double)(uint32_t)((i + 1) * 2654435761u + seed * 40503u) / 4294967296.0 - 0.5;
}

/* As tests/golden/health.py makes them. */
static float *features(const struct recipe *r, uint64_t seed)
{
    size_t rows = r->images * r->draws;
    float *z = mem_array(float, rows * r->width);
    cr_assert(z);
    for (size_t i = 0; i < rows * r->width; i++) {
        size_t d = i % r->width, image = i / r->width / r->draws;
        double value = u(i, seed) + r->between * u(image * r->width + d, seed + 7);
        z[i] = (float)(value * (1 / pow(1 + (double)d, r->decay)));
    }
    return z;
}

static double explained_of(const struct recipe *r, const float *z)
{
    size_t rows = r->images * r->draws, count = rows * r->width;
    float *target = features(r, r->seed + 20), *prediction = mem_array(float, count);
    struct explained e;
    for (size_t i = 0; i < count; i++)
        prediction[i] = z[i] * 0.5f + target[i] * 0.5f;
    cr_assert_eq(explained_init(&e, (int64_t)r->width, NULL), IJ_OK);
    explained_add(&e, prediction, target, rows / 3);
    size_t done = rows / 3 * r->width;
    explained_add(&e, prediction + done, target + done, rows - rows / 3);
    double share = explained_share(&e);
    explained_clear(&e);
    cr_assert(isnan(explained_share(&e)), "nothing varies where nothing was seen");
    explained_done(&e);
    mem_free(target);
    mem_free(prediction);
    return share;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static void check_case(const json_t *object, int at)
{
    struct recipe r = {(size_t)number(object, "images"), (size_t)number(object, "draws"),
                       (size_t)number(object, "width"),  (uint64_t)number(object, "seed"),
                       number(object, "decay"),          number(object, "between")};
    double rank = 0, lidar = 0;
    float *z = features(&r, r.seed);
    cr_assert_eq(rankme_compute(z, r.images * r.draws, (int64_t)r.width, &rank, NULL, NULL), IJ_OK);
    cr_assert_eq(lidar_compute(z, r.images, r.draws, (int64_t)r.width, &lidar, NULL), IJ_OK);
    cr_expect_float_eq(rank, number(object, "rankme"), 1e-6 * rank, "case %d: RankMe %.12g", at,
                       rank);
    cr_expect_float_eq(lidar, number(object, "lidar"), 1e-6 * lidar, "case %d: LiDAR %.12g", at,
                       lidar);
    double share = explained_of(&r, z);
    cr_expect_float_eq(share, number(object, "explained"), 1e-9, "case %d: explained %.12g", at,
                       share);
    mem_free(z);
}

Test(lidar, agrees_with_numpy)
{
    json_t *root = json_load_file("tests/golden/health.json", 0, NULL);
    json_t *cases = json_object_get(root, "cases");
    cr_assert_geq(json_array_size(cases), 4, "run the tests from the root of the repository");
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i), (int)i);
    json_decref(root);
}

/* Classes at +-e_k, no difference within: the ranks are the number of directions. */
Test(lidar, counts_directions)
{
    enum { WIDTH = 6, DIRECTIONS = 3, IMAGES = 2 * DIRECTIONS, DRAWS = 2 };
    float z[IMAGES * DRAWS * WIDTH] = {0};
    double rank;
    for (int i = 0; i < IMAGES; i++)
        for (int q = 0; q < DRAWS; q++)
            z[(i * DRAWS + q) * WIDTH + i / 2] = i % 2 ? 1 : -1;
    cr_assert_eq(lidar_compute(z, IMAGES, DRAWS, WIDTH, &rank, NULL), IJ_OK);
    cr_assert_float_eq(rank, DIRECTIONS, 1e-4);
}

Test(lidar, one_point_has_no_rank_and_one_image_none_to_tell_apart)
{
    const float z[8] = {1, 2, 1, 2, 1, 2, 1, 2};
    double rank = -1;
    cr_assert_eq(lidar_compute(z, 2, 2, 2, &rank, NULL), IJ_OK);
    cr_assert_eq(rank, 0);
    cr_assert_eq(lidar_compute(z, 1, 4, 2, &rank, NULL), IJ_INVALID);
    cr_assert_eq(lidar_compute(z, 4, 1, 2, &rank, NULL), IJ_INVALID);
}

Test(lidar, refuses_what_is_not_finite)
{
    const float z[8] = {1, 2, NAN, 2, 3, 2, 1, 4};
    double rank;
    cr_assert_eq(lidar_compute(z, 2, 2, 2, &rank, NULL), IJ_NONFINITE);
}
