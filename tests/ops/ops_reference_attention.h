/* Softmax attention in double precision, one query at a time, and its gradient. */
#ifndef TESTS_OPS_REFERENCE_ATTENTION_H
#define TESTS_OPS_REFERENCE_ATTENTION_H

#include "tests/ops/ops_harness.h"

struct reference_attention {
    int64_t sequences, length, heads, dim, query_start;
    const double *offsets; /* or NULL */
    bool bf16;         /* round probabilities, outputs and gradients as a bfloat16 kernel does */
    const double *qkv; /* (tokens, 3, heads, dim) */
};

/* Sequence s: first token, and its length. */
static inline int64_t reference_sequence(const struct reference_attention *r, int64_t s,
                                         int64_t *ret_length)
{
    *ret_length = r->offsets ? (int64_t)(r->offsets[s + 1] - r->offsets[s]) : r->length;
    return r->offsets ? (int64_t)r->offsets[s] : s * r->length;
}

static inline int64_t reference_tokens(const struct reference_attention *r)
{
    return r->offsets ? (int64_t)r->offsets[r->sequences] : r->sequences * r->length;
}

/* Index of (token, part, head, 0) in qkv; part 0 q, 1 k, 2 v. */
static inline int64_t reference_at(const struct reference_attention *r, int64_t token, int64_t part,
                                   int64_t head)
{
    return ((token * 3 + part) * r->heads + head) * r->dim;
}

static inline double reference_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Probabilities of query `token` over its sequence; returns the log-sum-exp. */
static inline double reference_attention_row(const struct reference_attention *r, int64_t first,
                                             int64_t length, int64_t token, int64_t head, double *p)
{
    const double *q = r->qkv + reference_at(r, token, 0, head);
    double sum = 0, most = -INFINITY;
    for (int64_t j = 0; j < length; j++) {
        p[j] = reference_dot(q, r->qkv + reference_at(r, first + j, 1, head), r->dim) /
               sqrt((double)r->dim);
        most = p[j] > most ? p[j] : most;
    }
    for (int64_t j = 0; j < length; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < length; j++)
        p[j] /= sum;
    return most + log(sum);
}

/* Writes the computed rows of out (tokens, heads, dim) and lse (tokens, heads). */
static inline void reference_attention_forward(const struct reference_attention *r, double *out,
                                               double *lse)
{
    mem_auto double *p = ops_doubles((size_t)r->length);
    for (int64_t s = 0; s < r->sequences; s++) {
        int64_t length, first = reference_sequence(r, s, &length);
        for (int64_t h = 0; h < r->heads; h++)
            for (int64_t i = first + r->query_start; i < first + length; i++) {
                lse[i * r->heads + h] = reference_attention_row(r, first, length, i, h, p);
                for (int64_t d = 0; d < r->dim; d++) {
                    double sum = 0;
                    for (int64_t j = 0; j < length; j++)
                        sum += (r->bf16 ? ops_round_bf16(p[j]) : p[j]) *
                               r->qkv[reference_at(r, first + j, 2, h) + d];
                    out[(i * r->heads + h) * r->dim + d] = r->bf16 ? ops_round_bf16(sum) : sum;
                }
            }
    }
}

/* Adds one query's share to dqkv (zeroed by the caller). */
static inline void reference_attention_query(const struct reference_attention *r, int64_t first,
                                             int64_t length, int64_t i, int64_t h, double *p,
                                             const double *out, const double *dout, double *dqkv)
{
    int64_t at = (i * r->heads + h) * r->dim;
    (void)reference_attention_row(r, first, length, i, h, p);
    double delta = reference_dot(out + at, dout + at, r->dim);
    for (int64_t j = 0; j < length; j++) {
        int64_t k_at = reference_at(r, first + j, 1, h), v_at = reference_at(r, first + j, 2, h);
        int64_t q_at = reference_at(r, i, 0, h);
        double dp = reference_dot(dout + at, r->qkv + v_at, r->dim);
        double ds = p[j] * (dp - delta) / sqrt((double)r->dim);
        double weight = p[j];
        if (r->bf16) {
            ds = ops_round_bf16(ds);
            weight = ops_round_bf16(weight);
        }
        for (int64_t d = 0; d < r->dim; d++) {
            dqkv[v_at + d] += weight * dout[at + d];
            dqkv[q_at + d] += ds * r->qkv[k_at + d];
            dqkv[k_at + d] += ds * r->qkv[q_at + d];
        }
    }
}

/* Writes dqkv; `out` as the forward pass gave it. */
static inline void reference_attention_backward(const struct reference_attention *r,
                                                const double *out, const double *dout, double *dqkv)
{
    int64_t count = reference_tokens(r) * 3 * r->heads * r->dim;
    memset(dqkv, 0, (size_t)count * sizeof(double));
    mem_auto double *p = ops_doubles((size_t)r->length);
    for (int64_t s = 0; s < r->sequences; s++) {
        int64_t length, first = reference_sequence(r, s, &length);
        for (int64_t h = 0; h < r->heads; h++)
            for (int64_t i = first + r->query_start; i < first + length; i++)
                reference_attention_query(r, first, length, i, h, p, out, dout, dqkv);
    }
    for (int64_t i = 0; r->bf16 && i < count; i++)
        dqkv[i] = ops_round_bf16(dqkv[i]);
}

#endif
