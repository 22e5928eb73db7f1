/* Frames: what is sent is read back; anything else is refused and nothing is read past its end. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "daemon/wire.h"

static uint8_t bytes[WIRE_FRAME_MAX];

static size_t frame_of(enum wire_type type, uint64_t seq, const char *payload)
{
    size_t size;
    cr_assert_eq(wire_encode(type, seq, payload, strlen(payload), bytes, &size, NULL), IJ_OK);
    return size;
}

static enum ij_status decode(size_t size, uint64_t expected)
{
    struct wire_frame frame;
    struct ij_err err;
    return wire_decode(bytes, size, true, expected, &frame, &err);
}

Test(wire, frames_come_back)
{
    struct wire_frame frame;
    size_t size = frame_of(WIRE_HELLO, 5, "{\"pid\": 7}");
    cr_assert_eq(wire_decode(bytes, size, true, 5, &frame, NULL), IJ_OK);
    cr_assert_eq(frame.type, WIRE_HELLO);
    cr_assert_eq(frame.seq, 5);
    cr_assert_eq(frame.size, 10);
    json_t *object = NULL;
    cr_assert_eq(wire_json(&frame, &object, NULL), IJ_OK);
    cr_assert_eq(json_integer_value(json_object_get(object, "pid")), 7);
    json_decref(object);
}

Test(wire, wrong_headers_are_refused)
{
    size_t size = frame_of(WIRE_HELLO, 1, "{}");
    cr_assert_eq(decode(size, 1), IJ_OK);
    cr_assert_eq(decode(size, 2), IJ_MALFORMED, "wrong number");
    cr_assert_eq(decode(size - 1, 1), IJ_MALFORMED, "cut");
    cr_assert_eq(decode(size + 1, 1), IJ_MALFORMED, "too long");
    cr_assert_eq(decode(WIRE_HEADER_SIZE - 1, 1), IJ_MALFORMED);
    cr_assert_eq(decode(0, 1), IJ_MALFORMED);
    for (int at = 0; at < 16; at++) { /* magic, version, type, size, zero: each byte counts */
        bytes[at] ^= 0xff;
        cr_assert_eq(decode(size, 1), IJ_MALFORMED, "byte %d", at);
        bytes[at] ^= 0xff;
    }
    struct wire_frame frame;
    cr_assert_eq(wire_decode(bytes, size, false, 1, &frame, NULL), IJ_MALFORMED,
                 "a worker's frame is not the daemon's");
}

Test(wire, size_limit_is_exact)
{
    static char payload[WIRE_FRAME_MAX];
    size_t size, most = WIRE_FRAME_MAX - WIRE_HEADER_SIZE;
    struct ij_err err;
    cr_assert_eq(wire_encode(WIRE_RESULT, 1, payload, most, bytes, &size, NULL), IJ_OK);
    cr_assert_eq(size, WIRE_FRAME_MAX);
    cr_assert_eq(decode(size, 1), IJ_OK);
    cr_assert_eq(wire_encode(WIRE_RESULT, 1, payload, most + 1, bytes, &size, &err), IJ_TOO_LARGE);
    cr_assert_not_null(strstr(err.text, "result"));
}

Test(wire, metrics_keep_every_bit)
{
    float values[WIRE_KEYS_MAX];
    uint8_t payload[24 + 4 * WIRE_KEYS_MAX];
    struct wire_frame frame;
    struct wire_metrics in = {
        .stream = 3, .count = WIRE_KEYS_MAX, .step = 1234567890123, .ts_ms = -5, .values = values};
    struct wire_metrics out;
    for (int i = 0; i < WIRE_KEYS_MAX; i++)
        values[i] = i == 0 ? NAN : i == 1 ? -INFINITY : 1.0f / (float)i;
    size_t size = wire_metrics_encode(&in, payload), total;
    cr_assert_eq(wire_encode(WIRE_METRICS, 9, payload, size, bytes, &total, NULL), IJ_OK);
    cr_assert_eq(wire_decode(bytes, total, true, 0, &frame, NULL), IJ_OK);
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_OK);
    cr_assert_eq(out.stream, 3);
    cr_assert_eq(out.step, in.step);
    cr_assert_eq(out.ts_ms, -5);
    cr_assert_eq(memcmp(out.values, values, sizeof(values)), 0);
}

