/* Position tables. See positions.h. */
#include "gpu/model/positions.h"

#include <math.h>

#include "base/mem.h"

void positions_fill(int64_t grid, int64_t width, float *ret_table)
{
    IJ_ASSERT(width % 4 == 0 && grid > 0);
    int64_t quarter = width / 4;
    for (int64_t n = 0; n < grid * grid; n++) {
        float *row = ret_table + n * width;
        double column = (double)(n % grid), line = (double)(n / grid);
        for (int64_t k = 0; k < quarter; k++) {
            double frequency = 1.0 / pow(10000.0, (double)k / (double)quarter);
            row[k] = (float)sin(column * frequency);
            row[quarter + k] = (float)cos(column * frequency);
            row[2 * quarter + k] = (float)sin(line * frequency);
            row[3 * quarter + k] = (float)cos(line * frequency);
        }
    }
}

#define BICUBIC_A (-0.75)
#define TAPS      4

/* Weights of the four samples round a place `t` of the way from the second to the third. */
static void bicubic(double t, double ret_weights[TAPS])
{
    for (int i = 0; i < TAPS; i++) {
        double x = fabs(t + 1 - i), a = BICUBIC_A;
        ret_weights[i] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1
                                : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

/* Where place `at` of `to` lies among `from`: its four neighbours and their weights. */
static void locate(int64_t at, int64_t from, int64_t to, int64_t ret_index[TAPS],
                   double ret_weights[TAPS])
{
    double place = ((double)at + 0.5) * (double)from / (double)to - 0.5;
    double below = floor(place);
    bicubic(place - below, ret_weights);
    for (int i = 0; i < TAPS; i++) {
        int64_t index = (int64_t)below + i - 1;
        ret_index[i] = index < 0 ? 0 : index >= from ? from - 1 : index;
    }
}

void positions_stretch(int64_t from, const float *table, int64_t to, int64_t width,
                       float *ret_table)
{
    int64_t line[TAPS], column[TAPS];
    double down[TAPS], across[TAPS];
    for (int64_t n = 0; n < to * to; n++) {
        locate(n / to, from, to, line, down);
        locate(n % to, from, to, column, across);
        for (int64_t d = 0; d < width; d++) {
            double sum = 0;
            for (int i = 0; i < TAPS; i++)
                for (int j = 0; j < TAPS; j++)
                    sum += down[i] * across[j] *
                           (double)table[(line[i] * from + column[j]) * width + d];
            ret_table[n * width + d] = (float)sum;
        }
    }
}

enum ij_status positions_encoder(const struct vit_config *config, float *ret_table,
                                 struct ij_err *reterr_err)
{
    int64_t from = config->stretched, width = config->encoder.width;
    if (from == 0 || from == config->grid) {
        positions_fill(config->grid, width, ret_table);
        return IJ_OK;
    }
    mem_auto float *trained = mem_array(float, (size_t)(from * from * width));
    if (!trained)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a position table");
    positions_fill(from, width, trained);
    positions_stretch(from, trained, config->grid, width, ret_table);
    return IJ_OK;
}
