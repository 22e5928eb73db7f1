/* safetensors: a NumPy-made file, round trips, deterministic bytes, and hostile files. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/checkpoint/safetensors.h"

#define NUMPY_FILE "tests/unit/data/numpy.safetensors"

static char path[] = "/tmp/test_safetensors.XXXXXX";

static void make_path(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

static void put_file(const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    cr_assert_eq(file_write_all(fd, data, size, path, NULL), IJ_OK);
    close(fd);
}

/* A file of this header, `data_size` bytes of data, and a stated header size (-1: the true one). */
static void put_header(const char *header, size_t data_size, int64_t stated)
{
    size_t size = strlen(header);
    uint64_t n = stated < 0 ? size : (uint64_t)stated;
    uint8_t *file = mem_alloc_zero(8 + size + data_size, 1);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, size);
    put_file(file, 8 + size + data_size);
    mem_free(file);
}

static void expect_refusal(const char *field, const char *part)
{
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(safetensors_open(path, &file, &err), IJ_CORRUPT, "accepted; wanted \"%s\"", part);
    cr_assert_null(file);
    cr_assert_not_null(strstr(err.text, part), "\"%s\" lacks \"%s\"", err.text, part);
    cr_assert_str_eq(err.field, field ? field : path, "field \"%s\"", err.field);
}

/* One tensor "t" of the given entry and data size. */
static void expect_entry_refused(const char *entry, size_t data_size, const char *part)
{
    char header[512];
    snprintf(header, sizeof header, "{\"t\":%s}", entry);
    put_header(header, data_size, -1);
    expect_refusal("t", part);
}

TestSuite(safetensors, .init = make_path, .fini = remove_path);

Test(safetensors, reads_what_numpy_wrote)
{
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    double d[8];
    float f[8];
    int64_t n[8];
    cr_assert_eq(safetensors_open(NUMPY_FILE, &file, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(safetensors_count(file), 10);
    cr_assert_str_eq(safetensors_metadata(file, "made by"), "NumPy");
    cr_assert_null(safetensors_metadata(file, "absent"));
    const struct safetensors_tensor *t = safetensors_find(file, "f32");
    cr_assert(t && t->type == SAFETENSORS_F32 && t->dims == 2 && t->count == 6);
    cr_assert(t->shape[0] == 2 && t->shape[1] == 3);
    cr_assert_eq(safetensors_copy_f32(t, f, 6, &err), IJ_OK);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(f[i], (float)i / 4 - 0.5f);
    cr_assert_eq(safetensors_copy_f64(safetensors_find(file, "f64"), d, 2, &err), IJ_OK);
    cr_assert(d[0] == 3.141592653589793 && d[1] == -1e300);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "f16"), f, 4, &err), IJ_OK);
    cr_assert(f[0] == 1.5f && f[1] == -2 && f[2] == 65504 && f[3] == 0x1p-24f);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "bf16"), f, 2, &err), IJ_OK);
    cr_assert(f[0] == 3.140625f && f[1] == -1);
    cr_assert_eq(safetensors_copy_i64(safetensors_find(file, "i64"), n, 2, &err), IJ_OK);
    cr_assert(n[0] == -((int64_t)1 << 62) && n[1] == 7);
    cr_assert_eq(safetensors_copy_i64(safetensors_find(file, "i32"), n, 2, &err), IJ_OK);
    cr_assert(n[0] == -5 && n[1] == 2147483647);
    cr_assert_eq(safetensors_copy_i64(safetensors_find(file, "u8"), n, 3, &err), IJ_OK);
    cr_assert(n[0] == 0 && n[1] == 127 && n[2] == 255);
    cr_assert_eq(safetensors_find(file, "empty")->count, 0);
    cr_assert_eq(safetensors_find(file, "scalar")->dims, 0);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "scalar"), f, 1, &err), IJ_OK);
    cr_assert_eq(f[0], 2.5f);
    cr_assert_not_null(safetensors_find(file, "gr\u00fc\u00df"));
    cr_assert_null(safetensors_find(file, "f3"));
    safetensors_free(file);
}

Test(safetensors, refuses_a_copy_of_the_wrong_size_or_type)
{
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    const struct safetensors_tensor *t;
    float f[8];
    int64_t n[8];
    cr_assert_eq(safetensors_open(NUMPY_FILE, &file, &err), IJ_OK);
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "f32"), f, 5, &err), IJ_CORRUPT);
    cr_assert_str_eq(err.field, "f32");
    cr_assert_eq(safetensors_copy_f32(safetensors_find(file, "u8"), f, 3, &err), IJ_UNSUPPORTED);
    cr_assert_eq(safetensors_copy_i64(safetensors_find(file, "f64"), n, 2, &err), IJ_UNSUPPORTED);
    const uint64_t right[] = {2, 3}, wrong[] = {3, 2};
    cr_assert_eq(safetensors_find_shaped(file, "f32", 2, right, &t, &err), IJ_OK);
    cr_assert_eq(safetensors_find_shaped(file, "f32", 2, wrong, &t, &err), IJ_CORRUPT);
    cr_assert_eq(safetensors_find_shaped(file, "f32", 1, right, &t, &err), IJ_CORRUPT);
    cr_assert_eq(safetensors_find_shaped(file, "none", 2, right, &t, &err), IJ_CORRUPT);
    cr_assert_not_null(strstr(err.text, "missing"));
    safetensors_free(file);
}

