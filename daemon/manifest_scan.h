/* Checkpoints found on disk instead of in the database: reads the state.json of each directory
 * <state_dir>/runs/r<N>/checkpoints/step-<12 digits>. Pure reading; any thread. */
#ifndef DAEMON_MANIFEST_SCAN_H
#define DAEMON_MANIFEST_SCAN_H

#include "base/status.h"
#include "store/checkpoint_row.h"

/* One directory: IJ_OK fills *ret_row (run, step, epoch, path, bytes, hash, pinned, created_ms;
 * valid). IJ_CORRUPT: the manifest is damaged or a file has not the size that it says. The bytes of
 * the weights are not read: whoever loads them checks them. */
IJ_MUST_USE enum ij_status manifest_scan_read(int64_t run, const char *path,
                                              struct checkpoint_row *ret_row,
                                              struct ij_err *reterr_err);

/* Reads every byte of the checkpoint at `path`: IJ_CORRUPT names the file that is not what the
 * manifest says; IJ_NOT_FOUND: there is no such directory. Takes as long as the disk takes. */
IJ_MUST_USE enum ij_status manifest_scan_verify(const char *path, struct ij_err *reterr_err);

struct manifest_scan_visitor {
    void *user;
    /* A run's directory, and then each complete-looking checkpoint directory in it. */
    enum ij_status (*run)(void *user, int64_t run, struct ij_err *reterr_err);
    enum ij_status (*checkpoint)(void *user, int64_t run, const char *path,
                                 struct ij_err *reterr_err);
};
/* Stops at the first failure of a visitor. */
IJ_MUST_USE enum ij_status manifest_scan(const char *state_dir,
                                         const struct manifest_scan_visitor *visitor,
                                         struct ij_err *reterr_err);

#endif
