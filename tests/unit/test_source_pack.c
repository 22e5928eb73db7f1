/* Packed datasets: the same images in the same order as unpacked, going on after a stop, and
 * indexes that lie. */
#include "tests/unit/loader_fixture.h"

#include <dirent.h>
#include <sys/stat.h>

#include "gpu/data/pack_format.h"

#define SHARD_BYTES 8000u /* a few images each */

static char pack_folder[] = "/tmp/test_pack.XXXXXX";
static int shards_told, shards_kept;

static void set_up(void)
{
    loader_set_up();
    cr_assert_not_null(mkdtemp(pack_folder));
}

static void tear_down(void)
{
    loader_tear_down();
    cr_expect_eq(file_remove_tree(pack_folder, NULL), IJ_OK);
}

TestSuite(source_pack, .init = set_up, .fini = tear_down, .timeout = 60);

static void count_line(void *user, const char *line)
{
    (void)user;
    shards_told++;
    shards_kept += strstr(line, "there already") != NULL;
}

static enum ij_status pack(void)
{
    const struct engine_pack options = {image_folder, pack_folder, SHARD_BYTES};
    shards_told = shards_kept = 0;
    err = (struct ij_err)IJ_ERR_INIT;
    return engine_pack(&options, count_line, NULL, &err);
}

static const char *packed(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", pack_folder, name);
    return path;
}

static void use_pack(void)
{
    snprintf(data.path, sizeof data.path, "%s", pack_folder);
    strcpy(data.eval_path, data.path);
}

static void expect_same_images(const struct dataset *other)
{
    struct dataset_buffer a = {0}, b = {0};
    cr_assert_eq(dataset_count(dataset), dataset_count(other));
    cr_assert_eq(dataset_class_count(dataset), dataset_class_count(other));
    cr_expect_str_eq(dataset_fingerprint(dataset), dataset_fingerprint(other));
    for (size_t i = 0; i < dataset_count(other); i++) {
        cr_expect_str_eq(dataset_name(dataset, i), dataset_name(other, i));
        cr_expect_eq(dataset_label(dataset, i), dataset_label(other, i));
        cr_assert_eq(dataset_read(dataset, i, &a, &err), IJ_OK, "%s", err.text);
        cr_assert_eq(dataset_read(other, i, &b, &err), IJ_OK, "%s", err.text);
        cr_assert_eq(a.size, b.size);
        cr_expect_arr_eq(a.data, b.data, a.size);
    }
    mem_free(a.data);
    mem_free(b.data);
}

Test(source_pack, a_pack_gives_the_batches_of_its_folder)
{
    uint8_t folder[HASH_SIZE], shards[HASH_SIZE];
    struct loader_options options = train_options();
    digest_of(&options, 12, folder);
    struct dataset *unpacked = dataset;
    dataset = NULL;
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    cr_expect_gt(shards_told, 3);
    use_pack();
    reopen();
    expect_same_images(unpacked);
    digest_of(&options, 12, shards);
    cr_expect_arr_eq(folder, shards, HASH_SIZE);
    cr_expect_eq(engine_check_pack(pack_folder, count_line, NULL, &err), IJ_OK, "%s", err.text);
    dataset_free(unpacked);
}

Test(source_pack, splits_stay_splits)
{
    image_write_jpeg("train/a/1.jpg", 20, 20, 1);
    image_write_jpeg("train/b/2.jpg", 20, 20, 2);
    image_write_jpeg("val/b/3.jpg", 20, 20, 3);
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    cr_expect_eq(shards_told, 2);
    use_pack();
    data.eval_path[0] = '\0';
    reopen();
    cr_expect_eq(dataset_count(dataset), 2);
    struct dataset *eval = NULL;
    cr_assert_eq(dataset_open(&data, DATASET_EVAL, &eval, &err), IJ_OK, "%s", err.text);
    cr_expect_str_eq(dataset_name(eval, 0), "b/3.jpg");
    cr_expect_eq(dataset_label(eval, 0), 1);
    dataset_free(eval);
}

/* Everything in the folder of the pack, as one hash. */
static void hash_pack(uint8_t ret_digest[HASH_SIZE])
{
    struct hash hash;
    hash_init(&hash);
    for (uint32_t i = 0;; i++) {
        char name[PACK_NAME_SIZE];
        mem_auto char *bytes = NULL;
        size_t size;
        pack_shard_name(i, name);
        if (file_read(packed(name), 1 << 20, &bytes, &size, NULL) != IJ_OK)
            break;
        hash_update(&hash, bytes, size);
    }
    mem_auto char *index = NULL;
    size_t size;
    cr_assert_eq(file_read(packed(PACK_INDEX_NAME), 1 << 20, &index, &size, &err), IJ_OK, "%s",
                 err.text);
    hash_update(&hash, index, size);
    hash_final(&hash, ret_digest);
}

Test(source_pack, it_goes_on_where_it_was_stopped)
{
    uint8_t first[HASH_SIZE], second[HASH_SIZE];
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    int all = shards_told;
    hash_pack(first);
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    cr_expect_eq(shards_kept, all, "a finished pack is left alone");
    /* as a kill leaves it: no index, the third shard half written, none after it */
    cr_assert_eq(unlink(packed(PACK_INDEX_NAME)), 0);
    cr_assert_eq(truncate(packed("shard-00002.pack"), 1000), 0);
    char part[200];
    snprintf(part, sizeof part, "%s", packed("shard-00002.pack.part"));
    cr_assert_eq(rename(packed("shard-00002.pack"), part), 0);
    for (int i = 3; i < all; i++) {
        char name[PACK_NAME_SIZE];
        pack_shard_name((uint32_t)i, name);
        cr_assert_eq(unlink(packed(name)), 0);
    }
    struct dataset *none = NULL;
    use_pack();
    cr_expect_eq(dataset_open(&data, DATASET_TRAIN, &none, &err), IJ_DATA);
    cr_expect_not_null(strstr(err.text, "not finished"), "%s", err.text);
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    cr_expect_eq(shards_kept, 2);
    cr_expect_eq(shards_told, all);
    hash_pack(second);
    cr_expect_arr_eq(first, second, HASH_SIZE);
    cr_expect_neq(access(part, F_OK), 0, "the half shard is gone");
}

