/*
 * The engine's only public face: what the worker, the daemon and the benchmarks include.
 *
 * An `engine_spec` says everything about one run; it is plain data without pointers, filled from
 * the parameter table (daemon/params.h). `engine_run` carries it out in the calling thread and
 * tells the host what happens through an `engine_sink`. Nothing here prints, exits or touches a
 * database. The functions under "Questions" are pure, allocate nothing on a device and are what the
 * daemon links: no backend, no CUDA.
 */
#ifndef GPU_ENGINE_H
#define GPU_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

#define ENGINE_PATH_MAX    1024
#define ENGINE_NAME_MAX    64
#define ENGINE_TARGETS_MAX 16 /* target blocks per image */
#define ENGINE_LIST_MAX    8  /* values of an engine_list */
#define ENGINE_RANKS_MAX   16 /* processes of one run */

enum engine_kind {
    ENGINE_PRETRAIN,
    ENGINE_LINEAR_PROBE,
    ENGINE_KNN,
    ENGINE_FEATURES,
    ENGINE_VISUALIZE,
    ENGINE_CLEVR,
    ENGINE_LOW_SHOT,
    ENGINE_FINETUNE,
    ENGINE_SCAN,
    ENGINE_BENCHMARK,
    ENGINE_KIND_COUNT
};
enum engine_device { ENGINE_DEVICE_AUTO, ENGINE_DEVICE_HOST, ENGINE_DEVICE_CUDA };
enum engine_precision { ENGINE_FLOAT32, ENGINE_BFLOAT16 };
enum engine_target_precision { ENGINE_TARGET_SAME, ENGINE_TARGET_FLOAT8 };
enum engine_loss { ENGINE_SMOOTH_L1, ENGINE_L2 };
enum engine_sampler { ENGINE_MASKS_PUBLISHED, ENGINE_MASKS_UNBIASED };
/* How context and targets are cut from the patches: I-JEPA's own, or what it was compared with
 * (paper, table 6). */
enum engine_masking {
    ENGINE_MASKING_MULTI_BLOCK,
    ENGINE_MASKING_RASTERIZED,
    ENGINE_MASKING_BLOCK,
    ENGINE_MASKING_RANDOM
};
/* Where target tokens are picked (paper, table 11): from the target encoder's output over the whole
 * image, or from its input, so that it sees one target block at a time. */
enum engine_target_at { ENGINE_TARGET_AT_OUTPUT, ENGINE_TARGET_AT_INPUT };
enum engine_labels {
    ENGINE_LABELS_NONE,
    ENGINE_LABELS_FOLDER,
    ENGINE_LABELS_COUNT,
    ENGINE_LABELS_DISTANCE,
    ENGINE_LABELS_SHAPE,
    ENGINE_LABELS_COLOR
};
enum engine_features { ENGINE_FEATURES_POOLED, ENGINE_FEATURES_CONCAT4, ENGINE_FEATURES_PATCHES };
enum engine_splits { ENGINE_SPLITS_BOTH, ENGINE_SPLITS_TRAIN, ENGINE_SPLITS_EVAL };
/* Position tables at another resolution: computed for it, or stretched from the trained one. */
enum engine_positions { ENGINE_POSITIONS_COMPUTED, ENGINE_POSITIONS_BICUBIC };
enum engine_encoder { ENGINE_ENCODER_TARGET, ENGINE_ENCODER_CONTEXT };
enum engine_probe_mode { ENGINE_PROBE_CACHED, ENGINE_PROBE_AUGMENTED };
enum engine_probe_optimizer { ENGINE_PROBE_SGD, ENGINE_PROBE_LARS };
enum engine_probe_schedule { ENGINE_PROBE_COSINE, ENGINE_PROBE_STEP };
enum engine_probe_selection { ENGINE_SELECT_SET_ASIDE, ENGINE_SELECT_EVAL };
enum engine_clevr_tasks { ENGINE_CLEVR_BOTH, ENGINE_CLEVR_COUNT, ENGINE_CLEVR_DISTANCE };
/* What kind scan looks at: every pixel, or what the headers say. */
enum engine_scan_check { ENGINE_SCAN_PIXELS, ENGINE_SCAN_HEADERS };
enum engine_low_shot_method { ENGINE_LOW_SHOT_LOGISTIC, ENGINE_LOW_SHOT_FINETUNE };
enum engine_scaling {
    ENGINE_SCALE_EACH,      /* every dimension to mean 0, deviation 1; each split by its own */
    ENGINE_SCALE_TRAIN,     /* the same by the training images' mean and deviation */
    ENGINE_SCALE_L2_CENTER, /* every image to length 1, then the training mean subtracted */
    ENGINE_SCALE_NONE
};

