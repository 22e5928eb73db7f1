/* See host_gelu.h. Interpolation by divided differences (Newton), in double. */
#include "gpu/ops/host/host_gelu.h"

#include <math.h>

#define NODES 4

static double host_gelu_exact_tail(double a)
{
    return 0.5 * erfc(a / sqrt(2.0));
}

static double host_gelu_exact_slope(double a)
{
    return host_gelu_exact_tail(a) - a * exp(-0.5 * a * a) / sqrt(2 * M_PI);
}

/* The tanh form: P(a) = 1 / (1 + e^-2u), u = sqrt(2 / pi) (a + 0.044715 a^3). */
static double host_gelu_tanh_tail(double a)
{
    return 1 / (1 + exp(2 * sqrt(2 / M_PI) * (a + 0.044715 * a * a * a)));
}

static double host_gelu_tanh_slope(double a)
{
    double q = host_gelu_tanh_tail(a);
    return q - a * q * (1 - q) * 2 * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * a * a);
}

/* Piece `i` of f. */
static void host_gelu_piece(double (*f)(double), struct host_gelu_curve *curve, int i)
{
    double node[NODES], d[NODES], c[NODES] = {0};
    for (int n = 0; n < NODES; n++) {
        node[n] = 0.5 - 0.5 * cos((2 * n + 1) * M_PI / (2 * NODES));
        d[n] = f((i + node[n]) * HOST_GELU_END / HOST_GELU_PIECES);
    }
    for (int order = 1; order < NODES; order++)
        for (int n = NODES - 1; n >= order; n--)
            d[n] = (d[n] - d[n - 1]) / (node[n] - node[n - order]);
    for (int n = NODES - 1; n >= 0; n--) { /* c = c (t - node) + d, in powers of t */
        for (int power = NODES - 1; power > 0; power--)
            c[power] = c[power - 1] - node[n] * c[power];
        c[0] = d[n] - node[n] * c[0];
    }
    curve->c0[i] = (float)c[0];
    curve->c1[i] = (float)c[1];
    curve->c2[i] = (float)c[2];
    curve->c3[i] = (float)c[3];
}

void host_gelu_init(struct host_gelu *gelu)
{
    for (int i = 0; i < HOST_GELU_PIECES; i++) {
        host_gelu_piece(host_gelu_exact_tail, &gelu->tail[0], i);
        host_gelu_piece(host_gelu_tanh_tail, &gelu->tail[1], i);
        host_gelu_piece(host_gelu_exact_slope, &gelu->slope[0], i);
        host_gelu_piece(host_gelu_tanh_slope, &gelu->slope[1], i);
    }
}