static void expect_conflict(const char *part)
{
    cr_expect_eq(pack(), IJ_CONFLICT, "%s", err.text);
    cr_expect_not_null(strstr(err.text, part), "%s", err.text);
    cr_expect_str_eq(err.field, "directory");
}

Test(source_pack, nothing_of_others_is_overwritten)
{
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    image_write_jpeg("c0/00.jpg", 33, 44, 5); /* another first image */
    expect_conflict("shard-00000.pack is of other images");
    cr_assert_eq(file_remove_tree(pack_folder, NULL), IJ_OK);
    cr_assert_eq(mkdir(pack_folder, 0700), 0);
    cr_assert_eq(file_write_durable(packed("thesis.tex"), "x", 1, 0600, NULL), IJ_OK);
    expect_conflict("holds thesis.tex");
}

Test(source_pack, what_cannot_be_read_is_named)
{
    cr_assert_eq(chmod(image_below("c1/01.jpg"), 0), 0);
    if (access(image_below("c1/01.jpg"), R_OK) == 0)
        cr_skip_test("root reads everything");
    cr_expect_eq(pack(), IJ_FORBIDDEN);
    cr_expect_not_null(strstr(err.text, "c1/01.jpg"), "%s", err.text);
}

Test(source_pack, a_flipped_byte_is_found)
{
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    FILE *file = fopen(packed("shard-00001.pack"), "r+");
    cr_assert_not_null(file);
    fseek(file, 500, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, 500, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
    cr_expect_eq(engine_check_pack(pack_folder, count_line, NULL, &err), IJ_CORRUPT);
    cr_expect_not_null(strstr(err.text, "shard-00001.pack"), "%s", err.text);
}

/* ---- Indexes that lie ------------------------------------------------------------------------ */

struct lie {
    const char *cause; /* part of the message */
    size_t at;         /* where `value` is written, `bytes` of it */
    uint64_t value;
    size_t bytes;
};

static void expect_refused(const char *index, size_t size, const char *cause)
{
    struct dataset *none = NULL;
    cr_assert_eq(file_write_durable(packed(PACK_INDEX_NAME), index, size, 0600, &err), IJ_OK);
    err = (struct ij_err)IJ_ERR_INIT;
    cr_expect_eq(dataset_open(&data, DATASET_TRAIN, &none, &err), IJ_CORRUPT, "%s: %s", cause,
                 err.text);
    cr_expect_not_null(strstr(err.text, cause), "wanted \"%s\": %s", cause, err.text);
    cr_expect_str_eq(err.field, "data.path");
    dataset_free(none);
}

static void expect_lie(const char *good, size_t size, const struct lie *lie)
{
    mem_auto char *index = mem_array(char, size);
    memcpy(index, good, size);
    memcpy(index + lie->at, &lie->value, lie->bytes);
    hash_bytes(index, size - HASH_SIZE, (uint8_t *)index + size - HASH_SIZE);
    expect_refused(index, size, lie->cause);
}

Test(source_pack, an_index_that_lies_is_refused_by_cause)
{
    mem_auto char *good = NULL;
    size_t size;
    cr_assert_eq(pack(), IJ_OK, "%s", err.text);
    use_pack();
    cr_assert_eq(file_read(packed(PACK_INDEX_NAME), 1 << 20, &good, &size, &err), IJ_OK);
    size_t shard = sizeof(struct pack_index);
    size_t entry = shard + (size_t)shards_told * sizeof(struct pack_shard);
    size_t texts = entry + IMAGES * sizeof(struct pack_entry);
    const struct lie lies[] = {
        {"does not begin", 0, 'x', 1},
        {"than the limits allow", 8, UINT64_MAX, 8},
        {"than the limits allow", 16, UINT64_MAX, 8},
        {"than the limits allow", 24, UINT32_MAX, 4},
        {"not what its head says", 8, IMAGES - 1, 8},
        {"texts do not end", size - HASH_SIZE - 1, 'x', 1},
        {"size is impossible", shard, UINT64_MAX, 8},
        {"has not the", shard, 7000000, 8},
        {"does not belong", shard + 8, 0, 8},
        {"name lies outside", entry, 1 << 20, 8},
        {"name lies outside", entry + 8, 1 << 20, 8},
        {"beyond its shard", entry + 16, 0, 8},
        {"beyond its shard", entry + 16, UINT64_MAX, 8},
        {"beyond its shard", entry + 24, UINT32_MAX, 4},
        {"does not exist", entry + 28, 9999, 4},
        {"not in order", texts, 'z', 1},
    };
    for (size_t i = 0; i < COUNT_OF(lies); i++)
        expect_lie(good, size, &lies[i]);
    good[size / 2] ^= 1;
    expect_refused(good, size, "SHA-256 does not fit");
    expect_refused(good, size - 1, "not what its head says");
    expect_refused(good, 20, "within its head");
    expect_refused(good, 0, "within its head");
}
