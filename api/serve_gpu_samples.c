/* GET /v1/gpus/{id}/samples: what a GPU was doing, from the metrics of the machine. */
#include <string.h>

#include "api/handlers.h"
#include "api/metrics_out.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/gpu_sample.h"
#include "store/metric_store.h"

#define ANSWER_MAX     ((size_t)16 * 1024 * 1024)
#define POINTS_DEFAULT 1000

static enum ij_status write_answer(const struct metric_result *result, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct buf buf;
    buf_init(&buf, ANSWER_MAX);
    metrics_out_json(result, &buf);
    return reply_take_buf(reply, "application/json", &buf, reterr_err);
}

enum ij_status serve_gpu_samples_list(struct request *request, struct reply *reply,
                                      struct ij_err *reterr_err)
{
    const char *id = request->match.args[0], *keys[GPU_SAMPLE_KEYS];
    char names[GPU_SAMPLE_KEYS][METRIC_STORE_STREAM_MAX + METRIC_STORE_KEY_MAX + 2];
    const int64_t machine = METRIC_STORE_MACHINE;
    struct metric_query query = {
        .runs = &machine, .run_count = 1, .keys = keys, .key_count = GPU_SAMPLE_KEYS};
    struct metric_result result;
    struct store *store;
    if (!text_is_name(id))
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no GPU \"%.100s\"", id);
    for (size_t i = 0; i < GPU_SAMPLE_KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "%s/%s", id, gpu_sample_keys[i]);
        keys[i] = names[i];
    }
    query.from = query_integer(&request->query, "from", 0);
    query.to = query_integer(&request->query, "to", UINT64_MAX);
    query.max_points = (uint32_t)query_integer(&request->query, "max_points", POINTS_DEFAULT);
    if (query.from > query.to)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "from", "must not be greater than to");
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(metric_query(store, &query, &result, reterr_err));
    enum ij_status status = write_answer(&result, reply, reterr_err);
    metric_query_done(&result);
    return status;
}
