/* The worker's tools beside `run`. Each takes the arguments after its name and prints to stdout. */
#ifndef DAEMON_WORKER_TOOLS_H
#define DAEMON_WORKER_TOOLS_H

#include "base/status.h"

/* FILE...: replays reference files; the first that is out of tolerance gives the status. */
IJ_MUST_USE enum ij_status worker_tools_check_golden(int argc, char **argv,
                                                     struct ij_err *reterr_err);
/* The GPU's results against the host's; status as engine_check_device. */
IJ_MUST_USE enum ij_status worker_tools_check_device(int argc, char **argv,
                                                     struct ij_err *reterr_err);
/* step|ops|loader with model and sizes as options: lines of JSON. */
IJ_MUST_USE enum ij_status worker_tools_bench(int argc, char **argv, struct ij_err *reterr_err);
/* --spec FILE [--images N]: memory, FLOP and steps as JSON. */
IJ_MUST_USE enum ij_status worker_tools_plan(int argc, char **argv, struct ij_err *reterr_err);
/* DIR --count N: renders the built-in dataset. */
IJ_MUST_USE enum ij_status worker_tools_scenes(int argc, char **argv, struct ij_err *reterr_err);
/* DATASET DIR, or --check DIR: packs a dataset into shards, one line for each. */
IJ_MUST_USE enum ij_status worker_tools_pack(int argc, char **argv, struct ij_err *reterr_err);
/* The reference page of run parameters, docs/parameters.md. */
IJ_MUST_USE enum ij_status worker_tools_parameters(int argc, char **argv,
                                                   struct ij_err *reterr_err);

#endif
