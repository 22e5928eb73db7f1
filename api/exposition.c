/* See exposition.h. */
#include "api/exposition.h"

#include <inttypes.h>

void exposition_head(struct buf *text, const char *name, const char *type, const char *help)
{
    buf_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void exposition_histogram(struct buf *text, const char *name, const char *labels,
                          const struct histogram *histogram)
{
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    double sum = histogram_read(histogram, counts);
    const char *comma = labels[0] ? "," : "", *open = labels[0] ? "{" : "",
               *close = labels[0] ? "}" : "";
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++)
        buf_printf(text, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
                   histogram_bounds_s[i], counts[i]);
    buf_printf(text, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma,
               counts[HISTOGRAM_BOUNDS]);
    buf_printf(text, "%s_sum%s%s%s %.9f\n", name, open, labels, close, sum);
    buf_printf(text, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close,
               counts[HISTOGRAM_BOUNDS]);
}
