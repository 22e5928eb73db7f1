/* Tar shards: every way to name a member, labels, and headers that lie. */
#include "tests/unit/image_fixture.h"
#include "tests/unit/tar_fixture.h"

#include "gpu/data/dataset.h"

static struct engine_data data;
static struct ij_err err;
static struct tar_image tar;

static void set_up(void)
{
    image_folder_make();
    snprintf(data.path, sizeof(data.path), "%s/x.tar", image_folder);
    strcpy(data.eval_path, data.path); /* all images, no split */
    data.labels = ENGINE_LABELS_FOLDER;
}

TestSuite(source_tar, .init = set_up, .fini = image_folder_remove);

static void save(const char *name)
{
    image_write(name, tar.bytes, tar.size);
    tar.size = 0;
}

static struct dataset *must_open(void)
{
    struct dataset *dataset = NULL;
    cr_assert_eq(dataset_open(&data, DATASET_EVAL, &dataset, &err), IJ_OK, "%s", err.text);
    return dataset;
}

static void expect_refused(enum ij_status status, const char *part)
{
    struct dataset *dataset = NULL;
    save("x.tar");
    err = (struct ij_err)IJ_ERR_INIT;
    cr_expect_eq(dataset_open(&data, DATASET_EVAL, &dataset, &err), status, "%s", err.text);
    cr_expect_str_eq(err.field, "data.eval_path");
    cr_expect_not_null(strstr(err.text, part), "wanted \"%s\": %s", part, err.text);
    dataset_free(dataset);
}