static const float values[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
static const uint8_t bytes[3] = {9, 8, 7};
static const struct safetensors_tensor tensors[] = {
    {.name = "b \"quoted\"", .type = SAFETENSORS_U8, .dims = 1, .shape = {3}, .data = bytes},
    {.name = "a", .type = SAFETENSORS_F32, .dims = 3, .shape = {1, 2, 3}, .data = values},
    {.name = "none", .type = SAFETENSORS_F64, .dims = 2, .shape = {0, 5}},
};
static const struct safetensors_pair metadata[] = {{"key", "va\nlue"}};
static const struct safetensors_content content = {tensors, 3, metadata, 1};

static void write_content(const struct safetensors_content *what, uint8_t digest[HASH_SIZE])
{
    struct ij_err err = IJ_ERR_INIT;
    int fd = open(path, O_WRONLY | O_TRUNC);
    cr_assert_eq(safetensors_write(fd, path, what, digest, &err), IJ_OK, "%s", err.text);
    close(fd);
}

Test(safetensors, round_trip_keeps_everything_and_is_deterministic)
{
    struct safetensors *file = NULL;
    struct ij_err err = IJ_ERR_INIT;
    uint8_t first[HASH_SIZE], second[HASH_SIZE], whole[HASH_SIZE];
    uint64_t size;
    char *text;
    size_t text_size;
    write_content(&content, first);
    write_content(&content, second);
    cr_assert_arr_eq(first, second, HASH_SIZE);
    cr_assert_eq(safetensors_file_size(&content, &size, &err), IJ_OK);
    cr_assert_eq(file_read(path, 1 << 20, &text, &text_size, &err), IJ_OK);
    cr_assert_eq(text_size, size);
    hash_bytes(text, text_size, whole);
    cr_assert_arr_eq(whole, first, HASH_SIZE);
    mem_free(text);
    cr_assert_eq(safetensors_open(path, &file, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(safetensors_count(file), 3);
    cr_assert_str_eq(safetensors_metadata(file, "key"), "va\nlue");
    const struct safetensors_tensor *a = safetensors_find(file, "a");
    cr_assert(a && a->dims == 3 && a->shape[2] == 3);
    cr_assert_arr_eq(a->data, values, sizeof values);
    cr_assert_arr_eq(safetensors_at(file, 0)->data, bytes, sizeof bytes);
    cr_assert_eq((uintptr_t)safetensors_at(file, 0)->data % 64, 0);
    safetensors_free(file);
}

Test(safetensors, writer_refuses_bad_names_and_sizes)
{
    struct ij_err err = IJ_ERR_INIT;
    uint64_t size;
    struct safetensors_tensor bad[2] = {tensors[1], tensors[1]};
    const struct safetensors_content one = {bad, 1, NULL, 0}, two = {bad, 2, NULL, 0};
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_OK);
    cr_assert_eq(safetensors_file_size(&two, &size, &err), IJ_INVALID);
    cr_assert_not_null(strstr(err.text, "twice"));
    bad[0].name = "__metadata__";
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_INVALID);
    bad[0].name = "\xff";
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_INVALID);
    bad[0] = tensors[1];
    bad[0].dims = SAFETENSORS_DIMS_MAX;
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_OK);
    bad[0].dims = SAFETENSORS_DIMS_MAX + 1;
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_INVALID);
    bad[0] = tensors[1];
    bad[0].shape[0] = (uint64_t)1 << 62;
    cr_assert_eq(safetensors_file_size(&one, &size, &err), IJ_INVALID);
}

Test(safetensors, refuses_lying_headers)
{
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}", 4, "disagree");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 7,
                         "outside the file");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}", 8, "outside");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}", 8, "outside");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}", 8, "pair");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,\"8\"]}", 8, "pair");
    expect_entry_refused("{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "dtype");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}", 8, "shape");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}", 8, "shape");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2]}", 8, "expected an object");
    expect_entry_refused("[1]", 8, "expected an object");
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}",
                         1, "8 dimensions");
}