Test(wire, metrics_that_lie_about_their_size_are_refused)
{
    uint8_t payload[24 + 4 * WIRE_KEYS_MAX] = {0};
    struct wire_metrics out;
    float one = 1;
    struct wire_metrics in = {.count = 1, .values = &one};
    struct wire_frame frame = {.type = WIRE_METRICS, .seq = 1, .payload = payload};
    frame.size = wire_metrics_encode(&in, payload);
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_OK);
    payload[4] = 2;
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_MALFORMED);
    payload[4] = 0;
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_MALFORMED);
    memset(payload + 4, 0xff, 4);
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_MALFORMED);
    frame.size = 24;
    cr_assert_eq(wire_metrics_decode(&frame, &out, NULL), IJ_MALFORMED);
}

Test(wire, json_must_be_a_shallow_object)
{
    static const char *const bad[] = {"",       "[]", "{", "nul", "{\"a\":1}x", "{\"a\":1,\"a\":2}",
                                      "\"{}\"", "7"};
    struct wire_frame frame;
    json_t *object;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        size_t size = frame_of(WIRE_WARNING, 1, bad[i]);
        cr_assert_eq(wire_decode(bytes, size, true, 1, &frame, NULL), IJ_OK);
        cr_assert_eq(wire_json(&frame, &object, NULL), IJ_MALFORMED, "%s", bad[i]);
    }
    char deep[100] = "{\"a\":";
    for (int depth = WIRE_JSON_DEPTH - 1; depth <= WIRE_JSON_DEPTH; depth++) {
        deep[5] = '\0';
        for (int i = 0; i < depth; i++)
            strcat(deep, "[");
        for (int i = 0; i < depth; i++)
            strcat(deep, "]");
        strcat(deep, "}");
        size_t size = frame_of(WIRE_WARNING, 1, deep);
        object = NULL;
        cr_assert_eq(wire_decode(bytes, size, true, 1, &frame, NULL), IJ_OK);
        cr_assert_eq(wire_json(&frame, &object, NULL),
                     depth < WIRE_JSON_DEPTH ? IJ_OK : IJ_MALFORMED);
        json_decref(object);
    }
}

/* Exact heap copies, so that a sanitizer sees any read beyond the frame. */
Test(wire, random_bytes_never_harm)
{
    struct rng rng;
    rng_init(&rng, 7, RNG_TEST, 0, 0);
    for (int round = 0; round < 20000; round++) {
        size_t size = frame_of(WIRE_METRICS, 1, "0123456789012345678901234567890123456789");
        size_t flips = 1 + rng_below(&rng, 4);
        for (size_t i = 0; i < flips; i++)
            bytes[rng_below(&rng, (uint32_t)size)] = (uint8_t)rng_u32(&rng);
        size = rng_below(&rng, 3) ? size : rng_below(&rng, (uint32_t)size + 1);
        uint8_t *copy = malloc(size ? size : 1);
        cr_assert_not_null(copy);
        memcpy(copy, bytes, size);
        struct wire_frame frame;
        struct wire_metrics metrics;
        json_t *object = NULL;
        uint64_t seq;
        if (wire_decode(copy, size, rng_below(&rng, 2), 0, &frame, NULL) == IJ_OK) {
            cr_assert_leq(frame.size, size);
            if (frame.type == WIRE_METRICS)
                (void)!wire_metrics_decode(&frame, &metrics, NULL);
            else if (frame.type == WIRE_ACK)
                (void)!wire_ack_decode(&frame, &seq, NULL);
            else if (frame.type <= WIRE_FINISHED)
                (void)!wire_json(&frame, &object, NULL);
        }
        json_decref(object);
        free(copy);
    }
}

Test(wire, acks_come_back)
{
    uint8_t payload[8];
    uint64_t seq = 0;
    struct wire_frame frame = {.type = WIRE_ACK, .seq = 1, .payload = payload};
    frame.size = wire_ack_encode(0x1122334455667788, payload);
    cr_assert_eq(wire_ack_decode(&frame, &seq, NULL), IJ_OK);
    cr_assert_eq(seq, 0x1122334455667788);
    frame.size = 7;
    cr_assert_eq(wire_ack_decode(&frame, &seq, NULL), IJ_MALFORMED);
}
