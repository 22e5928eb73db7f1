/*
 * The checks on a request's shape that libmicrohttpd 0.9.75 leaves to its user, in one place.
 *
 * That version accepts two Host headers, two Content-Lengths, Content-Length beside
 * Transfer-Encoding, "Transfer-Encoding :" with a space, cuts a path at %00 and hands over decoded
 * "..%2f". A request with such a shape can be read in two ways, so it gets 400 and the connection
 * is closed. Folded header lines and bare line feeds cannot be seen from here; without a proxy in
 * front they are harmless.
 *
 * The functions work on a plain description of the request and are pure, so that the tests need no
 * socket.
 */
#ifndef API_HTTP_CHECK_H
#define API_HTTP_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"

#define HTTP_CHECK_TARGET_MAX  4096
#define HTTP_CHECK_HEADERS_MAX 64

struct http_check_header {
    const char *name, *value;
    size_t name_size, value_size;
};

/* Everything borrowed. `target` is the raw request target, not decoded. */
struct http_check_request {
    const char *method, *target, *version;
    const struct http_check_header *headers;
    size_t header_count;
    bool header_overflow; /* there were more than HTTP_CHECK_HEADERS_MAX */
};

/* What a listener answers to. `hosts` are exact Host values in lower case ("127.0.0.1:8765"). */
struct http_check_policy {
    const char *const *hosts;
    size_t host_count;
    size_t body_bytes_max;
};

enum http_check_verdict {
    HTTP_CHECK_OK,
    HTTP_CHECK_REFUSED, /* the problem is set; the connection may go on after the body */
    HTTP_CHECK_CLOSE,   /* the problem is set; the framing cannot be trusted */
};

/* The framing: target, methods, and headers that must not be there or not be there twice. */
enum http_check_verdict http_check_shape(const struct http_check_request *request,
                                         struct problem *problem);
/* Who it is meant for: Host in the list, else 421. */
enum http_check_verdict http_check_host(const struct http_check_request *request,
                                        const struct http_check_policy *policy,
                                        struct problem *problem);
/*
 * A method that changes something: Content-Type application/json even without a body, and not from
 * another site's page: Sec-Fetch-Site same-origin or none where it is sent, Origin equal to Host
 * where it is sent; `need_origin` (a browser's cookie) makes Origin compulsory.
 */
enum http_check_verdict http_check_change(const struct http_check_request *request,
                                          bool need_origin, struct problem *problem);
/* Content-Length over the limit is 413. *ret_size: the announced size, 0 if there is none. */
enum http_check_verdict http_check_size(const struct http_check_request *request,
                                        const struct http_check_policy *policy, uint64_t *ret_size,
                                        struct problem *problem);

/* The only value of a header, NULL if it is absent. `count` (may be NULL): how often it is there.
 */
const char *http_check_header_value(const struct http_check_request *request, const char *name,
                                    size_t *ret_count);
/* GET and HEAD change nothing. */
bool http_check_is_read(const char *method);

#endif
