/* See host_tile.h. */
#include "gpu/ops/host/host_tile.h"

#include <stddef.h>

#include "gpu/ops/host/host_pack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define HOST_TILE_GROUP 8 /* rows whose sums stay in registers */

/* The second panel of b. */
static const uint32_t *host_tile_right(const struct host_tile *t)
{
    return t->b + (t->panel ? t->panel : t->words) * HOST_PACK_COLUMNS;
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

/* Eight rows by 32 columns: sixteen sums. MULTIPLY(sum, a, b) is sum + a b. */
#define HOST_TILE_GROUP_BODY(vector, LOAD, SPREAD, MULTIPLY)                                       \
    do {                                                                                           \
        const uint32_t *b0 = t->b, *b1 = host_tile_right(t);                                       \
        __m512 sum[HOST_TILE_GROUP][2];                                                            \
        for (int i = 0; i < HOST_TILE_GROUP; i++)                                                  \
            sum[i][0] = sum[i][1] = _mm512_setzero_ps();                                           \
        for (int i = 0; t->add && i < HOST_TILE_GROUP; i++) {                                      \
            sum[i][0] = _mm512_loadu_ps(c + i * t->c_stride);                                      \
            sum[i][1] = _mm512_loadu_ps(c + i * t->c_stride + 16);                                 \
        }                                                                                          \
        for (int64_t word = 0; word < t->words; word++) {                                          \
            vector left = LOAD(b0 + word * HOST_PACK_COLUMNS);                                     \
            vector right = LOAD(b1 + word * HOST_PACK_COLUMNS);                                    \
            for (int i = 0; i < HOST_TILE_GROUP; i++) {                                            \
                vector x = SPREAD(a + i * t->stride + word);                                       \
                sum[i][0] = MULTIPLY(sum[i][0], x, left);                                          \
                sum[i][1] = MULTIPLY(sum[i][1], x, right);                                         \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < HOST_TILE_GROUP; i++, c += t->c_stride) {                              \
            _mm512_storeu_ps(c, sum[i][0]);                                                        \
            _mm512_storeu_ps(c + 16, sum[i][1]);                                                   \
        }                                                                                          \
    } while (0)

#define HOST_TILE_LOAD_BF16(x)   (__m512bh) _mm512_load_si512(x)
#define HOST_TILE_SPREAD_BF16(x) (__m512bh) _mm512_set1_epi32((int)*(x))
#define HOST_TILE_MULTIPLY_BF16  _mm512_dpbf16_ps

__attribute__((target("avx512f,avx512bf16"))) static void
host_tile_bf16_avx512(const struct host_tile *t)
{
    float *c = t->c;
    for (int64_t row = 0; row < t->rows; row += HOST_TILE_GROUP) {
        const uint32_t *a = t->a + row * t->stride;
        HOST_TILE_GROUP_BODY(__m512bh, HOST_TILE_LOAD_BF16, HOST_TILE_SPREAD_BF16,
                             HOST_TILE_MULTIPLY_BF16);
    }
}

/* ---- AMX: tiles 0 to 3 are sums, 4 and 5 rows of a, 6 and 7 panels of b ---------------------- */

struct host_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* One step of k. LOAD_A and LOAD_B are how the processor is told whether what is read will be read
 * again soon: the one side that passes by must not drive the other out of the first-level cache. */
#define HOST_TILE_STEPS(LOAD_A, LOAD_B)                                                            \
    for (int64_t word = 0; word < t->words; word += HOST_PACK_STEP) {                              \
        LOAD_A(4, a + word, bytes);                                                                \
        LOAD_B(6, b + word * HOST_PACK_COLUMNS, 64);                                               \
        _tile_dpbf16ps(0, 4, 6);                                                                   \
        LOAD_B(7, right + word * HOST_PACK_COLUMNS, 64);                                           \
        _tile_dpbf16ps(1, 4, 7);                                                                   \
        if (!both)                                                                                 \
            continue;                                                                              \
        LOAD_A(5, below + word, bytes);                                                            \
        _tile_dpbf16ps(2, 5, 6);                                                                   \
        _tile_dpbf16ps(3, 5, 7);                                                                   \
    }

__attribute__((target("amx-tile,amx-bf16"))) static void
host_tile_bf16_amx(const struct host_tile *t)
{
    const uint32_t *a = t->a, *below = a + 16 * t->stride, *b = t->b, *right = host_tile_right(t);
    int64_t bytes = t->stride * 4, c_bytes = t->c_stride * 4;
    float *c = t->c, *c_below = c + 16 * t->c_stride;
    bool both = t->rows > 16;
    if (t->add) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + 16, c_bytes);
        _tile_loadd(2, c_below, c_bytes);
        _tile_loadd(3, c_below + 16, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    if (t->b_passes)
        HOST_TILE_STEPS(_tile_loadd, _tile_stream_loadd)
    else
        HOST_TILE_STEPS(_tile_stream_loadd, _tile_loadd)
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + 16, c_bytes);
    _tile_stored(2, c_below, c_bytes);
    _tile_stored(3, c_below + 16, c_bytes);
}

__attribute__((target("amx-tile"))) void host_tile_begin(enum host_isa isa)
{
    if (isa < HOST_ISA_AMX)
        return;
    struct host_tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    /* GCC 12's intrinsic tells of 8 bytes that it reads: others might stay unwritten. */
    __asm__ volatile("" : : "m"(config));
    _tile_loadconfig(&config);
}

__attribute__((target("amx-tile"))) void host_tile_end(enum host_isa isa)
{
    if (isa >= HOST_ISA_AMX)
        _tile_release();
}

host_tile_fn *host_tile_of(enum host_isa isa, enum tensor_type type)
{
    if (type == TENSOR_F32)
        return isa >= HOST_ISA_AVX512 ? host_tile_f32_avx512 : NULL;
    if (type == TENSOR_BF16 && isa >= HOST_ISA_AVX512_BF16)
        return isa >= HOST_ISA_AMX ? host_tile_bf16_amx : host_tile_bf16_avx512;
    return NULL;
}
#else
host_tile_fn *host_tile_of(enum host_isa isa, enum tensor_type type)
{
    (void)isa, (void)type;
    return NULL;
}
#endif
