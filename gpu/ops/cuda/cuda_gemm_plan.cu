/*
 * Which algorithm a product runs with. See cuda_gemm.h.
 *
 * The file holds one line per shape: the GPU and library, the key's numbers, the algorithm's bytes
 * in hexadecimal. A line that does not read is skipped; a file that cannot be written costs the
 * timing of the next start, not the run.
 */
#include <stdio.h>
#include <string.h>

#include "gpu/ops/cuda/cuda_gemm_plan.h"

#define GEMM_TIMED_RUNS 3
#define GEMM_LINE_MAX   1024

static uint64_t gemm_hash(const struct gemm_key *key)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof(*key); i++)
        hash = (hash ^ ((const unsigned char *)key)[i]) * 1099511628211u;
    return hash;
}

/* The place of the key in the table: its own, or the free one where it belongs. */
static struct gemm_plan *gemm_place(struct cuda_gemm *gemm, const struct gemm_key *key)
{
    for (uint64_t i = gemm_hash(key);; i++) {
        struct gemm_plan *plan = &gemm->plans[i % CUDA_GEMM_PLANS];
        if (!plan->used || memcmp(&plan->key, key, sizeof(*key)) == 0)
            return plan;
    }
}

/* The largest power of two, at most 256, that divides every address and row of the product. */
static int32_t gemm_alignment(const struct cuda_product *p)
{
    size_t in = tensor_type_size(p->a.type), out = tensor_type_size(p->d.type);
    uintptr_t all = (uintptr_t)p->a.data | (uintptr_t)p->b.data | (uintptr_t)p->d.data | 256;
    all |= (uintptr_t)(p->transpose_a ? p->m : p->k) * in;
    all |= (uintptr_t)(p->transpose_b ? p->k : p->n) * in | (uintptr_t)p->n * out;
    if (p->beta != 0)
        all |= (uintptr_t)p->c.data;
    return (int32_t)(all & (~all + 1));
}

static struct gemm_key gemm_key(const struct cuda_product *p)
{
    struct gemm_key key;
    memset(&key, 0, sizeof(key));
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.transpose_a = p->transpose_a;
    key.transpose_b = p->transpose_b;
    key.type_in = (int32_t)p->a.type;
    key.type_out = (int32_t)p->d.type;
    key.epilogue = (int32_t)p->epilogue;
    key.beta = p->beta != 0;
    key.scaled = p->a_scale != NULL;
    key.alignment = gemm_alignment(p);
    return key;
}

/* ---- The file -------------------------------------------------------------------------------- */

static void gemm_line(const struct cuda_gemm *gemm, const struct gemm_key *key, char *line)
{
    snprintf(line, GEMM_LINE_MAX, "%s %lld %lld %lld %d %d %d %d %d %d %d %d ", gemm->tune_name,
             (long long)key->m, (long long)key->n, (long long)key->k, key->transpose_a,
             key->transpose_b, key->type_in, key->type_out, key->epilogue, key->beta,
             key->alignment, key->scaled);
}

/* The algorithm's bytes from `text`; false unless all are there. */
static bool gemm_parse(const char *text, cublasLtMatmulAlgo_t *algorithm)
{
    unsigned char *bytes = (unsigned char *)algorithm;
    for (size_t i = 0; i < sizeof(*algorithm); i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1)
            return false;
        bytes[i] = (unsigned char)value;
    }
    return true;
}

static bool gemm_recall(const struct cuda_gemm *gemm, const struct gemm_key *key,
                        cublasLtMatmulAlgo_t *ret_algorithm)
{
    char want[GEMM_LINE_MAX], line[GEMM_LINE_MAX];
    FILE *file = fopen(gemm->tune_path, "re");
    if (!file)
        return false;
    gemm_line(gemm, key, want);
    bool found = false;
    while (!found && fgets(line, sizeof(line), file))
        found = strncmp(line, want, strlen(want)) == 0 &&
                gemm_parse(line + strlen(want), ret_algorithm);
    fclose(file);
    return found;
}

