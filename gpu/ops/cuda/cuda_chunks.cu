/*
 * Segments of the arenas as equal chunks, so that one launch covers all of them with one block per
 * chunk. The cut is kept until another list comes; a list is compared by content.
 */
#include <string.h>

#include "gpu/ops/cuda/cuda_mem.h"
#include "gpu/ops/cuda/cuda_backend.h"

static_assert(sizeof(struct cuda_chunk) == CUDA_PLAN_CHUNK_BYTES, "as planned");

void cuda_chunks_free(struct cuda_chunks *chunks)
{
    mem_free(chunks->segments);
    (void)cudaFree(chunks->chunks);
    (void)cudaFree(chunks->first);
    memset(chunks, 0, sizeof(*chunks));
}

static int64_t chunks_count(const struct parameter_segment *segments, int64_t segment_count)
{
    int64_t count = 0;
    for (int64_t s = 0; s < segment_count; s++)
        count += (segments[s].count + CUDA_CHUNK - 1) / CUDA_CHUNK;
    return count;
}

static void chunks_cut(const struct parameter_segment *segments, int64_t segment_count,
                       struct cuda_chunk *chunk, int64_t *first)
{
    int64_t count = 0;
    for (int64_t s = 0; s < segment_count; s++) {
        first[s] = count;
        for (int64_t at = 0; at < segments[s].count; at += CUDA_CHUNK, count++) {
            int64_t left = segments[s].count - at;
            struct cuda_chunk *c = &chunk[count];
            c->offset = segments[s].offset + at;
            c->ema_offset = segments[s].ema_offset < 0 ? -1 : segments[s].ema_offset + at;
            c->count = (int32_t)(left < CUDA_CHUNK ? left : CUDA_CHUNK);
            c->segment = (int32_t)s;
            c->decay = segments[s].decay;
            c->unused = 0;
        }
    }
    first[segment_count] = count;
}

static enum ij_status chunks_upload(struct cuda_backend *cuda, struct cuda_chunks *chunks,
                                    struct cuda_chunk *host, int64_t *first,
                                    struct ij_err *reterr_err)
{
    size_t bytes = (size_t)chunks->count * sizeof(*host);
    size_t first_bytes = (size_t)(chunks->segment_count + 1) * sizeof(*first);
    chunks_cut(chunks->segments, chunks->segment_count, host, first);
    CUDA_TRY(cuda, cudaMalloc((void **)&chunks->chunks, bytes ? bytes : 1));
    CUDA_TRY(cuda, cudaMalloc((void **)&chunks->first, first_bytes));
    if (bytes)
        CUDA_TRY(cuda, cudaMemcpyAsync(chunks->chunks, host, bytes, cudaMemcpyHostToDevice,
                                       cuda->stream));
    CUDA_TRY(cuda, cudaMemcpyAsync(chunks->first, first, first_bytes, cudaMemcpyHostToDevice,
                                   cuda->stream));
    CUDA_TRY(cuda, cudaStreamSynchronize(cuda->stream)); /* the host's copies go */
    return IJ_OK;
}

static enum ij_status chunks_make(struct cuda_backend *cuda, struct cuda_chunks *chunks,
                                  const struct parameter_segment *segments, int64_t segment_count,
                                  struct ij_err *reterr_err)
{
    chunks->segment_count = segment_count;
    chunks->count = chunks_count(segments, segment_count);
    chunks->segments = mem_array(struct parameter_segment, (size_t)segment_count + 1);
    struct cuda_chunk *host = mem_array(struct cuda_chunk, (size_t)chunks->count + 1);
    int64_t *first = mem_array(int64_t, (size_t)segment_count + 1);
    enum ij_status status = IJ_OK;
    if (!chunks->segments || !host || !first)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %lld segments",
                        (long long)segment_count);
    if (status == IJ_OK) {
        memcpy(chunks->segments, segments, (size_t)segment_count * sizeof(*segments));
        status = chunks_upload(cuda, chunks, host, first, reterr_err);
    }
    mem_free(host);
    mem_free(first);
    return status;
}

/* Field by field: the bytes between fields say nothing. */
static bool chunks_same(const struct cuda_chunks *chunks, const struct parameter_segment *segments,
                        int64_t segment_count)
{
    if (!chunks->segments || chunks->segment_count != segment_count)
        return false;
    for (int64_t s = 0; s < segment_count; s++) {
        const struct parameter_segment *a = &chunks->segments[s], *b = &segments[s];
        if (a->offset != b->offset || a->count != b->count || a->decay != b->decay ||
            a->ema_offset != b->ema_offset)
            return false;
    }
    return true;
}

enum ij_status cuda_chunks_prepare(struct cuda_backend *cuda,
                                   const struct parameter_segment *segments, int64_t segment_count,
                                   struct cuda_chunks *chunks, struct ij_err *reterr_err)
{
    if (chunks_same(chunks, segments, segment_count))
        return IJ_OK;
    CUDA_TRY(cuda, cudaStreamSynchronize(cuda->stream));
    cuda_chunks_free(chunks);
    enum ij_status status = chunks_make(cuda, chunks, segments, segment_count, reterr_err);
    if (status != IJ_OK)
        cuda_chunks_free(chunks);
    return status;
}
