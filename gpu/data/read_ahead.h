/*
 * Reading files ahead of the decoders: threads that open and read, so that those which decode
 * untrusted bytes need no file access (decoder_jail.h) and do not wait for a disk.
 *
 * A jar is a slot for the bytes of one image. It belongs to its decoder, but for the time between
 * request and wait, when it belongs to a reader. Requests are served in order; their number is
 * bounded by the number of jars. request and wait may be called from any thread.
 */
#ifndef GPU_DATA_READ_AHEAD_H
#define GPU_DATA_READ_AHEAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/data/dataset.h"

struct read_ahead;

struct read_ahead_jar {
    uint64_t sample;             /* what was asked for */
    struct dataset_buffer bytes; /* valid after a wait that returned IJ_OK */
    int64_t read_ns;             /* CPU and waiting time of the last read */
    /* private */
    enum ij_status status;
    struct ij_err err;
    bool asked, done;
    pthread_cond_t filled;
    struct read_ahead_jar *next;
};

/* Starts `threads` readers (1..LOADER_THREADS_MAX); borrows the dataset for its life. */
IJ_MUST_USE enum ij_status read_ahead_new(const struct dataset *dataset, uint32_t threads,
                                          struct read_ahead **ret_ahead, struct ij_err *reterr_err);
/* No jar may be asked for any more: wait for each first. */
void read_ahead_free(struct read_ahead *ahead);

void read_ahead_jar_init(struct read_ahead_jar *jar);
void read_ahead_jar_done(struct read_ahead_jar *jar);

/* Asks for the bytes of image `sample`; the jar must not be asked for already. */
void read_ahead_request(struct read_ahead *ahead, struct read_ahead_jar *jar, uint64_t sample);
/* Waits for what was asked for. The errors of dataset_read. */
IJ_MUST_USE enum ij_status read_ahead_wait(struct read_ahead *ahead, struct read_ahead_jar *jar,
                                           struct ij_err *reterr_err);

#endif
