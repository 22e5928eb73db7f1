/* See query.h. */
#include "api/query.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; false on a bad escape, a NUL or bytes that are not UTF-8. */
static bool decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        char c = *from == '+' ? ' ' : *from;
        if (c == '%') {
            int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            from += 2;
        }
        *to++ = c;
    }
    *to = '\0';
    return text_is_utf8(text, (size_t)(to - text));
}

static enum ij_status add_pair(struct query *query, char *pair, struct ij_err *reterr_err)
{
    char *value = strchr(pair, '=');
    if (value)
        *value++ = '\0';
    if (!decode(pair) || (value && !decode(value)))
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the query has an escape that is not UTF-8 text");
    if (query_get(query, pair))
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, pair, "query parameter given twice");
    if (query->count == QUERY_PAIRS_MAX)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "more than %d query parameters", QUERY_PAIRS_MAX);
    query->names[query->count] = pair;
    query->values[query->count] = value ? value : "";
    query->count++;
    return IJ_OK;
}

enum ij_status query_parse(const char *raw, struct query *ret_query, struct ij_err *reterr_err)
{
    struct query query = {.text = NULL};
    enum ij_status status = IJ_OK;
    if (!raw || !*raw)
        goto out;
    query.text = mem_strdup(raw);
    if (!query.text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the query");
    char *rest = query.text, *pair;
    while ((pair = strsep(&rest, "&")))
        if (*pair)
            IJ_TRY_GOTO(status, add_pair(&query, pair, reterr_err), out);
out:
    if (status == IJ_OK)
        *ret_query = query;
    else
        query_done(&query);
    return status;
}

void query_done(struct query *query)
{
    mem_free(query->text);
    *query = (struct query){.text = NULL};
}

static const struct query_spec *find_spec(const struct query_spec *specs, const char *name)
{
    for (; specs && specs->name; specs++)
        if (strcmp(specs->name, name) == 0)
            return specs;
    return NULL;
}

static enum ij_status unknown_name(const struct query_spec *specs, const char *name,
                                   struct ij_err *reterr_err)
{
    const char *names[QUERY_PAIRS_MAX];
    size_t count = 0;
    for (; specs && specs->name && count < QUERY_PAIRS_MAX; specs++)
        names[count++] = specs->name;
    const char *near = text_nearest(name, names, count);
    if (near)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name,
                            "unknown query parameter; did you mean \"%s\"?", near);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name, "unknown query parameter");
}

static bool flag_is_valid(const char *value)
{
    static const char *const words[] = {"", "0", "1", "true", "false"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(words[i], value) == 0)
            return true;
    return false;
}

static enum ij_status check_value(const struct query_spec *spec, const char *value,
                                  struct ij_err *reterr_err)
{
    uint64_t number;
    switch (spec->type) {
    case QUERY_TEXT:
        if (strlen(value) > (spec->max ? spec->max : 256))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, spec->name, "must be at most %zu bytes",
                                (size_t)(spec->max ? spec->max : 256));
        return IJ_OK;
    case QUERY_INTEGER:
        if (!text_to_u64(value, &number) || number < spec->min || number > spec->max)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, spec->name,
                                "must be an integer between %llu and %llu",
                                (unsigned long long)spec->min, (unsigned long long)spec->max);
        return IJ_OK;
    case QUERY_FLAG:
        if (!flag_is_valid(value))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, spec->name, "must be 0 or 1");
        return IJ_OK;
    }
    return IJ_OK;
}

enum ij_status query_check(const struct query *query, const struct query_spec *specs,
                           struct ij_err *reterr_err)
{
    for (size_t i = 0; i < query->count; i++) {
        const struct query_spec *spec = find_spec(specs, query->names[i]);
        if (!spec)
            return unknown_name(specs, query->names[i], reterr_err);
        IJ_TRY(check_value(spec, query->values[i], reterr_err));
    }
    return IJ_OK;
}

const char *query_get(const struct query *query, const char *name)
{
    for (size_t i = 0; i < query->count; i++)
        if (strcmp(query->names[i], name) == 0)
            return query->values[i];
    return NULL;
}

uint64_t query_integer(const struct query *query, const char *name, uint64_t fallback)
{
    const char *value = query_get(query, name);
    uint64_t number = fallback;
    if (value && !text_to_u64(value, &number))
        return fallback;
    return number;
}

bool query_flag(const struct query *query, const char *name)
{
    const char *value = query_get(query, name);
    return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}
