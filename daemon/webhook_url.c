/* See webhook_url.h. Stricter than RFC 3986: what is not needed is not accepted. */
#include "daemon/webhook_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/text.h"

#define FIELD    "/url"
#define HOST_MAX 253

struct parts {
    char host[HOST_MAX + 1]; /* without brackets */
    bool bracketed;
};

static enum ij_status check_bytes(const char *url, struct ij_err *reterr_err)
{
    size_t size = strlen(url);
    if (size == 0 || size > WEBHOOK_URL_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url must have 1 to %d characters",
                            WEBHOOK_URL_MAX);
    for (size_t i = 0; i < size; i++)
        if (!isgraph((unsigned char)url[i]) || strchr("\"<>\\^`{|}#", url[i]))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD,
                                "url holds a character that must not be in it, at place %zu",
                                i + 1);
    return IJ_OK;
}

/* host, [v6] and an optional :port; `at` is behind "//". */
static enum ij_status split(const char *at, struct parts *ret_parts, struct ij_err *reterr_err)
{
    size_t n = strcspn(at, "/?");
    const char *end = at + n, *host = at, *rest;
    if (memchr(at, '@', n))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url must not hold a user or password");
    ret_parts->bracketed = *at == '[';
    if (ret_parts->bracketed) {
        host = at + 1;
        rest = memchr(at, ']', n);
    } else {
        rest = memchr(at, ':', n);
    }
    if (ret_parts->bracketed && !rest)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url lacks the \"]\" of its host");
    size_t size = (size_t)((rest ? rest : end) - host);
    if (size == 0 || size > HOST_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url needs a host of 1 to %d characters",
                            HOST_MAX);
    snprintf(ret_parts->host, sizeof ret_parts->host, "%.*s", (int)size, host);
    const char *port = rest ? rest + ret_parts->bracketed : end;
    char digits[8];
    uint64_t number = 0;
    snprintf(digits, sizeof digits, "%.*s", port < end ? (int)(end - port - 1) : 0, port + 1);
    if (port < end &&
        (*port != ':' || !text_to_u64(digits, &number) || number < 1 || number > 65535))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url has a port that is not 1 to 65535");
    return IJ_OK;
}

static bool is_name(const char *host)
{
    for (const char *c = host; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.' && *c != '_')
            return false;
    return host[0] != '.' && host[0] != '-';
}

static bool ends_in(const char *text, const char *tail)
{
    size_t a = strlen(text), b = strlen(tail);
    return a >= b && strcasecmp(text + a - b, tail) == 0;
}

/* As the resolver would read it: 127.1, 0x7f000001 and 2130706433 are 127.0.0.1. */
static bool is_local(const struct parts *parts)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (parts->bracketed && inet_pton(AF_INET6, parts->host, &v6.sin6_addr) == 1)
        return address_is_local((const struct sockaddr *)&v6);
    if (inet_aton(parts->host, &v4.sin_addr))
        return address_is_local((const struct sockaddr *)&v4);
    char name[HOST_MAX + 1];
    snprintf(name, sizeof name, "%s", parts->host);
    size_t n = strlen(name);
    if (name[n - 1] == '.')
        name[n - 1] = '\0';
    return strcasecmp(name, "localhost") == 0 || ends_in(name, ".localhost") ||
           strcasecmp(name, "ip6-localhost") == 0 || strcasecmp(name, "ip6-loopback") == 0;
}

enum ij_status webhook_url_check(const char *url, bool allow_local, struct ij_err *reterr_err)
{
    struct parts parts;
    struct in6_addr v6;
    IJ_TRY(check_bytes(url, reterr_err));
    size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
                    : strncasecmp(url, "https://", 8) == 0 ? 8
                                                           : 0;
    if (!scheme)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD,
                            "url must begin with http:// or https://");
    IJ_TRY(split(url + scheme, &parts, reterr_err));
    if (parts.bracketed ? inet_pton(AF_INET6, parts.host, &v6) != 1 : !is_name(parts.host))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD, "url has a host that is no host");
    if (!allow_local && is_local(&parts))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, FIELD,
                            "url must not lead to this machine or its link (%.100s); the "
                            "configuration key webhook_allow_local permits it",
                            parts.host);
    return IJ_OK;
}
