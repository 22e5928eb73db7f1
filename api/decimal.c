/*
 * See decimal.h. The value, scaled by a power of ten to nine digits before the point, is rounded to
 * an integer. Double precision makes an error of some 1e-7 of the last digit there, while
 * neighbouring floats are at least six of these digits apart: the nearest float stays the same.
 */
#include "api/decimal.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

#define DIGITS    9
#define POWER_MAX 53 /* the smallest float32 is 1.4e-45: nine digits need 10^53 */

static double power_of_ten(int exponent)
{
    static const double powers[POWER_MAX + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
        1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27,
        1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41,
        1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53};
    IJ_ASSERT(exponent >= 0 && exponent <= POWER_MAX);
    return powers[exponent];
}

static uint32_t scaled(double value, int exponent)
{
    int power = DIGITS - 1 - exponent;
    double digits = power >= 0 ? value * power_of_ten(power) : value / power_of_ten(-power);
    return (uint32_t)(digits + 0.5);
}

/* Nine digits and the exponent of the first one. */
static uint32_t split(double value, int *ret_exponent)
{
    int two;
    (void)frexp(value, &two); /* 2^(two-1) <= value < 2^two */
    int exponent = (int)floor((two - 1) * 0.30102999566398120);
    uint32_t digits = scaled(value, exponent);
    if (digits >= 1000000000) /* the estimate is one too small, or the value was rounded up */
        digits = scaled(value, ++exponent);
    *ret_exponent = exponent;
    return digits;
}

/* d.ddde-07, without trailing zeros. */
static size_t put_scientific(const char *digits, int count, int exponent, char *text)
{
    size_t n = 0;
    text[n++] = digits[0];
    if (count > 1) {
        text[n++] = '.';
        memcpy(text + n, digits + 1, (size_t)count - 1);
        n += (size_t)count - 1;
    }
    text[n++] = 'e';
    text[n++] = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    text[n++] = (char)('0' + exponent / 10);
    text[n++] = (char)('0' + exponent % 10);
    return n;
}

static size_t put_fixed(const char *digits, int count, int exponent, char *text)
{
    size_t n = 0;
    if (exponent < 0) {
        text[n++] = '0';
        text[n++] = '.';
        for (int i = -1; i > exponent; i--)
            text[n++] = '0';
        memcpy(text + n, digits, (size_t)count);
        return n + (size_t)count;
    }
    for (int i = 0; i <= exponent; i++)
        text[n++] = i < count ? digits[i] : '0';
    if (count <= exponent + 1)
        return n;
    text[n++] = '.';
    memcpy(text + n, digits + exponent + 1, (size_t)(count - exponent - 1));
    return n + (size_t)(count - exponent - 1);
}

size_t decimal_from_float(float value, char ret_text[DECIMAL_SIZE])
{
    char digits[DIGITS];
    int exponent, count = DIGITS;
    size_t sign = signbit(value) ? 1 : 0;
    IJ_ASSERT(isfinite(value));
    ret_text[0] = '-';
    ret_text[sign] = '0';
    if (value == 0)
        return sign + 1;
    uint32_t number = split(fabs((double)value), &exponent);
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        digits[i] = (char)('0' + number % 10);
    while (digits[count - 1] == '0')
        count--;
    size_t n = exponent < -4 || exponent >= DIGITS
                   ? put_scientific(digits, count, exponent, ret_text + sign)
                   : put_fixed(digits, count, exponent, ret_text + sign);
    return sign + n;
}
