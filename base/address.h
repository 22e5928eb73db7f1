/* Which network addresses are the machine itself or its own link. Pure; any thread. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Loopback, unspecified, link-local, multicast or broadcast, also when written as IPv4 in IPv6.
 * Families other than IPv4 and IPv6 are local. Private networks (10.0.0.0/8, ...) are not. */
bool address_is_local(const struct sockaddr *address);

#endif
