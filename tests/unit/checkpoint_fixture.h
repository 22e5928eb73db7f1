/* A small checkpoint in a temporary run directory, for the checkpoint tests. Each test is its own
 * process, so the statics are its own. */
#ifndef TESTS_UNIT_CHECKPOINT_FIXTURE_H
#define TESTS_UNIT_CHECKPOINT_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/checkpoint/checkpoint.h"

static char run[] = "/tmp/test_checkpoint.XXXXXX";
static float weights[24], moments[24];
static struct safetensors_tensor model_tensors[2], optimizer_tensors[1];

static void fixture_open(void)
{
    cr_assert_not_null(mkdtemp(run));
}

static void fixture_close(void)
{
    (void)!file_remove_tree(run, NULL);
}

/* Content of a checkpoint at `step`; its values depend on the step. Borrows the statics. */
static struct checkpoint_content fixture_content(uint64_t step)
{
    for (int i = 0; i < 24; i++) {
        weights[i] = (float)step + (float)i / 8;
        moments[i] = (float)i * (float)i;
    }
    model_tensors[0] = (struct safetensors_tensor){.name = "encoder.norm.weight",
                                                   .type = SAFETENSORS_F32,
                                                   .dims = 1,
                                                   .shape = {4},
                                                   .data = weights};
    model_tensors[1] = (struct safetensors_tensor){.name = "target_encoder.blocks.0.mlp.fc1.weight",
                                                   .type = SAFETENSORS_F32,
                                                   .dims = 2,
                                                   .shape = {4, 5},
                                                   .data = weights + 4};
    optimizer_tensors[0] = (struct safetensors_tensor){.name = "exp_avg.encoder.norm.weight",
                                                       .type = SAFETENSORS_F32,
                                                       .dims = 1,
                                                       .shape = {24},
                                                       .data = moments};
    return (struct checkpoint_content){.state = {.step = step,
                                                 .epoch = 3,
                                                 .batch = 17,
                                                 .steps_total = 1000,
                                                 .steps_per_epoch = 50,
                                                 .images = step * 32,
                                                 .seed = UINT64_MAX - 1,
                                                 .epochs_done = 3.34,
                                                 .parameters = "{\"width\":192,\"lr\":0.001}",
                                                 .trainer = "{\"note\":\"\xc3\xbc\"}",
                                                 .build = "abc-dirty",
                                                 .data = "f00d"},
                                       .sections = {{model_tensors, 2}, {optimizer_tensors, 1}}};
}

static struct checkpoint_info fixture_write(uint64_t step)
{
    struct checkpoint_content content = fixture_content(step);
    struct checkpoint_info info;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(checkpoint_write(run, &content, NULL, &info, &err), IJ_OK, "%s", err.text);
    return info;
}

__attribute__((unused)) static bool fixture_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Replaces a file in place, without any protocol: what a fault would do. */
__attribute__((unused)) static void fixture_put(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

#endif
