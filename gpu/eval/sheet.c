/* See sheet.h. */
#include "gpu/eval/sheet.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/eval/png_writer.h"

#define GAP        4u  /* pixels between tiles */
#define BACKGROUND 255 /* white */
#define FADED_TO   225 /* light grey */
#define NO_VALUE   200

enum ij_status sheet_init(struct sheet *sheet, uint32_t columns, uint32_t rows, uint32_t tile,
                          uint32_t grid, struct ij_err *reterr_err)
{
    *sheet = (struct sheet){.columns = columns, .rows = rows, .tile = tile, .grid = grid};
    sheet->width = columns * (tile + GAP) + GAP;
    sheet->height = rows * (tile + GAP) + GAP;
    size_t bytes = (size_t)sheet->width * sheet->height * 3;
    sheet->pixels = mem_alloc_zero(bytes, 1);
    if (!sheet->pixels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sheet of %u x %u pixels",
                      sheet->width, sheet->height);
    memset(sheet->pixels, BACKGROUND, bytes);
    return IJ_OK;
}

void sheet_done(struct sheet *sheet)
{
    mem_free(sheet->pixels);
    *sheet = (struct sheet){.columns = 0};
}

static uint8_t *pixel(const struct sheet *sheet, struct sheet_place at, uint32_t y, uint32_t x)
{
    IJ_ASSERT(at.row < sheet->rows && at.column < sheet->columns);
    size_t line = GAP + (size_t)at.row * (sheet->tile + GAP) + y;
    size_t column = GAP + (size_t)at.column * (sheet->tile + GAP) + x;
    return sheet->pixels + (line * sheet->width + column) * 3;
}

/* The patch under a pixel of a tile. */
static uint32_t patch_at(const struct sheet *sheet, uint32_t y, uint32_t x)
{
    return y * sheet->grid / sheet->tile * sheet->grid + x * sheet->grid / sheet->tile;
}

void sheet_image(struct sheet *sheet, struct sheet_place at, const uint8_t *pixels, uint32_t side)
{
    for (uint32_t y = 0; y < sheet->tile; y++)
        for (uint32_t x = 0; x < sheet->tile; x++) {
            size_t from = (size_t)(y * side / sheet->tile) * side + x * side / sheet->tile;
            memcpy(pixel(sheet, at, y, x), pixels + from * 3, 3);
        }
}

static uint8_t byte_of(float value)
{
    return (uint8_t)lrintf(fminf(fmaxf(value, 0.0f), 1.0f) * 255.0f);
}

void sheet_color(struct sheet *sheet, struct sheet_place at, const float *values)
{
    for (uint32_t y = 0; y < sheet->tile; y++)
        for (uint32_t x = 0; x < sheet->tile; x++)
            for (int c = 0; c < 3; c++)
                pixel(sheet, at, y, x)[c] = byte_of(values[patch_at(sheet, y, x) * 3 + c]);
}

/* Five colours of even steps in lightness, joined by straight lines. */
static void heat_color(float share, uint8_t ret[3])
{
    static const float stops[5][3] = {{0.267f, 0.005f, 0.329f},
                                      {0.229f, 0.322f, 0.546f},
                                      {0.128f, 0.567f, 0.551f},
                                      {0.369f, 0.789f, 0.383f},
                                      {0.993f, 0.906f, 0.144f}};
    float place = fminf(fmaxf(share, 0.0f), 1.0f) * 4.0f;
    int i = place >= 4.0f ? 3 : (int)place;
    for (int c = 0; c < 3; c++)
        ret[c] = byte_of(stops[i][c] + (place - (float)i) * (stops[i + 1][c] - stops[i][c]));
}

void sheet_heat(struct sheet *sheet, struct sheet_place at, const float *values, float low,
                float high)
{
    for (uint32_t y = 0; y < sheet->tile; y++)
        for (uint32_t x = 0; x < sheet->tile; x++) {
            float value = values[patch_at(sheet, y, x)];
            if (isnan(value))
                memset(pixel(sheet, at, y, x), NO_VALUE, 3);
            else
                heat_color((value - low) / (high - low), pixel(sheet, at, y, x));
        }
}

void sheet_fade(struct sheet *sheet, struct sheet_place at, const uint8_t *keep)
{
    for (uint32_t y = 0; y < sheet->tile; y++)
        for (uint32_t x = 0; x < sheet->tile; x++) {
            uint8_t *to = pixel(sheet, at, y, x);
            for (int c = 0; c < 3 && !keep[patch_at(sheet, y, x)]; c++)
                to[c] = (uint8_t)((to[c] + 7 * FADED_TO) / 8);
        }
}

void sheet_mark(struct sheet *sheet, struct sheet_place at, uint32_t patch)
{
    static const uint8_t frame[3] = {255, 40, 40};
    for (uint32_t y = 0; y < sheet->tile; y++)
        for (uint32_t x = 0; x < sheet->tile; x++) {
            bool edge = y < 2 || x < 2 || y + 2 >= sheet->tile || x + 2 >= sheet->tile ||
                        patch_at(sheet, y - 2, x) != patch || patch_at(sheet, y + 2, x) != patch ||
                        patch_at(sheet, y, x - 2) != patch || patch_at(sheet, y, x + 2) != patch;
            if (patch_at(sheet, y, x) == patch && edge)
                memcpy(pixel(sheet, at, y, x), frame, 3);
        }
}

enum ij_status sheet_save(const struct sheet *sheet, const char *path, struct ij_err *reterr_err)
{
    return png_writer_save(path, sheet->pixels, sheet->width, sheet->height, reterr_err);
}
