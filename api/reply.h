/*
 * What a handler answers, before it becomes an HTTP response (server.c).
 *
 * Exactly one of the body's forms is set: `data` (owned text), `fixed` (static bytes), `fd` (a
 * range of an open file, owned) or `stream` (a callback with its own state). reply_done releases
 * what was not handed on.
 */
#ifndef API_REPLY_H
#define API_REPLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/status.h"

#define REPLY_HEADERS_MAX 8

/* Shapes of libmicrohttpd's content reader and its release function. */
typedef ssize_t (*reply_reader)(void *user, uint64_t position, char *buffer, size_t max);
typedef void (*reply_release)(void *user);

struct reply {
    unsigned status;  /* 0: the route's own success status */
    const char *type; /* static; NULL: application/json */
    char *data;       /* owned */
    const void *fixed;
    size_t size; /* of data or fixed */
    int fd;      /* -1: none */
    uint64_t fd_offset, fd_size;
    reply_reader stream;
    reply_release stream_release;
    void *stream_user;
    bool cacheable; /* no "Cache-Control: no-store" is added */
    size_t header_count;
    struct {
        const char *name; /* static */
        char value[256];
    } headers[REPLY_HEADERS_MAX];
};

void reply_init(struct reply *reply);
void reply_done(struct reply *reply);
__attribute__((format(printf, 3, 4))) void reply_header(struct reply *reply, const char *name,
                                                        const char *format, ...);
/* Takes the reference, also on failure; NULL is lack of memory. */
IJ_MUST_USE enum ij_status reply_take_json(struct reply *reply, json_t *json,
                                           struct ij_err *reterr_err);
/* Takes the content of the buffer; a buffer that failed is the error. */
IJ_MUST_USE enum ij_status reply_take_buf(struct reply *reply, const char *type, struct buf *buf,
                                          struct ij_err *reterr_err);

#endif
