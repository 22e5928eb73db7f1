/* Builds tar archives in memory, good and bad ones. */
#ifndef TESTS_UNIT_TAR_FIXTURE_H
#define TESTS_UNIT_TAR_FIXTURE_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct tar_image {
    unsigned char bytes[1 << 16];
    size_t size;
};

static inline void tar_sum(unsigned char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

/* Appends a header; returns it so that a test can spoil it (and call tar_sum again). */
static inline unsigned char *tar_header(struct tar_image *tar, const char *name, char type,
                                        size_t size)
{
    unsigned char *header = tar->bytes + tar->size;
    cr_assert_leq(tar->size + 512, sizeof(tar->bytes));
    memset(header, 0, 512);
    memcpy(header, name, strnlen(name, 100));
    memcpy(header + 100, "0000644", 8);
    snprintf((char *)header + 124, 12, "%011o", (unsigned)size & 0x7fffffff);
    header[156] = (unsigned char)type;
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    tar_sum(header);
    tar->size += 512;
    return header;
}

static inline void tar_body(struct tar_image *tar, const void *data, size_t size)
{
    cr_assert_leq(tar->size + size + 512, sizeof(tar->bytes));
    memset(tar->bytes + tar->size, 0, (size + 511) / 512 * 512);
    memcpy(tar->bytes + tar->size, data, size);
    tar->size += (size + 511) / 512 * 512;
}

static inline void tar_member(struct tar_image *tar, const char *name, char type, const char *text)
{
    tar_header(tar, name, type, strlen(text));
    tar_body(tar, text, strlen(text));
}

static inline void tar_end(struct tar_image *tar)
{
    cr_assert_leq(tar->size + 1024, sizeof(tar->bytes));
    memset(tar->bytes + tar->size, 0, 1024);
    tar->size += 1024;
}

#endif