/* A few numbers that a user lists. */
struct engine_list {
    uint32_t count;
    double values[ENGINE_LIST_MAX];
};

/* Where images come from: a folder tree, a .tar, a folder of .tar shards, a packed folder, or a
 * .txt list. */
struct engine_data {
    char path[ENGINE_PATH_MAX];      /* training images */
    char eval_path[ENGINE_PATH_MAX]; /* held-out images; "" = a split of `path` */
    enum engine_labels labels;
    uint32_t limit; /* use at most this many images, evenly chosen; 0 = all */
    uint32_t eval_limit;
    uint32_t crop; /* pixels per side after the crop */
    double crop_scale[2], crop_ratio[2];
    bool flip;
    double mean[3], std[3];
    uint32_t loader_threads; /* 0 = chosen from the core count */
    double bad_image_limit;  /* share of the dataset; above it the run stops */
};

struct engine_model {
    uint32_t patch, width, depth, heads;
    double mlp_ratio;
    uint32_t pred_width, pred_depth, pred_heads; /* pred_heads 0 = heads */
    bool init_rescale;                           /* divide proj and fc2 of block i by sqrt(2 i) */
    double init_std;
    double patch_init_std; /* of the patch embedding; 0 = init_std */
    bool gelu_tanh;        /* GELU in its tanh form; false: exact erf, as published */
};

struct engine_masks {
    enum engine_masking masking;
    enum engine_sampler sampler;
    uint32_t targets; /* multi-block: target blocks per image, 1..ENGINE_TARGETS_MAX */
    double target_scale[2], target_aspect[2], context_scale[2];
    uint32_t min_keep;
    double masked_share; /* block and random: share of the patches that is to be predicted */
    enum engine_target_at target_at;
};

struct engine_optimizer {
    uint32_t batch;      /* images per micro-batch and rank: masks are cut to its minimum */
    uint32_t accumulate; /* micro-batches per optimiser step */
    double epochs, warmup_epochs;
    double start_lr, lr, final_lr, weight_decay, final_weight_decay;
    double ema_start, ema_end, ipe_scale;
    double beta1, beta2, adam_eps;
    double clip_grad;   /* global norm; 0 = off */
    uint64_t max_steps; /* stop early after this many optimiser steps; 0 = off */
};

struct engine_monitor {
    double checkpoint_every_s, checkpoint_every_epochs; /* 0 = off; the last step always saves */
    uint64_t checkpoint_every_steps;
    double eval_every_epochs; /* k-NN, RankMe, target std, cosine; 0 = off */
    uint32_t eval_images;     /* size of the held-out subset (train and test halves) */
    uint32_t keep_checkpoints;
    uint64_t replay_every; /* steps; make one in so many twice and compare the bits; 0 = off */
};

/* What a pretraining run does about a loss that it cannot use. */
enum engine_on_nan { ENGINE_ON_NAN_STOP, ENGINE_ON_NAN_REWIND };
struct engine_guard {
    enum engine_on_nan on_nan;
    uint64_t skip_steps; /* rewind: steps of data left out beyond the one that broke */
    double spike_factor; /* a loss above so many times its running mean is broken too; 0 = off */
};

/* Evaluation of a checkpoint (all kinds but pretrain). */
struct engine_eval {
    char checkpoint[ENGINE_PATH_MAX]; /* directory; "" = random initialisation only */
    enum engine_encoder encoder;
    uint32_t crop; /* pixels per side to evaluate a checkpoint at; 0 = those it was trained at */
    uint32_t trained_crop; /* where crop took its place; set by spec_json_read_eval */
    enum engine_positions positions;
    uint32_t batch;
    double augment_scale[2]; /* area of the random crop where training images are augmented */
    uint32_t neighbors;      /* k */
    double temperature;
    bool random_baseline;            /* also evaluate the same model at random initialisation */
    uint32_t seeds;                  /* probe repetitions */
    enum engine_features features;   /* kind features: what is written */
    enum engine_splits splits;       /* kind features: of which images */
    uint32_t images, bank;           /* kind visualize: rows of a sheet, images to search */
    uint32_t history;                /* kind visualize: checkpoints of the run to look at */
    char reference[ENGINE_PATH_MAX]; /* kind visualize: grids.safetensors whose colours to match */
};

