/* Which network addresses are the machine itself or its own link. Pure; any thread. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Loopback, unspecified, link-local, multicast or broadcast, also when written as IPv4 in IPv6.
 * Families other than IPv4 and IPv6 are local. Private networks (10.0.0.0/8, ...) are not. */
bool address_is_local(const struct sockaddr *address);
bool address_is_loopback(const struct sockaddr *address); /* IPv4 or IPv6 */

/* "127.0.0.1:8765", "localhost:8765" and "[::1]:8765", no other names; *ret_size is that of the
 * family. */
bool address_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size);

#endif