Test(safetensors, refuses_sizes_that_overflow)
{
    /* 2^32 * 2^32 values wrap to 0 in 64 bits; 2^62 values of 8 bytes wrap to 0 bytes. */
    expect_entry_refused(
        "{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}", 0,
        "overflows");
    expect_entry_refused(
        "{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}", 0,
        "disagree");
    expect_entry_refused(
        "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}", 1,
        "outside the file");
    put_header("{}", 0, INT64_MAX);
    expect_refusal(NULL, "header");
    put_header("{}", 0, 3);
    expect_refusal(NULL, "header");
    uint64_t most = UINT64_MAX;
    put_file(&most, sizeof most);
    expect_refusal(NULL, "header");
    put_file("1234567", 7);
    expect_refusal(NULL, "too short");
    put_file("", 0);
    expect_refusal(NULL, "empty");
}

Test(safetensors, refuses_overlaps_and_holes)
{
    const char *a = "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";
    char header[512];
    snprintf(header, sizeof header,
             "{%s,\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", a);
    put_header(header, 6, -1);
    expect_refusal("b", "overlaps");
    snprintf(header, sizeof header,
             "{%s,\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[5,9]}}", a);
    put_header(header, 9, -1);
    expect_refusal("b", "unused");
    snprintf(header, sizeof header, "{%s}", a);
    put_header(header, 5, -1);
    expect_refusal(NULL, "1 bytes after the last tensor");
}

Test(safetensors, refuses_bad_json)
{
    const char *t = "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";
    char header[512];
    snprintf(header, sizeof header, "{\"t\":%s,\"t\":%s}", t, t);
    put_header(header, 4, -1);
    expect_refusal(NULL, "duplicate");
    put_header("[]", 0, -1);
    expect_refusal(NULL, "not an object");
    put_header("{} x", 0, -1);
    expect_refusal(NULL, "bad header");
    put_header("{\"__metadata__\":{\"k\":1}}", 0, -1);
    expect_refusal(NULL, "__metadata__");
    size_t depth = 200000;
    char *deep = mem_alloc_zero(depth + 1, 1);
    memset(deep, '[', depth);
    put_header(deep, 0, -1);
    expect_refusal(NULL, "bad header");
    memcpy(deep, "{\"t\":", 5);
    put_header(deep, 0, -1);
    expect_refusal(NULL, "bad header");
    mem_free(deep);
}

Test(safetensors, header_size_limit)
{
    size_t size = SAFETENSORS_HEADER_MAX;
    char *header = mem_alloc_zero(size + 2, 1);
    memset(header, ' ', size + 1);
    header[0] = '{', header[1] = '}';
    header[size] = '\0';
    put_header(header, 0, -1);
    struct safetensors *file = NULL;
    cr_assert_eq(safetensors_open(path, &file, NULL), IJ_OK, "a header of exactly 16 MiB is fine");
    safetensors_free(file);
    header[size] = ' ';
    put_header(header, 0, -1);
    expect_refusal(NULL, "16 MiB");
    mem_free(header);
}

Test(safetensors, every_truncation_is_refused)
{
    char *text;
    size_t size;
    write_content(&content, NULL);
    cr_assert_eq(file_read(path, 1 << 20, &text, &size, NULL), IJ_OK);
    for (size_t n = 0; n < size; n++) {
        struct safetensors *file = NULL;
        put_file(text, n);
        cr_assert_neq(safetensors_open(path, &file, NULL), IJ_OK, "%zu of %zu bytes", n, size);
    }
    mem_free(text);
}

/* Whatever a bit flip does, the reader neither crashes nor hands out memory outside the file. */
Test(safetensors, bit_flips_never_escape_the_file)
{
    char *text;
    size_t size;
    write_content(&content, NULL);
    cr_assert_eq(file_read(path, 1 << 20, &text, &size, NULL), IJ_OK);
    for (size_t bit = 0; bit < size * 8; bit++) {
        struct safetensors *file = NULL;
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        put_file(text, size);
        if (safetensors_open(path, &file, NULL) == IJ_OK) {
            uint64_t sum = 0;
            for (size_t i = 0; i < safetensors_count(file); i++)
                sum += safetensors_at(file, i)->bytes;
            cr_assert_leq(sum, size);
            safetensors_free(file);
        }
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    mem_free(text);
}

Test(safetensors, running_out_of_memory_is_an_error)
{
    struct safetensors *file = NULL;
    enum ij_status status = IJ_NO_MEMORY;
    int failures = 0;
    write_content(&content, NULL);
    for (long n = 0; status != IJ_OK && n < 100; n++) {
        mem_fail_after(n);
        status = safetensors_open(path, &file, NULL);
        failures += status == IJ_NO_MEMORY;
        cr_assert(status == IJ_OK || status == IJ_NO_MEMORY);
    }
    mem_fail_after(-1);
    cr_assert_eq(status, IJ_OK);
    cr_assert_geq(failures, 3);
    safetensors_free(file);
}