/* Linear heads on a frozen encoder (kinds linear_probe and clevr): all combinations of {last,
 * concat4} x {batch norm, plain} x rates x weight_decays are trained at once. */
struct engine_probe {
    enum engine_probe_mode mode;
    enum engine_probe_optimizer optimizer;
    enum engine_probe_schedule schedule;
    enum engine_probe_selection selection;
    uint32_t epochs;
    uint32_t distance_epochs; /* kind clevr: of the distance task */
    struct engine_list rates; /* per 256 samples */
    struct engine_list weight_decays;
    struct engine_list milestones; /* epochs after which the rate is divided by ten */
    double warmup_epochs;
    double final_share; /* of the rate, at the end of the cosine */
    enum engine_clevr_tasks tasks;
};

/* Kind low_shot: which training images are used, and the logistic regression on them. */
struct engine_low_shot {
    enum engine_low_shot_method method;
    char list[ENGINE_PATH_MAX]; /* text file of image names; "" = drawn by the seed */
    uint32_t shots;             /* images per class; 0 = `fraction` of each */
    double fraction;
    enum engine_scaling scaling;
    double l2; /* the penalty is l2 / images / 2 * |W|^2 beside the mean cross entropy */
    bool intercept;
    uint32_t iterations; /* of L-BFGS at most */
};

/* Training of the whole encoder with a linear classifier (kinds finetune and low_shot). */
struct engine_finetune {
    uint32_t batch, accumulate;
    double epochs, warmup_epochs;
    double lr, final_lr; /* lr per 256 images */
    double weight_decay, layer_decay, drop_path;
    double mixup, cutmix, label_smoothing; /* mixup, cutmix: alpha; 0 = off */
    double rand_augment;                   /* magnitude; 0 = off */
    double random_erase;                   /* probability of an image; 0 = off */
    double clip_grad;                      /* global norm; 0 = off */
    double eval_every_epochs;              /* 0 = at the end only */
};

/* Kind scan. */
struct engine_scan {
    enum engine_scan_check check;
};

/* Kind benchmark: what is timed. */
enum engine_benchmark_what {
    ENGINE_BENCHMARK_STEP,   /* training steps on synthetic images */
    ENGINE_BENCHMARK_LOADER, /* images of the dataset, decoded and cut */
    ENGINE_BENCHMARK_OPS     /* each operation of a training step */
};
struct engine_benchmark {
    enum engine_benchmark_what what;
    uint32_t warmup, steps; /* step: before the clock starts, and timed */
    double seconds;         /* loader: how long; ops: each */
};

/* The processes of one run, one per device. Filled by who starts them, not by parameters. */
struct engine_ranks {
    uint32_t rank, count; /* count 0: as 1 */
    int fd;               /* shared memory (memfd) that all ranks have; unused where count is 1 */
    double timeout_s;     /* a rank that the others wait for longer is given up; 0: 300 */
    pid_t pids[ENGINE_RANKS_MAX]; /* in the parent of the others: theirs, to see one end; else 0 */
};

struct engine_spec {
    enum engine_kind kind;
    enum engine_device device;
    enum engine_precision precision;
    enum engine_target_precision target_precision; /* kind pretrain: of the target encoder */
    enum engine_loss loss;
    uint64_t seed;
    uint32_t threads; /* host backend; 0 = all cores */
    struct engine_data data;
    struct engine_model model;
    struct engine_masks masks;
    struct engine_optimizer optimizer;
    struct engine_monitor monitor;
    struct engine_guard guard;
    struct engine_eval eval;
    struct engine_probe probe;
    struct engine_low_shot low_shot;
    struct engine_finetune finetune;
    struct engine_scan scan;
    struct engine_benchmark benchmark;
    struct engine_ranks ranks;
    char
        device_checks[ENGINE_PATH_MAX]; /* not "": the GPU was chosen by `auto` elsewhere; this file
                                            remembers the GPUs that passed their check */
    char directory[ENGINE_PATH_MAX];    /* run directory: checkpoints/ and results go below it */
    char resume[ENGINE_PATH_MAX];       /* checkpoint directory to continue from; "" = the newest
                                         valid one in `directory`, or from scratch */
    char init_from[ENGINE_PATH_MAX]; /* checkpoint whose weights a new pretraining run begins with:
                                         both encoders become its target encoder; "" = random */
};

