/*
 * safetensors files: a checked, mapped reader and a deterministic writer.
 *
 * Format (https://github.com/huggingface/safetensors): u64 little-endian header size, a JSON header
 * {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {text: text}}, then the data. The
 * reader treats the file as hostile: every size is checked against the file's length without
 * overflow before it is used, duplicate names, holes and overlaps are refused, and the error names
 * the tensor. Values are little-endian, as this machine's.
 */
#ifndef GPU_CHECKPOINT_SAFETENSORS_H
#define GPU_CHECKPOINT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

#define SAFETENSORS_HEADER_MAX  ((uint64_t)16 << 20)
#define SAFETENSORS_DIMS_MAX    8
#define SAFETENSORS_TENSORS_MAX 100000

/* X(code, name in the file, bytes per value) */
#define SAFETENSORS_TYPE_MAP(X)                                                                    \
    X(F32, "F32", 4)                                                                               \
    X(F64, "F64", 8)                                                                               \
    X(F16, "F16", 2)                                                                               \
    X(BF16, "BF16", 2)                                                                             \
    X(I32, "I32", 4)                                                                               \
    X(I64, "I64", 8)                                                                               \
    X(U8, "U8", 1)

enum safetensors_type {
#define X(code, name, bytes) SAFETENSORS_##code,
    SAFETENSORS_TYPE_MAP(X)
#undef X
        SAFETENSORS_TYPE_COUNT
};

/* One tensor. For the writer the caller fills name, type, dims, shape and data (the rest is
 * ignored); from the reader everything is borrowed from the open file. */
struct safetensors_tensor {
    const char *name;
    enum safetensors_type type;
    int dims; /* 0: a scalar */
    uint64_t shape[SAFETENSORS_DIMS_MAX];
    const void *data; /* row-major; from the reader perhaps unaligned: use safetensors_copy_* */
    uint64_t count, bytes;
};

struct safetensors_pair {
    const char *key, *value;
};

/* ---- Reader ------------------------------------------------------------------------------------
 */

struct safetensors; /* an open file; owns the mapping and all names */

/* IJ_CORRUPT: not a well-formed file; `reterr_err->field` is the tensor's name or the path. The
 * file must not shrink while it is open. Caller frees. */
IJ_MUST_USE enum ij_status safetensors_open(const char *path, struct safetensors **ret_file,
                                            struct ij_err *reterr_err);
void safetensors_free(struct safetensors *file); /* NULL is fine */

size_t safetensors_count(const struct safetensors *file);
/* index < safetensors_count; in order of their data. */
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index);
const struct safetensors_tensor *safetensors_find(const struct safetensors *file,
                                                  const char *name); /* NULL: absent */
const char *safetensors_metadata(const struct safetensors *file, const char *key); /* or NULL */

/* The tensor if it is there with exactly this shape; else IJ_CORRUPT, and the text says which. */
IJ_MUST_USE enum ij_status safetensors_find_shaped(const struct safetensors *file, const char *name,
                                                   int dims, const uint64_t *shape,
                                                   const struct safetensors_tensor **ret_tensor,
                                                   struct ij_err *reterr_err);

/* Converting copies of all `count` values; `count` must equal tensor->count. f32 and f64 take the
 * four floating types (f32 from F64 rounds), i64 takes the three integer ones; else IJ_UNSUPPORTED.
 */
IJ_MUST_USE enum ij_status safetensors_copy_f32(const struct safetensors_tensor *tensor,
                                                float *ret_values, uint64_t count,
                                                struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status safetensors_copy_f64(const struct safetensors_tensor *tensor,
                                                double *ret_values, uint64_t count,
                                                struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status safetensors_copy_i64(const struct safetensors_tensor *tensor,
                                                int64_t *ret_values, uint64_t count,
                                                struct ij_err *reterr_err);

const char *safetensors_type_name(enum safetensors_type type); /* "F32"; static */
size_t safetensors_type_size(enum safetensors_type type);

/* ---- Writer ------------------------------------------------------------------------------------
 */

/* What goes into one file. Tensors are written in the given order; equal input gives equal bytes.
 * The data begins at a multiple of 64 bytes. */
struct safetensors_content {
    const struct safetensors_tensor *tensors;
    size_t count;
    const struct safetensors_pair *metadata;
    size_t metadata_count;
};

/* Size of the whole file. IJ_INVALID: a bad or repeated name, too many dimensions, sizes overflow.
 */
IJ_MUST_USE enum ij_status safetensors_file_size(const struct safetensors_content *content,
                                                 uint64_t *ret_bytes, struct ij_err *reterr_err);

/* Writes the file to `fd` from its current position; `path` is for the texts of errors. Does not
 * sync. ret_digest (may be NULL) receives the SHA-256 of all bytes written. */
IJ_MUST_USE enum ij_status safetensors_write(int fd, const char *path,
                                             const struct safetensors_content *content,
                                             uint8_t ret_digest[HASH_SIZE],
                                             struct ij_err *reterr_err);

#endif
