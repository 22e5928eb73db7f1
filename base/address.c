/* See address.h. The blocks are those of RFC 6890 that never leave the machine or its link. */
#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool is_local_v4(uint32_t host)
{
    uint32_t top = host >> 24;
    return top == 0 || top == 127 || host >> 16 == 0xa9fe || top >= 224;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* IPv4 inside IPv6: mapped, compatible (with ::, ::1), translated (64:ff9b::) and 6to4 (2002::). */
static bool is_local_v6(const struct in6_addr *address)
{
    static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
    const uint8_t *bytes = address->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address) ||
        IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address) ||
        memcmp(bytes, translated, sizeof translated) == 0)
        return is_local_v4(big_endian(bytes + 12));
    if (bytes[0] == 0x20 && bytes[1] == 0x02)
        return is_local_v4(big_endian(bytes + 2));
    return IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_SITELOCAL(address) ||
           IN6_IS_ADDR_MULTICAST(address);
}

bool address_is_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return is_local_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return is_local_v6(&v6.sin6_addr);
    }
    return true;
}

bool address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    return v4.sin_family == AF_INET && ntohl(v4.sin_addr.s_addr) >> 24 == 127;
}

bool address_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || (size_t)(colon - text) >= sizeof host || !text_to_u64(colon + 1, &port) ||
        port > 65535)
        return false;
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    *ret_address = (struct sockaddr_storage){0};
    size_t size = strlen(host);
    if (host[0] == '[' && size > 2 && host[size - 1] == ']') {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        host[size - 1] = '\0';
        bool good = inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1;
        memcpy(ret_address, &v6, *ret_size = sizeof v6);
        return good;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const char *address = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    bool good = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    memcpy(ret_address, &v4, *ret_size = sizeof v4);
    return good;
}