static void expect_member(const struct dataset *dataset, size_t i, const char *name,
                          const char *class_name, const char *text)
{
    struct dataset_buffer buffer = {0};
    cr_expect_str_eq(dataset_name(dataset, i), name);
    cr_expect_str_eq(dataset_class_name(dataset, (size_t)dataset_label(dataset, i)), class_name);
    cr_assert_eq(dataset_read(dataset, i, &buffer, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(buffer.size, strlen(text));
    cr_expect_arr_eq(buffer.data, text, buffer.size);
    mem_free(buffer.data);
}

Test(source_tar, members_are_found_whatever_names_them)
{
    char record[300], name[250];
    memset(name, 'n', 200);
    strcpy(name + 200, ".jpg");
    tar_member(&tar, "./cat/1.jpg", '0', "one");
    tar_member(&tar, "cat/notes.txt", '0', "no image");
    tar_member(&tar, "cat/._1.jpg", '0', "resource fork");
    tar_header(&tar, "dog/", '5', 0);
    tar_header(&tar, "dog/link.jpg", '2', 0);
    tar_member(&tar, "././@LongLink", 'L', name);
    tar_member(&tar, "cut.jpg", '0', "long");
    snprintf(record, sizeof(record), "22 path=dog/\xc3\xa9t\xc3\xa9.jpg\n");
    tar_member(&tar, "PaxHeaders/x", 'x', record);
    tar_member(&tar, "plain.jpg", '0', "pax");
    memcpy(tar_header(&tar, "2.png", '\0', 3) + 345, "far/away", 8);
    tar_sum(tar.bytes + tar.size - 512);
    tar_body(&tar, "two", 3);
    tar_end(&tar);
    save("x.tar");
    struct dataset *dataset = must_open();
    cr_assert_eq(dataset_count(dataset), 4);
    expect_member(dataset, 0, "x.tar:cat/1.jpg", "cat", "one");
    expect_member(dataset, 1, "x.tar:dog/\xc3\xa9t\xc3\xa9.jpg", "dog", "pax");
    expect_member(dataset, 2, "x.tar:far/away/2.png", "away", "two");
    cr_expect_eq(dataset_class_count(dataset), 4, "and the shard's own name");
    dataset_free(dataset);
}

Test(source_tar, a_folder_of_shards_is_one_dataset)
{
    tar_member(&tar, "1.jpg", '0', "a1");
    tar_end(&tar);
    save("shards/n02.tar");
    tar_member(&tar, "1.jpg", '0', "b1");
    tar_member(&tar, "2.jpg", '0', "b2"); /* and no end mark, as some writers leave it */
    save("shards/n01.tar");
    snprintf(data.eval_path, sizeof(data.eval_path), "%s/shards", image_folder);
    strcpy(data.path, data.eval_path);
    struct dataset *dataset = must_open();
    cr_assert_eq(dataset_count(dataset), 3);
    expect_member(dataset, 0, "n01.tar:1.jpg", "n01", "b1");
    expect_member(dataset, 1, "n01.tar:2.jpg", "n01", "b2");
    expect_member(dataset, 2, "n02.tar:1.jpg", "n02", "a1");
    dataset_free(dataset);
}

Test(source_tar, sizes_in_base_256_and_pax_are_understood)
{
    unsigned char *header = tar_header(&tar, "a/1.jpg", '0', 0);
    memset(header + 124, 0, 12);
    header[124] = 0x80;
    header[135] = 4;
    tar_sum(header);
    tar_body(&tar, "four", 4);
    tar_member(&tar, "PaxHeaders/x", 'x', "10 size=3\n");
    tar_header(&tar, "a/2.jpg", '0', 99);
    tar_body(&tar, "333", 3);
    tar_end(&tar);
    save("x.tar");
    struct dataset *dataset = must_open();
    cr_assert_eq(dataset_count(dataset), 2);
    expect_member(dataset, 0, "x.tar:a/1.jpg", "a", "four");
    expect_member(dataset, 1, "x.tar:a/2.jpg", "a", "333");
    dataset_free(dataset);
}

Test(source_tar, lying_sizes_are_refused)
{
    static const unsigned char huge[][12] = {
        {0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* near 2^63 */
        {0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* negative */
        "77777777777",
        "0000000zzzz",
        "-0000000001",
    };
    for (size_t i = 0; i < COUNT_OF(huge); i++) {
        unsigned char *header = tar_header(&tar, "a/1.jpg", '0', 0);
        memcpy(header + 124, huge[i], 12);
        tar_sum(header);
        tar_end(&tar);
        expect_refused(IJ_CORRUPT, "offset 0");
    }
    /* At the limit: exactly what is left; one more is refused. */
    tar_header(&tar, "a/1.jpg", '0', 512);
    tar_body(&tar, "x", 1);
    save("x.tar");
    dataset_free(must_open());
    tar_header(&tar, "a/1.jpg", '0', 513);
    tar_body(&tar, "x", 1);
    expect_refused(IJ_CORRUPT, "beyond the end");
}

Test(source_tar, damaged_headers_are_refused_with_their_place)
{
    tar_member(&tar, "a/1.jpg", '0', "one");
    tar_header(&tar, "a/2.jpg", '0', 0)[0] ^= 1;
    tar_end(&tar);
    expect_refused(IJ_CORRUPT, "offset 1024: the header's checksum");
    tar_member(&tar, "a/1.jpg", '0', "one");
    tar.size += 100;
    expect_refused(IJ_CORRUPT, "middle of a block");
    tar_header(&tar, "a/1.jpg", 'S', 0);
    tar_end(&tar);
    expect_refused(IJ_CORRUPT, "sparse");
    tar_end(&tar);
    expect_refused(IJ_DATA, "holds no images");
    expect_refused(IJ_DATA, "holds no images"); /* zero bytes */
}

Test(source_tar, hostile_extension_records_are_refused)
{
    static const char *const records[] = {"99999999999999999999 path=a\n",
                                          "0 path=a/1.jpg\n",
                                          "5 path=a/1.jpg\n",
                                          "7 size=\n",
                                          "12 size=1x2\n",
                                          "garbage",
                                          "-9 path=a\n",
                                          "8 nopath\n"};
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        tar_member(&tar, "PaxHeaders/x", 'x', records[i]);
        tar_member(&tar, "a/1.jpg", '0', "one");
        tar_end(&tar);
        expect_refused(IJ_CORRUPT, "pax record");
    }
    static char name[ENGINE_PATH_MAX + 2];
    memset(name, 'n', ENGINE_PATH_MAX + 1);
    tar_member(&tar, "././@LongLink", 'L', name);
    tar_member(&tar, "a/1.jpg", '0', "one");
    expect_refused(IJ_CORRUPT, "member name");
    unsigned char *header = tar_header(&tar, "PaxHeaders/x", 'x', (1 << 20) + 1);
    (void)header;
    tar_end(&tar);
    expect_refused(IJ_CORRUPT, "offset 0");
}

/* Every byte of a small shard, spoiled in turn: refused or read, never worse. */
Test(source_tar, any_spoiled_byte_is_survived)
{
    tar_member(&tar, "PaxHeaders/x", 'x', "17 path=a/1.jpg\n\n");
    tar_member(&tar, "plain.jpg", '0', "one");
    tar_member(&tar, "././@LongLink", 'L', "a/2.jpg");
    tar_member(&tar, "cut.jpg", '0', "two");
    tar_end(&tar);
    size_t size = tar.size;
    struct tar_image good = tar;
    for (size_t i = 0; i < size; i++)
        for (int resum = 0; resum < 2; resum++) {
            struct dataset *dataset = NULL;
            tar = good;
            tar.bytes[i] ^= 0x55;
            if (resum)
                tar_sum(tar.bytes + i / 512 * 512);
            save("x.tar");
            enum ij_status status = dataset_open(&data, DATASET_EVAL, &dataset, &err);
            cr_assert(status == IJ_OK || status == IJ_CORRUPT || status == IJ_DATA, "byte %zu: %s",
                      i, err.text);
            dataset_free(dataset);
        }
}
