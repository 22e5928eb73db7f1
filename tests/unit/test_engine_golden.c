/* Replays of reference files: five training steps of another implementation; damaged files. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/engine.h"

static void keep_differing(void *user, const char *line)
{
    int *lines = user;
    (*lines)++;
    cr_expect(!strstr(line, "DIFFERS"), "%s", line);
}

static void expect_replay(const char *path)
{
    struct ij_err err = IJ_ERR_INIT;
    int lines = 0;
    cr_expect_eq(engine_check_golden(path, keep_differing, &lines, &err), IJ_OK, "%s", err.text);
    /* Four features, five losses, three groups of weights, every gradient. */
    cr_expect(lines > 4 + 5 + 3 + 40, "%d groups", lines);
}

Test(engine_golden, square, .timeout = 120)
{
    expect_replay("tests/golden/square.safetensors");
}

Test(engine_golden, patch14, .timeout = 120)
{
    expect_replay("tests/golden/patch14.safetensors");
}

Test(engine_golden, giant_ratio_with_l2_loss, .timeout = 120)
{
    expect_replay("tests/golden/giant_ratio.safetensors");
}

static void count_differing(void *user, const char *line)
{
    *(int *)user += strstr(line, "DIFFERS") != NULL;
}

/* One bit of a weight's exponent: the replay must notice and say so. */
Test(engine_golden, a_changed_weight_is_noticed, .timeout = 120)
{
    mem_auto char *data = NULL;
    size_t size;
    char path[] = "/tmp/ijepad-golden-XXXXXX";
    struct ij_err err = IJ_ERR_INIT;
    int differing = 0;
    cr_assert_eq(file_read("tests/golden/giant_ratio.safetensors", 1 << 24, &data, &size, NULL),
                 IJ_OK);
    uint64_t header;
    memcpy(&header, data, sizeof header);
    /* init.encoder.patch_embed.proj.weight begins at 11264 of the data. */
    data[8 + header + 11264 + 3] ^= 0x01;
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    cr_expect_eq(engine_check_golden(path, count_differing, &differing, &err), IJ_DATA);
    cr_expect(differing > 0);
    unlink(path);
}

Test(engine_golden, not_a_reference_file)
{
    struct ij_err err = IJ_ERR_INIT;
    int ignored = 0;
    cr_expect_eq(engine_check_golden("tests/golden/masks.json", count_differing, &ignored, &err),
                 IJ_CORRUPT);
    cr_expect_eq(engine_check_golden("tests/golden/missing", count_differing, &ignored, &err),
                 IJ_NOT_FOUND, "%s", err.text);
}
