/* See wire.h. */
#include "daemon/wire.h"

#include <string.h>

#include "base/mem.h"

static const struct {
    const char *name;
    bool from_worker, json;
} types[WIRE_TYPE_COUNT] = {[WIRE_NONE] = {"none", false, false},
#define X(code, name, from_worker, json) [WIRE_##code] = {name, from_worker, json},
                            WIRE_TYPE_MAP(X)
#undef X
};

const char *wire_type_name(enum wire_type type)
{
    IJ_ASSERT((unsigned)type < WIRE_TYPE_COUNT);
    return types[type].name;
}

static void put_le(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

enum ij_status wire_encode(enum wire_type type, uint64_t seq, const void *payload, size_t size,
                           uint8_t ret_bytes[WIRE_FRAME_MAX], size_t *ret_size,
                           struct ij_err *reterr_err)
{
    IJ_ASSERT(type > WIRE_NONE && type < WIRE_TYPE_COUNT && seq > 0);
    if (size > WIRE_FRAME_MAX - WIRE_HEADER_SIZE)
        return IJ_ERR(reterr_err, IJ_TOO_LARGE, "a %s message of %zu bytes is over the limit of %d",
                      types[type].name, size, WIRE_FRAME_MAX - WIRE_HEADER_SIZE);
    put_le(ret_bytes, WIRE_MAGIC, 4);
    put_le(ret_bytes + 4, WIRE_VERSION, 2);
    put_le(ret_bytes + 6, type, 2);
    put_le(ret_bytes + 8, size, 4);
    put_le(ret_bytes + 12, 0, 4);
    put_le(ret_bytes + 16, seq, 8);
    if (size)
        memcpy(ret_bytes + WIRE_HEADER_SIZE, payload, size);
    *ret_size = WIRE_HEADER_SIZE + size;
    return IJ_OK;
}

enum ij_status wire_decode(const uint8_t *bytes, size_t size, bool from_worker,
                           uint64_t expected_seq, struct wire_frame *ret_frame,
                           struct ij_err *reterr_err)
{
    if (size < WIRE_HEADER_SIZE || size > WIRE_FRAME_MAX)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a frame has %d to %d bytes, not %zu",
                      WIRE_HEADER_SIZE, WIRE_FRAME_MAX, size);
    if (get_le(bytes, 4) != WIRE_MAGIC)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the frame does not begin with IJW1");
    if (get_le(bytes + 4, 2) != WIRE_VERSION)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the frame has version %u, this program speaks %d",
                      (unsigned)get_le(bytes + 4, 2), WIRE_VERSION);
    uint64_t type = get_le(bytes + 6, 2), seq = get_le(bytes + 16, 8);
    if (type == WIRE_NONE || type >= WIRE_TYPE_COUNT || types[type].from_worker != from_worker)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "unexpected frame type %llu",
                      (unsigned long long)type);
    if (get_le(bytes + 8, 4) != size - WIRE_HEADER_SIZE || get_le(bytes + 12, 4) != 0)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the %s frame's header does not match its size",
                      types[type].name);
    if (seq == 0 || (expected_seq && seq != expected_seq))
        return IJ_ERR(reterr_err, IJ_MALFORMED, "frame %llu came where %llu was expected",
                      (unsigned long long)seq, (unsigned long long)expected_seq);
    *ret_frame = (struct wire_frame){.type = (enum wire_type)type,
                                     .seq = seq,
                                     .payload = bytes + WIRE_HEADER_SIZE,
                                     .size = size - WIRE_HEADER_SIZE};
    return IJ_OK;
}

/* Brackets outside strings, counted before the parser recurses. */
static bool depth_is_fine(const uint8_t *text, size_t size)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '[')) {
            if (++depth > WIRE_JSON_DEPTH)
                return false;
        } else if (!quoted && (text[i] == '}' || text[i] == ']'))
            depth--;
    }
    return true;
}

enum ij_status wire_json(const struct wire_frame *frame, json_t **ret_object,
                         struct ij_err *reterr_err)
{
    const char *name = wire_type_name(frame->type);
    IJ_ASSERT(types[frame->type].json);
    if (!depth_is_fine(frame->payload, frame->size))
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the %s message is nested too deeply", name);
    json_error_t error;
    json_t *value =
        json_loadb((const char *)frame->payload, frame->size, JSON_REJECT_DUPLICATES, &error);
    if (!value)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the %s message is not JSON: %s", name, error.text);
    if (!json_is_object(value)) {
        json_decref(value);
        return IJ_ERR(reterr_err, IJ_MALFORMED, "the %s message is not a JSON object", name);
    }
    *ret_object = value;
    return IJ_OK;
}

size_t wire_metrics_encode(const struct wire_metrics *metrics,
                           uint8_t ret_payload[24 + 4 * WIRE_KEYS_MAX])
{
    IJ_ASSERT(metrics->count >= 1 && metrics->count <= WIRE_KEYS_MAX);
    put_le(ret_payload, metrics->stream, 4);
    put_le(ret_payload + 4, metrics->count, 4);
    put_le(ret_payload + 8, metrics->step, 8);
    put_le(ret_payload + 16, (uint64_t)metrics->ts_ms, 8);
    for (uint32_t i = 0; i < metrics->count; i++) {
        uint32_t word;
        memcpy(&word, &metrics->values[i], sizeof(word));
        put_le(ret_payload + 24 + 4 * (size_t)i, word, 4);
    }
    return 24 + 4 * (size_t)metrics->count;
}

enum ij_status wire_metrics_decode(const struct wire_frame *frame, struct wire_metrics *ret_metrics,
                                   struct ij_err *reterr_err)
{
    if (frame->size < 28)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a metrics message of %zu bytes", frame->size);
    uint64_t count = get_le(frame->payload + 4, 4), step = get_le(frame->payload + 8, 8);
    if (count < 1 || count > WIRE_KEYS_MAX || frame->size != 24 + 4 * count)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a metrics message of %zu bytes for %llu values",
                      frame->size, (unsigned long long)count);
    if (step > INT64_MAX)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a metrics message for an impossible step");
    ret_metrics->stream = (uint32_t)get_le(frame->payload, 4);
    ret_metrics->count = (uint32_t)count;
    ret_metrics->step = step;
    ret_metrics->ts_ms = (int64_t)get_le(frame->payload + 16, 8);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word = (uint32_t)get_le(frame->payload + 24 + 4 * (size_t)i, 4);
        memcpy(&ret_metrics->storage[i], &word, sizeof(word));
    }
    ret_metrics->values = ret_metrics->storage;
    return IJ_OK;
}

size_t wire_ack_encode(uint64_t seq, uint8_t ret_payload[8])
{
    put_le(ret_payload, seq, 8);
    return 8;
}

enum ij_status wire_ack_decode(const struct wire_frame *frame, uint64_t *ret_seq,
                               struct ij_err *reterr_err)
{
    if (frame->size != 8)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "an ack of %zu bytes", frame->size);
    *ret_seq = get_le(frame->payload, 8);
    return IJ_OK;
}
