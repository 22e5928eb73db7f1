/* See safetensors.h: the writer. The header is printed by hand in the order given, with jansson's
 * escaping for names, so that equal input gives equal bytes. */
#include <endian.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/checkpoint/safetensors.h"

#define DATA_ALIGNMENT 64

static enum ij_status tensor_bytes(const struct safetensors_tensor *tensor, uint64_t *ret_bytes,
                                   struct ij_err *reterr_err)
{
    const char *name = tensor->name ? tensor->name : "";
    if (name[0] == '\0' || strcmp(name, "__metadata__") == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name, "\"%s\" cannot name a tensor", name);
    if (tensor->dims < 0 || tensor->dims > SAFETENSORS_DIMS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name,
                            "tensor \"%.100s\" has %d dimensions, at most %d are possible", name,
                            tensor->dims, SAFETENSORS_DIMS_MAX);
    uint64_t bytes = safetensors_type_size(tensor->type);
    for (int i = 0; i < tensor->dims; i++)
        if (__builtin_mul_overflow(bytes, tensor->shape[i], &bytes) || bytes > INT64_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name,
                                "the size of tensor \"%.100s\" overflows", name);
    *ret_bytes = bytes;
    return IJ_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* `texts` is sorted in place. */
static enum ij_status check_unique(const char **texts, size_t count, const char *what,
                                   struct ij_err *reterr_err)
{
    qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 1; i < count; i++)
        if (strcmp(texts[i - 1], texts[i]) == 0)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, texts[i], "%s \"%.100s\" occurs twice",
                                what, texts[i]);
    return IJ_OK;
}

static enum ij_status check_names(const struct safetensors_content *content,
                                  struct ij_err *reterr_err)
{
    size_t most =
        content->count > content->metadata_count ? content->count : content->metadata_count;
    mem_auto const char **texts = mem_array(const char *, most);
    if (!texts)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the names of %zu tensors", most);
    for (size_t i = 0; i < content->metadata_count; i++)
        texts[i] = content->metadata[i].key;
    IJ_TRY(check_unique(texts, content->metadata_count, "metadata key", reterr_err));
    for (size_t i = 0; i < content->count; i++)
        texts[i] = content->tensors[i].name;
    return check_unique(texts, content->count, "tensor", reterr_err);
}

/* Appends `text` as a JSON string; text that is not UTF-8 marks the buffer as failed. */
static void append_quoted(struct buf *buf, const char *text)
{
    json_t *value = json_string(text);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (quoted)
        buf_append_text(buf, quoted);
    else
        buf->status = IJ_INVALID;
    free(quoted);
}

static void append_metadata(struct buf *buf, const struct safetensors_content *content)
{
    buf_append_text(buf, "\"__metadata__\":{");
    for (size_t i = 0; i < content->metadata_count; i++) {
        buf_append_text(buf, i ? "," : "");
        append_quoted(buf, content->metadata[i].key);
        buf_append_text(buf, ":");
        append_quoted(buf, content->metadata[i].value);
    }
    buf_append_text(buf, "}");
}

static void append_tensor(struct buf *buf, const struct safetensors_tensor *tensor, uint64_t begin,
                          uint64_t end)
{
    append_quoted(buf, tensor->name);
    buf_printf(buf, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_type_name(tensor->type));
    for (int i = 0; i < tensor->dims; i++)
        buf_printf(buf, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
    buf_printf(buf, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

/* Header size and header, padded with spaces so that the data is aligned. */
static enum ij_status build_header(const struct safetensors_content *content, struct buf *buf,
                                   uint64_t *ret_data_bytes, struct ij_err *reterr_err)
{
    uint64_t size = 0, offset = 0;
    IJ_TRY(check_names(content, reterr_err));
    buf_append(buf, &size, sizeof size);
    buf_append_text(buf, "{");
    if (content->metadata_count > 0)
        append_metadata(buf, content);
    for (size_t i = 0; i < content->count; i++) {
        uint64_t bytes, end;
        IJ_TRY(tensor_bytes(&content->tensors[i], &bytes, reterr_err));
        if (__builtin_add_overflow(offset, bytes, &end) || end > INT64_MAX)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, content->tensors[i].name,
                                "the sizes of the tensors overflow");
        buf_append_text(buf, i || content->metadata_count > 0 ? "," : "");
        append_tensor(buf, &content->tensors[i], offset, end);
        offset = end;
    }
    buf_append_text(buf, "}");
    while (buf_status(buf) == IJ_OK && buf->size % DATA_ALIGNMENT != 0)
        buf_append_text(buf, " ");
    if (buf_status(buf) != IJ_OK)
        return IJ_ERR(reterr_err, buf_status(buf),
                      "cannot build the header: a name is not UTF-8, or it exceeds 16 MiB");
    size = htole64(buf->size - sizeof size);
    memcpy(buf->data, &size, sizeof size);
    *ret_data_bytes = offset;
    return IJ_OK;
}

static void header_done(struct buf *header)
{
    buf_done(header);
}

enum ij_status safetensors_file_size(const struct safetensors_content *content, uint64_t *ret_bytes,
                                     struct ij_err *reterr_err)
{
    __attribute__((cleanup(header_done))) struct buf header;
    uint64_t data_bytes;
    buf_init(&header, SAFETENSORS_HEADER_MAX);
    IJ_TRY(build_header(content, &header, &data_bytes, reterr_err));
    *ret_bytes = header.size + data_bytes;
    return IJ_OK;
}

enum ij_status safetensors_write(int fd, const char *path,
                                 const struct safetensors_content *content,
                                 uint8_t ret_digest[HASH_SIZE], struct ij_err *reterr_err)
{
    __attribute__((cleanup(header_done))) struct buf header;
    uint64_t data_bytes, bytes;
    struct hash hash;
    buf_init(&header, SAFETENSORS_HEADER_MAX);
    IJ_TRY(build_header(content, &header, &data_bytes, reterr_err));
    hash_init(&hash);
    hash_update(&hash, header.data, header.size);
    IJ_TRY(file_write_all(fd, header.data, header.size, path, reterr_err));
    for (size_t i = 0; i < content->count; i++) {
        const struct safetensors_tensor *tensor = &content->tensors[i];
        IJ_TRY(tensor_bytes(tensor, &bytes, reterr_err));
        hash_update(&hash, tensor->data, (size_t)bytes);
        IJ_TRY(file_write_all(fd, tensor->data, (size_t)bytes, path, reterr_err));
    }
    if (ret_digest)
        hash_final(&hash, ret_digest);
    return IJ_OK;
}
