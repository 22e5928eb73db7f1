/* See safetensors.h: copies that convert. Sources may be unaligned, so every value goes through
 * memcpy, which compilers turn into plain loads. */
#include <inttypes.h>
#include <string.h>

#include "gpu/checkpoint/safetensors.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu;
    uint32_t fraction = half & 0x3ffu;
    if (exponent == 0x1f)
        return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* zero and subnormal halves */
    return sign ? -small : small;
}

static enum ij_status check_count(const struct safetensors_tensor *tensor, uint64_t count,
                                  struct ij_err *reterr_err)
{
    if (tensor->count != count)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, tensor->name,
                            "tensor \"%.100s\" has %" PRIu64 " values, expected %" PRIu64,
                            tensor->name, tensor->count, count);
    return IJ_OK;
}

static enum ij_status refuse_type(const struct safetensors_tensor *tensor, const char *expected,
                                  struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, tensor->name,
                        "tensor \"%.100s\" has type %s, expected %s", tensor->name,
                        safetensors_type_name(tensor->type), expected);
}

/* Value `i` of a floating-point tensor, exactly. */
static double float_at(const struct safetensors_tensor *tensor, uint64_t i)
{
    const uint8_t *p = tensor->data;
    uint16_t half;
    float single;
    double value;
    switch (tensor->type) {
    case SAFETENSORS_F64:
        memcpy(&value, p + i * 8, 8);
        return value;
    case SAFETENSORS_F32:
        memcpy(&single, p + i * 4, 4);
        return single;
    case SAFETENSORS_F16:
        memcpy(&half, p + i * 2, 2);
        return half_to_float(half);
    default:
        memcpy(&half, p + i * 2, 2);
        return from_bits((uint32_t)half << 16);
    }
}

static bool is_float(enum safetensors_type type)
{
    return type == SAFETENSORS_F32 || type == SAFETENSORS_F64 || type == SAFETENSORS_F16 ||
           type == SAFETENSORS_BF16;
}

enum ij_status safetensors_copy_f32(const struct safetensors_tensor *tensor, float *ret_values,
                                    uint64_t count, struct ij_err *reterr_err)
{
    IJ_TRY(check_count(tensor, count, reterr_err));
    if (!is_float(tensor->type))
        return refuse_type(tensor, "F32, F64, F16 or BF16", reterr_err);
    if (tensor->type == SAFETENSORS_F32)
        memcpy(ret_values, tensor->data, tensor->bytes);
    else
        for (uint64_t i = 0; i < count; i++)
            ret_values[i] = (float)float_at(tensor, i);
    return IJ_OK;
}

enum ij_status safetensors_copy_f64(const struct safetensors_tensor *tensor, double *ret_values,
                                    uint64_t count, struct ij_err *reterr_err)
{
    IJ_TRY(check_count(tensor, count, reterr_err));
    if (!is_float(tensor->type))
        return refuse_type(tensor, "F32, F64, F16 or BF16", reterr_err);
    for (uint64_t i = 0; i < count; i++)
        ret_values[i] = float_at(tensor, i);
    return IJ_OK;
}

enum ij_status safetensors_copy_i64(const struct safetensors_tensor *tensor, int64_t *ret_values,
                                    uint64_t count, struct ij_err *reterr_err)
{
    IJ_TRY(check_count(tensor, count, reterr_err));
    const uint8_t *p = tensor->data;
    int32_t word;
    if (tensor->type == SAFETENSORS_I64)
        memcpy(ret_values, p, tensor->bytes);
    else if (tensor->type == SAFETENSORS_I32)
        for (uint64_t i = 0; i < count; i++) {
            memcpy(&word, p + i * 4, 4);
            ret_values[i] = word;
        }
    else if (tensor->type == SAFETENSORS_U8)
        for (uint64_t i = 0; i < count; i++)
            ret_values[i] = p[i];
    else
        return refuse_type(tensor, "I64, I32 or U8", reterr_err);
    return IJ_OK;
}
