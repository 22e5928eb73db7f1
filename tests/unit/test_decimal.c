/* Floats as text: read back exactly, and written as printf would but for the last digit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/decimal.h"
#include "base/rng.h"

static void check(float value)
{
    char text[DECIMAL_SIZE + 1], expected[64];
    size_t size = decimal_from_float(value, text);
    cr_assert_lt(size, DECIMAL_SIZE);
    text[size] = '\0';
    char *end;
    float back = strtof(text, &end);
    cr_assert(memcmp(&back, &value, sizeof value) == 0 && *end == '\0', "%a gave \"%s\"",
              (double)value, text);
    snprintf(expected, sizeof expected, "%.9g", (double)value);
    double apart = fabs(strtod(text, NULL) - strtod(expected, NULL));
    cr_assert_leq(apart, fabs((double)value) * 1.001e-8, "\"%s\" instead of \"%s\"", text,
                  expected);
}

Test(decimal, known_texts)
{
    static const struct {
        float value;
        const char *text;
    } rows[] = {{0.0f, "0"},
                {-0.0f, "-0"},
                {1.0f, "1"},
                {-1.5f, "-1.5"},
                {10.0f, "10"},
                {0.5f, "0.5"},
                {0.1f, "0.100000001"},
                {123456792.0f, "123456792"},
                {1e9f, "1e+09"},
                {1e10f, "1e+10"},
                {0.0001f, "9.99999975e-05"},
                {0.000125f, "0.000125000006"},
                {1.17549435e-38f, "1.17549435e-38"},
                {3.40282347e38f, "3.40282347e+38"},
                {1.40129846e-45f, "1.40129846e-45"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[DECIMAL_SIZE];
        size_t size = decimal_from_float(rows[i].value, text);
        cr_expect(size == strlen(rows[i].text) && memcmp(text, rows[i].text, size) == 0,
                  "%.*s instead of %s", (int)size, text, rows[i].text);
    }
}

/* Every exponent, with mantissas at both ends and at random. */
Test(decimal, every_value_reads_back)
{
    struct rng rng;
    rng_init(&rng, 11, RNG_TEST, 0, 0);
    for (uint32_t exponent = 0; exponent < 255; exponent++)
        for (uint32_t i = 0; i < 2000; i++) {
            uint32_t mantissa = i < 4    ? i
                                : i < 8  ? 0x7fffff - (i - 4)
                                : i < 31 ? 1u << (i - 8)
                                         : (uint32_t)rng_below(&rng, 1 << 23);
            uint32_t bits = (i % 2) << 31 | exponent << 23 | mantissa;
            float value;
            memcpy(&value, &bits, sizeof value);
            check(value);
        }
}

/* Just below, at and above each power of ten: where the number of digits changes. */
Test(decimal, round_powers_of_ten)
{
    for (int power = -44; power <= 38; power++) {
        float value = (float)pow(10, power), below = value, above = value;
        for (int i = 0; i < 50; i++) {
            check(below);
            check(above);
            below = nextafterf(below, 0);
            above = nextafterf(above, INFINITY);
            if (isinf(above))
                above = value;
        }
    }
}