/* What the host asks of a running engine; polled at every step. */
enum engine_command {
    ENGINE_CONTINUE,
    ENGINE_STOP,           /* save a checkpoint, then return IJ_STOPPED */
    ENGINE_ABORT,          /* return IJ_STOPPED at once, save nothing */
    ENGINE_CHECKPOINT_NOW, /* save and go on; reported once */
};

struct engine_progress {
    uint64_t step, steps; /* optimiser steps done and planned */
    double epoch;
    double images_per_s; /* over the last few seconds */
    double eta_s;        /* NaN when unknown */
    const char *phase;   /* "loading", "training", "evaluating", "saving"; static */
};

struct engine_checkpoint {
    const char *path; /* directory, complete and durable when this is reported */
    uint64_t step, bytes;
    double epoch;
    const char *hash; /* hex SHA-256 over the files' hashes, in name order */
};

/* A run's loss broke and it goes back: noted durably; the next start of the run acts on it. */
struct engine_rewind {
    const char *why;                 /* "nonfinite" or "spike"; static */
    uint64_t failed_step;            /* that broke, from 1 */
    uint64_t back_to;                /* step of the checkpoint that the next start begins from */
    uint64_t skip_first, skip_count; /* data left out, in steps of data from 0 */
    uint32_t number, max;            /* this is the number-th of at most so many */
};

/*
 * Calls from the engine to its host, all from the thread in engine_run unless noted. Strings and
 * arrays are borrowed for the call. A non-OK return ends the run with that status.
 */
struct engine_sink {
    void *user;
    enum ij_status (*metrics)(void *user, const char *stream, uint64_t step,
                              const char *const *keys, const float *values, size_t count);
    enum ij_status (*progress)(void *user, const struct engine_progress *progress);
    /* Called before a checkpoint of `step` becomes visible: the host returns once every metric
     * up to it is safe, so that a resume leaves no gap. From the checkpoint writer's thread. */
    enum ij_status (*checkpoint_barrier)(void *user, uint64_t step);
    /* From the checkpoint writer's thread. */
    enum ij_status (*checkpoint)(void *user, const struct engine_checkpoint *checkpoint);
    /* A finished evaluation: `json` is an object. */
    enum ij_status (*result)(void *user, const char *name, const char *json);
    enum ij_status (*warning)(void *user, const char *code, const char *text);
    enum ij_status (*rewind)(void *user, const struct engine_rewind *rewind); /* then IJ_NONFINITE
                                                                                 follows */
    enum engine_command (*poll)(void *user);
};

/* IJ_OK: finished. IJ_STOPPED: asked to stop, the newest checkpoint is complete. Else the error. */
IJ_MUST_USE enum ij_status engine_run(const struct engine_spec *spec,
                                      const struct engine_sink *sink, struct ij_err *reterr_err);

/* ---- Questions (pure; linked by the daemon too) --------------------------------------------- */

/* Everything that can be known to be wrong before a run starts, mask sampling that could never end
 * included. `reterr_err->field` is the parameter's dotted name ("masks.min_keep"). Does not look at
 * the dataset. */
IJ_MUST_USE enum ij_status engine_check(const struct engine_spec *spec, struct ij_err *reterr_err);

/* Will the run of this spec use the host backend, as the device named or for want of a GPU? */
bool engine_runs_on_host(const struct engine_spec *spec);

/* Could this process compute on a GPU? Asks the driver; *ret_reason says why not. */
bool engine_cuda_usable(char *ret_reason, size_t size);

/* Looks at the file system: paths exist, are readable and hold at least one image (it stops at the
 * first). `reterr_err->field` is "data.path" or "data.eval_path". Gives up looking, with IJ_OK,
 * after 20,000 entries. */
IJ_MUST_USE enum ij_status engine_check_data(const struct engine_spec *spec,
                                             struct ij_err *reterr_err);

struct engine_plan {
    uint64_t parameters_encoder, parameters_predictor;
    uint64_t bytes_parameters, bytes_optimizer, bytes_activations, bytes_input;
    uint64_t bytes_scratch;  /* a GPU's: the backend's own; 0 where the device is the host */
    uint64_t bytes_total;    /* of the five above */
    uint64_t bytes_resident; /* of bytes_total: see engine_plan_resident */
    uint64_t bytes_checkpoint;
    double flop_per_image; /* training step; expectation over masks (ijepa.md 23) */
    uint64_t steps;        /* for `images` images */
};

