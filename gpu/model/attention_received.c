/* See attention_received.h. */
#include "gpu/model/attention_received.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

static float value_at(struct tensor x, int64_t i)
{
    if (x.type == TENSOR_F32)
        return ((const float *)x.data)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)x.data)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Queries or keys of one head as (length, head_dim). */
static void gather(struct tensor qkv, int64_t length, int64_t heads, int64_t head_dim,
                   int64_t offset, float *ret)
{
    for (int64_t t = 0; t < length; t++)
        for (int64_t d = 0; d < head_dim; d++)
            ret[t * head_dim + d] = value_at(qkv, (t * 3 * heads + offset) * head_dim + d);
}

/* Softmax in place; `row` holds scores. */
static void softmax(double *row, int64_t length)
{
    double most = -INFINITY, sum = 0;
    for (int64_t k = 0; k < length; k++)
        most = fmax(most, row[k]);
    for (int64_t k = 0; k < length; k++)
        sum += row[k] = exp(row[k] - most);
    for (int64_t k = 0; k < length; k++)
        row[k] /= sum;
}

static void add_head(const float *q, const float *k, int64_t length, int64_t head_dim, double *row,
                     float *ret_received)
{
    memset(ret_received, 0, (size_t)length * sizeof *ret_received);
    for (int64_t i = 0; i < length; i++) {
        for (int64_t j = 0; j < length; j++) {
            double dot = 0;
            for (int64_t d = 0; d < head_dim; d++)
                dot += (double)q[i * head_dim + d] * (double)k[j * head_dim + d];
            row[j] = dot / sqrt((double)head_dim);
        }
        softmax(row, length);
        for (int64_t j = 0; j < length; j++)
            ret_received[j] += (float)(row[j] / (double)length);
    }
}

enum ij_status attention_received(struct tensor qkv, int64_t length, int64_t heads,
                                  int64_t head_dim, float *ret_received, struct ij_err *reterr_err)
{
    IJ_ASSERT(qkv.type == TENSOR_F32 || qkv.type == TENSOR_BF16);
    mem_auto float *q = mem_array(float, (size_t)(length * head_dim));
    mem_auto float *k = mem_array(float, (size_t)(length * head_dim));
    mem_auto double *row = mem_array(double, (size_t)length);
    if (!q || !k || !row)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for attention maps");
    for (int64_t h = 0; h < heads; h++) {
        gather(qkv, length, heads, head_dim, h, q);
        gather(qkv, length, heads, head_dim, heads + h, k);
        add_head(q, k, length, head_dim, row, ret_received + h * length);
    }
    return IJ_OK;
}
