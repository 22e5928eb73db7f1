/* Compressed answers: what Accept-Encoding means, and that the bytes come back. */
#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>

#include "api/compress.h"
#include "base/mem.h"

Test(compress, what_a_header_takes)
{
    static const char *const yes[] = {"gzip",         "GZIP", "deflate, gzip",     "gzip;q=0.5",
                                      "br,gzip; q=1", "*",    "identity, *;q=0.1", "*;q=0, gzip",
                                      " gzip "};
    static const char *const no[] = {
        "",      "identity", "deflate, br", "gzip;q=0",    "gzip;q=0.0",         "gzip; q=0.000",
        "*;q=0", "xgzip",    "gzipx",       "gzip;q=0, *", "identity;q=1, *;q=0"};
    cr_assert(!compress_accepts(NULL));
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        cr_assert(compress_accepts(yes[i]), "%s", yes[i]);
    for (size_t i = 0; i < COUNT_OF(no); i++)
        cr_assert(!compress_accepts(no[i]), "%s", no[i]);
}

static struct reply text_of(size_t size)
{
    struct reply reply;
    reply_init(&reply);
    reply.data = mem_alloc_zero(1, size + 1);
    memset(reply.data, 'a', size);
    reply.size = size;
    return reply;
}

static bool is_packed(const struct reply *reply)
{
    for (size_t i = 0; i < reply->header_count; i++)
        if (strcmp(reply->headers[i].name, "Content-Encoding") == 0)
            return strcmp(reply->headers[i].value, "gzip") == 0;
    return false;
}

Test(compress, the_bytes_come_back)
{
    struct reply reply = text_of(100000);
    char *back = mem_alloc_zero(1, 100001);
    compress_reply(&reply, "gzip");
    cr_assert(is_packed(&reply) && reply.size < 2000);
    z_stream stream = {.next_in = (Bytef *)reply.data,
                       .avail_in = (uInt)reply.size,
                       .next_out = (Bytef *)back,
                       .avail_out = 100001};
    cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
    cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(stream.total_out, 100000);
    cr_assert(back[0] == 'a' && back[99999] == 'a');
    (void)inflateEnd(&stream);
    mem_free(back);
    reply_done(&reply);
}

Test(compress, only_text_from_a_kibibyte_on)
{
    struct reply small = text_of(COMPRESS_MIN_BYTES - 1), enough = text_of(COMPRESS_MIN_BYTES);
    struct reply binary = text_of(5000), plain = text_of(5000);
    binary.type = "application/vnd.ijepad.f32";
    compress_reply(&small, "gzip");
    compress_reply(&enough, "gzip");
    compress_reply(&binary, "gzip");
    compress_reply(&plain, NULL);
    cr_assert(!is_packed(&small) && is_packed(&enough) && !is_packed(&binary) &&
              !is_packed(&plain));
    cr_assert_eq(plain.header_count, 1, "Vary: another request would have got another answer");
    reply_done(&small);
    reply_done(&enough);
    reply_done(&binary);
    reply_done(&plain);
}

Test(compress, what_does_not_shrink_stays)
{
    struct reply reply = text_of(2000);
    unsigned state = 1;
    for (size_t i = 0; i < reply.size; i++) {
        state = state * 1103515245u + 12345u;
        reply.data[i] = (char)(state >> 16);
    }
    compress_reply(&reply, "gzip");
    cr_assert(!is_packed(&reply) && reply.size == 2000);
    reply_done(&reply);
}