/* Memory, work and steps for a dataset of `images` images. An evaluation's is that of the model in
 * `spec`, which engine_subject_* put there; of what classifies, that of a dataset with 1000
 * classes; the ops of a benchmark take no more than a step. */
IJ_MUST_USE enum ij_status engine_plan(const struct engine_spec *spec, uint64_t images,
                                       struct engine_plan *ret_plan, struct ij_err *reterr_err);

/* Sets `bytes_resident` of a plan of this spec: how much of bytes_total a host has in memory once
 * the first `batches` micro-batches (1 to ENGINE_PLAN_BATCHES_MAX) are done. Its pages count when
 * they are written, and contexts as long as the plan has room for seldom come. From masks of the
 * run's seed; of a larger batch than 2048 images, that many. What is allocated beside the model
 * counts whole, and so does everything of a GPU and of kinds that do not train on masks. */
IJ_MUST_USE enum ij_status engine_plan_resident(const struct engine_spec *spec, uint32_t batches,
                                                struct engine_plan *plan,
                                                struct ij_err *reterr_err);
#define ENGINE_PLAN_BATCHES     16 /* engine_plan's */
#define ENGINE_PLAN_BATCHES_MAX 100000

/* engine_plan without work, steps and bytes_resident, which are 0: fast. */
IJ_MUST_USE enum ij_status engine_plan_memory(const struct engine_spec *spec,
                                              struct engine_plan *ret_plan,
                                              struct ij_err *reterr_err);

/* The model of the checkpoint in a directory, or the one that a pretraining run will have made,
 * where an evaluation's own would be: shape, pixels, and for kind visualize the masks. Reads no
 * weights. IJ_NOT_FOUND, IJ_CORRUPT, or what cannot be evaluated about it. */
