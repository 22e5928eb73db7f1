/* Frames of either side: as they are, and with a header that fits, so that payloads are reached. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/mem.h"
#include "daemon/wire.h"

static void read_payload(const struct wire_frame *frame)
{
    struct wire_metrics metrics;
    json_t *object = NULL;
    uint64_t seq;
    switch (frame->type) {
    case WIRE_METRICS:
        if (wire_metrics_decode(frame, &metrics, NULL) == IJ_OK)
            IJ_ASSERT(metrics.count >= 1 && metrics.count <= WIRE_KEYS_MAX &&
                      metrics.values == metrics.storage);
        break;
    case WIRE_ACK:
        (void)!wire_ack_decode(frame, &seq, NULL);
        break;
    case WIRE_STOP:
    case WIRE_ABORT:
    case WIRE_CHECKPOINT_NOW:
        break;
    default:
        if (wire_json(frame, &object, NULL) == IJ_OK)
            IJ_ASSERT(json_is_object(object));
        json_decref(object);
    }
}

static void decode(const uint8_t *bytes, size_t size, uint64_t seq)
{
    for (int from_worker = 0; from_worker < 2; from_worker++) {
        struct wire_frame frame;
        struct ij_err err = IJ_ERR_INIT;
        enum ij_status status = wire_decode(bytes, size, from_worker, seq, &frame, &err);
        if (status == IJ_OK) {
            IJ_ASSERT(frame.payload == bytes + WIRE_HEADER_SIZE &&
                      frame.size == size - WIRE_HEADER_SIZE);
            read_payload(&frame);
        } else {
            IJ_ASSERT(status == IJ_MALFORMED && err.text[0]);
        }
    }
}

const char fuzz_target[] = "wire";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[WIRE_FRAME_MAX];
    size_t total;
    decode(data, size, 0);
    if (size < 1)
        return 0;
    enum wire_type type = (enum wire_type)(1 + data[0] % (WIRE_TYPE_COUNT - 1));
    if (wire_encode(type, 7, data + 1, size - 1, bytes, &total, NULL) == IJ_OK) {
        mem_auto uint8_t *exact = mem_array(uint8_t, total);
        IJ_ASSERT(exact);
        memcpy(exact, bytes, total);
        decode(exact, total, 7);
    }
    return 0;
}
