/*
 * What the daemon and its worker say to each other: frames over one SOCK_SEQPACKET socket pair, one
 * frame per packet. Little-endian:
 *
 *   u32 magic "IJW1" | u16 version | u16 type | u32 payload bytes | u32 zero | u64 seq | payload
 *
 * Rare messages carry a JSON object, metrics packed float32. Each side numbers its frames from 1
 * without gaps. The daemon acknowledges a worker's frame, and all before it, with WIRE_ACK once
 * what it says is committed to the store; progress frames are acknowledged unseen. The worker lets
 * at most WIRE_WINDOW frames be unacknowledged. Nothing is ever sent twice: the socket loses
 * nothing while both live, and a worker ends with its daemon and goes on from a checkpoint, which
 * is only made once all metrics before it are acknowledged.
 *
 * Pure; any thread. The decoder takes any bytes: each fault is IJ_MALFORMED with what was expected.
 */
#ifndef DAEMON_WIRE_H
#define DAEMON_WIRE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define WIRE_MAGIC       0x31574a49u /* "IJW1" */
#define WIRE_VERSION     1
#define WIRE_HEADER_SIZE 24
#define WIRE_FRAME_MAX   65536 /* header included */
#define WIRE_WINDOW      1024
#define WIRE_KEYS_MAX    256
#define WIRE_FD          3 /* the worker's end */
#define WIRE_JSON_DEPTH  16

/* X(code, name, from the worker, JSON payload) */
#define WIRE_TYPE_MAP(X)                                                                           \
    X(HELLO, "hello", true, true)           /* {"build", "pid"}: first frame */                    \
    X(PROGRESS, "progress", true, true)     /* engine_progress; also the sign of life */           \
    X(STREAM, "stream", true, true)         /* {"stream", "name", "keys"}: before its metrics */   \
    X(METRICS, "metrics", true, false)      /* struct wire_metrics */                              \
    X(BARRIER, "barrier", true, true)       /* {"step"}: commit now; a checkpoint waits for it */  \
    X(CHECKPOINT, "checkpoint", true, true) /* {"path", "step", "epoch", "bytes", "hash"} */       \
    X(RESULT, "result", true, true)         /* {"name", "result": {...}} */                        \
    X(WARNING, "warning", true, true)       /* {"code", "text"} */                                 \
    X(FINISHED, "finished", true, true)     /* {"status", "field", "text"}: last frame */          \
    X(SPEC, "spec", false, true)            /* {"kind", "params", "directory", "resume"} */        \
    X(STOP, "stop", false, false)           /* save a checkpoint and end */                        \
    X(ABORT, "abort", false, false)         /* end, save nothing */                                \
    X(CHECKPOINT_NOW, "checkpoint_now", false, false)                                              \
    X(ACK, "ack", false, false) /* u64: frames up to this seq are safe */                          \
    X(REWIND, "rewind", true,                                                                      \
      true) /* {"why", "failed_step", "back_to", "skip_first",             \
                                       "skip_count", "number", "max"}: it goes back */

enum wire_type {
    WIRE_NONE,
#define X(code, name, from_worker, json) WIRE_##code,
    WIRE_TYPE_MAP(X)
#undef X
        WIRE_TYPE_COUNT
};

const char *wire_type_name(enum wire_type type); /* static */

/* A decoded frame; `payload` points into the bytes given. */
struct wire_frame {
    enum wire_type type;
    uint64_t seq;
    const uint8_t *payload;
    size_t size;
};

/* IJ_TOO_LARGE if it does not fit WIRE_FRAME_MAX. *ret_size is header and payload. */
IJ_MUST_USE enum ij_status wire_encode(enum wire_type type, uint64_t seq, const void *payload,
                                       size_t size, uint8_t ret_bytes[WIRE_FRAME_MAX],
                                       size_t *ret_size, struct ij_err *reterr_err);
/* `from_worker`: which direction's types are accepted. `expected_seq` 0 accepts any but 0. */
IJ_MUST_USE enum ij_status wire_decode(const uint8_t *bytes, size_t size, bool from_worker,
                                       uint64_t expected_seq, struct wire_frame *ret_frame,
                                       struct ij_err *reterr_err);

/* The payload of a JSON frame: an object, at most WIRE_JSON_DEPTH deep. New reference. */
IJ_MUST_USE enum ij_status wire_json(const struct wire_frame *frame, json_t **ret_object,
                                     struct ij_err *reterr_err);

struct wire_metrics {
    uint32_t stream; /* number from the STREAM frame */
    uint32_t count;  /* 1..WIRE_KEYS_MAX */
    uint64_t step;
    int64_t ts_ms;       /* wall clock */
    const float *values; /* decoding: points to `storage` */
    float storage[WIRE_KEYS_MAX];
};

/* Writes a METRICS payload of 24 + 4 * count bytes and returns its size. */
size_t wire_metrics_encode(const struct wire_metrics *metrics,
                           uint8_t ret_payload[24 + 4 * WIRE_KEYS_MAX]);
IJ_MUST_USE enum ij_status wire_metrics_decode(const struct wire_frame *frame,
                                               struct wire_metrics *ret_metrics,
                                               struct ij_err *reterr_err);

size_t wire_ack_encode(uint64_t seq, uint8_t ret_payload[8]);
IJ_MUST_USE enum ij_status wire_ack_decode(const struct wire_frame *frame, uint64_t *ret_seq,
                                           struct ij_err *reterr_err);

#endif
