/* Position tables. See positions.h. */
#include "gpu/model/positions.h"

#include <math.h>

#include "base/status.h"

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
