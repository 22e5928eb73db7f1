/*
 * GELU and its slope from tables, for results that are rounded to bfloat16.
 *
 * Both forms of GELU are x P(x) with P(-x) = 1 - P(x). The tables hold, for a = |x| below
 * HOST_GELU_END, the tail Q(a) = 1 - P(a) and S(a) = Q(a) - a P'(a) as cubics on equal pieces:
 *   gelu(x) = max(x, 0) - |x| Q(|x|),   gelu'(x) = S(|x|) for x < 0, 1 - S(|x|) otherwise.
 * Each cubic goes through the function at four Chebyshev points; the error is below 5e-6.
 */
#ifndef GPU_OPS_HOST_GELU_H
#define GPU_OPS_HOST_GELU_H

#include <stdbool.h>

#define HOST_GELU_PIECES 32
#define HOST_GELU_END    6.0

/* Piece i covers a in [i, i + 1) END / PIECES; powers of the distance from its start in pieces. */
struct host_gelu_curve {
    float c0[HOST_GELU_PIECES], c1[HOST_GELU_PIECES];
    float c2[HOST_GELU_PIECES], c3[HOST_GELU_PIECES];
};

struct host_gelu {
    struct host_gelu_curve tail[2], slope[2]; /* [0] exact erf, [1] tanh form */
};

/* Writes all of it. */
void host_gelu_init(struct host_gelu *gelu);

#endif
