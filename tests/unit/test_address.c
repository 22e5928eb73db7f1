/* Addresses: first and last of each local block, and their neighbours outside. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/address.h"

static bool is_local(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_is_local((const struct sockaddr *)&v4);
    cr_assert_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1, "%s", text);
    return address_is_local((const struct sockaddr *)&v6);
}

Test(address, local)
{
    static const char *const local[] = {"0.0.0.0",
                                        "0.255.255.255",
                                        "127.0.0.0",
                                        "127.0.0.1",
                                        "127.255.255.255",
                                        "169.254.0.0",
                                        "169.254.255.255",
                                        "224.0.0.0",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "fe80::",
                                        "febf:ffff::1",
                                        "fec0::1",
                                        "ff02::1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:169.254.169.254",
                                        "::127.0.0.1",
                                        "64:ff9b::127.0.0.1",
                                        "2002:7f00:1::",
                                        "2002:a9fe:a9fe::1"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        cr_assert(is_local(local[i]), "%s", local[i]);
}

Test(address, elsewhere)
{
    static const char *const other[] = {
        "1.0.0.0",     "10.0.0.1",   "126.255.255.255", "128.0.0.0",        "169.253.255.255",
        "169.255.0.0", "172.16.0.1", "192.168.0.1",     "223.255.255.255",  "2001:db8::1",
        "fd00::1",     "fe7f::1",    "::ffff:10.0.0.1", "64:ff9b::808:808", "2002:808:808::1"};
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        cr_assert(!is_local(other[i]), "%s", other[i]);
}

Test(address, other_families_are_this_machine)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert(address_is_local((const struct sockaddr *)&address));
}

Test(address, texts)
{
    static const char *const good[] = {"127.0.0.1:0", "0.0.0.0:65535", "localhost:80",
                                       "[::1]:8765"};
    static const char *const bad[] = {"",        "127.0.0.1", "127.0.0.1:",   "127.0.0.1:65536",
                                      "1.2.3:4", "::1:80",    "[::1:80",      "[]:80",
                                      "name:80", ":80",       "127.0.0.1:-1", "127.0.0.1:8 "};
    struct sockaddr_storage address;
    socklen_t size;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(address_parse(good[i], &address, &size), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(address_parse(bad[i], &address, &size), "%s", bad[i]);
}

Test(address, loopback_is_this_machine_only)
{
    struct sockaddr_storage address;
    socklen_t size;
    cr_assert(address_parse("127.255.0.1:1", &address, &size));
    cr_assert(address_is_loopback((const struct sockaddr *)&address));
    cr_assert(address_parse("[::1]:1", &address, &size));
    cr_assert(size == sizeof(struct sockaddr_in6) &&
              address_is_loopback((const struct sockaddr *)&address));
    cr_assert(address_parse("128.0.0.1:1", &address, &size));
    cr_assert_not(address_is_loopback((const struct sockaddr *)&address));
    cr_assert(address_parse("[::]:1", &address, &size));
    cr_assert_not(address_is_loopback((const struct sockaddr *)&address));
}
