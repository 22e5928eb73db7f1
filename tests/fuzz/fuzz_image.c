/* Files that say they are JPEG or PNG: a part of each is decoded to its last row. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "gpu/data/image_reader.h"

#define PIXELS_MAX 4000000u /* a run must be short; larger ones are tested by the corpus of bombs */

static unsigned decode(struct image_reader *reader, const struct image_box *box)
{
    struct image_strip strip;
    unsigned sum = 0;
    if (image_reader_start(reader, box, NULL) != IJ_OK)
        return 0;
    for (uint32_t row = 0; row < box->height; row += strip.count) {
        if (image_reader_rows(reader, &strip, NULL) != IJ_OK)
            return sum;
        IJ_ASSERT(strip.count >= 1 && strip.count <= IMAGE_STRIP_ROWS);
        for (uint32_t y = 0; y < strip.count; y++)
            for (uint32_t x = 0; x < box->width; x++)
                sum += strip.pixels[y * strip.stride + (size_t)4 * x];
    }
    return sum;
}

const char fuzz_target[] = "image";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct image_reader *reader;
    struct image_info info;
    struct ij_err err = IJ_ERR_INIT;
    if (!reader)
        IJ_ASSERT(image_reader_new(&reader, NULL) == IJ_OK);
    if (image_reader_open(reader, data, size, &info, &err) != IJ_OK) {
        IJ_ASSERT(err.text[0]);
        return 0;
    }
    IJ_ASSERT(info.width && info.height && (uint64_t)info.width * info.height <= IMAGE_PIXELS_MAX);
    if (info.width <= PIXELS_MAX / info.height) {
        uint32_t x = info.width / 3, y = info.height / 3;
        (void)decode(reader, &(struct image_box){x, y, info.width - x, info.height - y});
    }
    image_reader_close(reader);
    return 0;
}