IJ_MUST_USE enum ij_status engine_subject_read(const char *directory, struct engine_spec *spec,
                                               struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status engine_subject_of(const struct engine_spec *trained,
                                             struct engine_spec *spec, struct ij_err *reterr_err);

/* What CUDA itself takes of a GPU beside a plan. An estimate on the safe side: it depends on GPU
 * and driver, and none was measured. */
#define ENGINE_CONTEXT_BYTES ((uint64_t)768 << 20)

/* What of a run fits into some memory. */
struct engine_fit {
    uint64_t bytes; /* of the run as it is */
    bool fits;
    const char *field;          /* the member that says how many images are worked on at once */
    uint32_t batch;             /* the largest that would fit there; 0: none */
    uint32_t split, accumulate; /* as many images per step in smaller micro-batches; 0: none */
};
IJ_MUST_USE enum ij_status engine_fit(const struct engine_spec *spec, uint64_t bytes,
                                      struct engine_fit *ret_fit, struct ij_err *reterr_err);
/* "a batch of 96 would fit, or batch 64 with accumulate 4 for as many images per step" */
void engine_fit_text(const struct engine_fit *fit, char *ret_text, size_t size);

/* Named encoder shapes: vit_tiny .. vit_giant. False if unknown. Sets width, depth, heads,
 * mlp_ratio and the predictor depth that the paper uses with it. */
bool engine_model_by_name(const char *name, struct engine_model *model);

#define ENGINE_PATCHES_MAX 4096 /* of an image */
struct engine_mask_preview {
    uint32_t grid, blocks, context_count, target_count[ENGINE_TARGETS_MAX];
    uint16_t context[ENGINE_PATCHES_MAX];                     /* patch indices */
    uint16_t targets[ENGINE_TARGETS_MAX][ENGINE_PATCHES_MAX]; /* the same */
};
/* The masks of sample `sample` alone (a batch of one), for the dashboard's preview. */
IJ_MUST_USE enum ij_status engine_preview_masks(const struct engine_spec *spec, uint64_t sample,
                                                struct engine_mask_preview *ret_preview,
                                                struct ij_err *reterr_err);

/* How many patches the context encoder would see in each of samples 0 .. draws-1 alone: of them
 * ret_counts[n] (zeroed here) keep n; `ret_counts` has ENGINE_PATCHES_MAX + 1 places. */
IJ_MUST_USE enum ij_status engine_preview_kept(const struct engine_spec *spec, uint32_t draws,
                                               uint32_t *ret_counts, struct ij_err *reterr_err);

/* ---- Tools of the worker -------------------------------------------------------------------- */

/* Replays a reference file of five training steps (tests/golden/README.md). `report`
 * receives one line per group. IJ_OK within tolerance, IJ_DATA if not. */
IJ_MUST_USE enum ij_status engine_check_golden(const char *path,
                                               void (*report)(void *user, const char *line),
                                               void *user, struct ij_err *reterr_err);

/* Two training steps on the GPU against the host, in both precisions; a second or two. `report`
 * receives one line per comparison. IJ_OK: trust it; IJ_DATA: it computes something else;
 * IJ_UNSUPPORTED or IJ_DEVICE with the reason where there is none that works. */
IJ_MUST_USE enum ij_status engine_check_device(void (*report)(void *user, const char *line),
                                               void *user, struct ij_err *reterr_err);

/* Is told after each step of how many; not IJ_OK ends the benchmark. */
struct engine_bench_watch {
    void *user;
    enum ij_status (*step)(void *user, uint64_t done, uint64_t all, struct ij_err *reterr_err);
};
/* Times `steps` training steps on synthetic images after `warmup`; *ret_json is the caller's;
 * `watch` may be NULL. */
IJ_MUST_USE enum ij_status engine_bench_step(const struct engine_spec *spec, uint32_t warmup,
                                             uint32_t steps, const struct engine_bench_watch *watch,
                                             char **ret_json, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status engine_bench_loader(const struct engine_spec *spec, double seconds,
                                               char **ret_json, struct ij_err *reterr_err);
/* Times each operation of the spec's training step for about `seconds`; `report` receives one JSON
 * object per line: first the device's ceilings, then the operations. */
IJ_MUST_USE enum ij_status engine_bench_ops(const struct engine_spec *spec, double seconds,
                                            void (*report)(void *user, const char *line),
                                            void *user, struct ij_err *reterr_err);
/* Weights to and from other programs. Nothing is overwritten, no device is used. */
enum engine_format { ENGINE_FORMAT_HF, ENGINE_FORMAT_TIMM, ENGINE_FORMAT_OFFICIAL };
struct engine_export {
    const char *checkpoint; /* a checkpoint's directory, or a run's: its newest valid one */
    const char *directory;  /* made, or empty */
    const char *result;     /* result.json of an evaluation of this checkpoint; NULL: none */
    enum engine_format format;
    enum engine_encoder encoder; /* official: both are written */
};
/* *ret_json, what was written, is the caller's (mem_free). */
IJ_MUST_USE enum ij_status engine_export(const struct engine_export *options, char **ret_json,
                                         struct ij_err *reterr_err);
struct engine_import {
    const char *path;         /* an official .pth.tar, or a Hugging Face folder */
    const char *directory;    /* becomes a run directory with one checkpoint, of step 0 */
    uint32_t heads;           /* attention heads; 0: from the file, or known by the width */
    const double *mean, *std; /* normalisation, three values each; NULL: from the file, else the
                                 ImageNet values that public checkpoints were trained with */
};
/* IJ_MALFORMED, IJ_UNSUPPORTED or IJ_DATA name what was found; *ret_json as above. */
IJ_MUST_USE enum ij_status engine_import(const struct engine_import *options, char **ret_json,
                                         struct ij_err *reterr_err);

/* Packs a dataset (folder tree, .tar shards, list) into an index and shards, which are a dataset of
 * the same images in the same order under the same names and labels: docs/formats.md. Goes on where
 * a run of it was killed; overwrites nothing of others. `report` receives one line per shard.
 * IJ_CONFLICT: the directory holds something else; IJ_DATA: an image changed meanwhile. */
struct engine_pack {
    const char *dataset, *directory;
    uint64_t shard_bytes; /* a shard's images are at most that, or one image; 0: 4 GiB */
};
IJ_MUST_USE enum ij_status engine_pack(const struct engine_pack *options,
                                       void (*report)(void *user, const char *line), void *user,
                                       struct ij_err *reterr_err);
/* Reads a pack to the end and compares every hash; IJ_CORRUPT names the file. */
IJ_MUST_USE enum ij_status engine_check_pack(const char *directory,
                                             void (*report)(void *user, const char *line),
                                             void *user, struct ij_err *reterr_err);

/* Renders `count` scenes with a CLEVR-format scenes.json into `directory` (train/ and val/). */
IJ_MUST_USE enum ij_status engine_scenes(const char *directory, uint32_t count, uint32_t size,
                                         uint64_t seed, struct ij_err *reterr_err);

#endif