static void gemm_remember(const struct cuda_gemm *gemm, const struct gemm_key *key,
                          const cublasLtMatmulAlgo_t *algorithm)
{
    char line[GEMM_LINE_MAX];
    FILE *file = fopen(gemm->tune_path, "ae");
    if (!file)
        return;
    gemm_line(gemm, key, line);
    const unsigned char *bytes = (const unsigned char *)algorithm;
    size_t at = strlen(line);
    for (size_t i = 0; i < sizeof(*algorithm) && at + 4 < sizeof(line); i++, at += 2)
        snprintf(line + at, sizeof(line) - at, "%02x", bytes[i]);
    fprintf(file, "%s\n", line);
    fclose(file);
}

/* ---- Timing ---------------------------------------------------------------------------------- */

struct gemm_clock {
    cudaEvent_t start, end;
    void *result; /* device: where the trials write, so that `d` keeps its content */
};

/* Milliseconds of the timed runs; 0 where the library will not run this choice after all. */
static enum ij_status gemm_time(struct cuda_backend *cuda, const struct cuda_product *p,
                                const struct gemm_descriptors *d, const struct gemm_clock *clock,
                                const cublasLtMatmulAlgo_t *algorithm, float *ret_ms,
                                struct ij_err *reterr_err)
{
    struct ij_err unused = IJ_ERR_INIT;
    const void *c = p->beta != 0 ? p->c.data : clock->result;
    *ret_ms = 0;
    for (int i = 0; i <= GEMM_TIMED_RUNS; i++) {
        if (i == 1) /* the first run warms up */
            CUDA_TRY(cuda, cudaEventRecord(clock->start, cuda->stream));
        if (cuda_gemm_start(cuda, p, d, c, clock->result, algorithm, &unused) != IJ_OK)
            return IJ_OK;
    }
    CUDA_TRY(cuda, cudaEventRecord(clock->end, cuda->stream));
    CUDA_TRY(cuda, cudaEventSynchronize(clock->end));
    CUDA_TRY(cuda, cudaEventElapsedTime(ret_ms, clock->start, clock->end));
    return IJ_OK;
}

/* Leaves the fastest of `count` choices in *ret_algorithm, which holds the first usable one. */
static enum ij_status gemm_race(struct cuda_backend *cuda, const struct cuda_product *p,
                                const struct gemm_descriptors *d, const struct gemm_clock *clock,
                                const cublasLtMatmulHeuristicResult_t *choices, int count,
                                cublasLtMatmulAlgo_t *ret_algorithm, struct ij_err *reterr_err)
{
    float best = 0;
    for (int i = 0; i < count; i++) {
        float ms = 0;
        if (choices[i].state != CUBLAS_STATUS_SUCCESS)
            continue;
        IJ_TRY(gemm_time(cuda, p, d, clock, &choices[i].algo, &ms, reterr_err));
        if (ms > 0 && (best == 0 || ms < best)) {
            best = ms;
            *ret_algorithm = choices[i].algo;
        }
    }
    return IJ_OK;
}

static enum ij_status gemm_tune(struct cuda_backend *cuda, const struct cuda_product *p,
                                const struct gemm_descriptors *d,
                                const cublasLtMatmulHeuristicResult_t *choices, int count,
                                cublasLtMatmulAlgo_t *ret_algorithm, struct ij_err *reterr_err)
{
    struct gemm_clock clock;
    memset(&clock, 0, sizeof(clock));
    size_t bytes = (size_t)p->m * (size_t)p->n * tensor_type_size(p->d.type);
    if (cudaMalloc(&clock.result, bytes) != cudaSuccess) {
        (void)cudaGetLastError(); /* no room to try: the first choice it is */
        return IJ_OK;
    }
    enum ij_status status = IJ_OK;
    if (cudaEventCreate(&clock.start) == cudaSuccess && cudaEventCreate(&clock.end) == cudaSuccess)
        status = gemm_race(cuda, p, d, &clock, choices, count, ret_algorithm, reterr_err);
    if (clock.start)
        (void)cudaEventDestroy(clock.start);
    if (clock.end)
        (void)cudaEventDestroy(clock.end);
    (void)cudaFree(clock.result);
    return status;
}

/* ---- Choosing -------------------------------------------------------------------------------- */

