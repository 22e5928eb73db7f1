/* See host_deal.h. */
#include "gpu/ops/host/host_deal.h"

void host_deal_out(struct host_backend *host, int set, int64_t count)
{
    struct host_deal *deals = host->deals + set * host->base.threads;
    for (int i = 0; i < host->base.threads; i++) {
        struct host_span part = host_part(count, 1, i, host->base.threads);
        deals[i].end = part.end;
        atomic_store_explicit(&deals[i].next, part.begin, memory_order_relaxed);
    }
}

/* Half of what is left, within the limits. */
static int64_t host_deal_piece(int64_t left, int64_t most, int64_t least)
{
    int64_t piece = left / 2 > least ? left / 2 : least;
    piece = piece < most ? piece : most;
    return piece < left ? piece : left;
}

static bool host_deal_from(struct host_deal *deal, int64_t most, int64_t least,
                           struct host_span *ret_span)
{
    int64_t at = atomic_load_explicit(&deal->next, memory_order_relaxed);
    while (at < deal->end) {
        int64_t piece = host_deal_piece(deal->end - at, most, least);
        if (!atomic_compare_exchange_weak_explicit(&deal->next, &at, at + piece,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        *ret_span = (struct host_span){at, at + piece};
        return true;
    }
    return false;
}

bool host_deal_take(struct host_backend *host, int set, int64_t most, int64_t least, int *helped,
                    struct host_span *ret_span)
{
    struct host_deal *deals = host->deals + set * host->base.threads;
    int threads = host->base.threads, me = omp_get_thread_num();
    for (; *helped < threads; ++*helped)
        if (host_deal_from(&deals[(me + *helped) % threads], most, least, ret_span))
            return true;
    return false;
}
