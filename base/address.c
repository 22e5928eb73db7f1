/* See address.h. The blocks are those of RFC 6890 that never leave the machine or its link. */
#include "base/address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

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