static enum ij_status gemm_ask(struct cuda_backend *cuda, const struct gemm_descriptors *d,
                               uint32_t alignment, cublasLtMatmulPreference_t preference,
                               cublasLtMatmulHeuristicResult_t *choices, int wanted, int *ret_count,
                               struct ij_err *reterr_err)
{
    const struct cuda_blas *blas = &cuda->gemm->blas;
    size_t workspace = CUDA_GEMM_WORKSPACE;
    static const cublasLtMatmulPreferenceAttributes_t each[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    BLAS_TRY(cuda, blas->MatmulPreferenceSetAttribute(preference,
                                                      CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                      &workspace, sizeof(workspace)));
    for (int i = 0; i < 4; i++)
        BLAS_TRY(cuda, blas->MatmulPreferenceSetAttribute(preference, each[i], &alignment,
                                                          sizeof(alignment)));
    BLAS_TRY(cuda, blas->MatmulAlgoGetHeuristic(cuda->gemm->handle, d->product, d->a, d->b, d->d,
                                                d->d, preference, wanted, choices, ret_count));
    if (*ret_count < 1)
        return cuda_gemm_error(cuda, CUBLAS_STATUS_NOT_SUPPORTED, "MatmulAlgoGetHeuristic",
                               reterr_err);
    return IJ_OK;
}

/* Would the library run this algorithm, remembered from another time, within our workspace? */
static bool gemm_runs(const struct cuda_gemm *gemm, const struct gemm_descriptors *d,
                      const cublasLtMatmulAlgo_t *algorithm)
{
    cublasLtMatmulHeuristicResult_t result;
    memset(&result, 0, sizeof(result));
    return gemm->blas.MatmulAlgoCheck(gemm->handle, d->product, d->a, d->b, d->d, d->d, algorithm,
                                      &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= CUDA_GEMM_WORKSPACE;
}

static enum ij_status gemm_find(struct cuda_backend *cuda, const struct cuda_product *p,
                                const struct gemm_descriptors *d, const struct gemm_key *key,
                                cublasLtMatmulAlgo_t *ret_algorithm, struct ij_err *reterr_err)
{
    struct cuda_gemm *gemm = cuda->gemm;
    if (gemm->tune_path && gemm_recall(gemm, key, ret_algorithm) &&
        gemm_runs(gemm, d, ret_algorithm))
        return IJ_OK;
    cublasLtMatmulHeuristicResult_t choices[CUDA_GEMM_TRIES];
    cublasLtMatmulPreference_t preference;
    int count = 0;
    BLAS_TRY(cuda, gemm->blas.MatmulPreferenceCreate(&preference));
    enum ij_status status = gemm_ask(cuda, d, (uint32_t)key->alignment, preference, choices,
                                     CUDA_GEMM_TRIES, &count, reterr_err);
    (void)gemm->blas.MatmulPreferenceDestroy(preference);
    if (status != IJ_OK)
        return status;
    int first = 0;
    while (first < count && choices[first].state != CUBLAS_STATUS_SUCCESS)
        first++;
    if (first == count)
        return cuda_gemm_error(cuda, CUBLAS_STATUS_NOT_SUPPORTED, "MatmulAlgoGetHeuristic",
                               reterr_err);
    *ret_algorithm = choices[first].algo;
    if (!gemm->tune_path)
        return IJ_OK;
    IJ_TRY(gemm_tune(cuda, p, d, choices, count, ret_algorithm, reterr_err));
    gemm_remember(gemm, key, ret_algorithm);
    return IJ_OK;
}

enum ij_status cuda_gemm_choose(struct cuda_backend *cuda, const struct cuda_product *p,
                                const struct gemm_descriptors *d,
                                cublasLtMatmulAlgo_t *ret_algorithm, struct ij_err *reterr_err)
{
    struct cuda_gemm *gemm = cuda->gemm;
    struct gemm_key key = gemm_key(p);
    struct gemm_plan *plan = gemm_place(gemm, &key);
    if (!plan->used) {
        IJ_TRY(gemm_find(cuda, p, d, &key, &plan->algorithm, reterr_err));
        plan->key = key;
        plan->used = true;
        gemm->plan_count++;
    }
    *ret_algorithm = plan->algorithm;
    if (gemm->plan_count > CUDA_GEMM_PLANS / 4 * 3) {
        memset(gemm->plans, 0, CUDA_GEMM_PLANS * sizeof(*gemm->plans));
        gemm->plan_count = 0;
    }
    return IJ_OK;
}
