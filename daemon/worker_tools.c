/* See worker_tools.h. */
#include "daemon/worker_tools.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/options.h"
#include "daemon/params.h"
#include "daemon/worker_spec.h"
#include "gpu/engine.h"

#define FILES_MAX      64
#define BENCH_LOADER_S 10   /* where --seconds does not say */
#define BENCH_OP_S     0.05 /* per operation */
#define SHARD_MIB_MAX  (1u << 20)

static void print_help(const char *usage, const struct options_row *rows, size_t count)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_printf(&text, "Usage: ijepad-worker %s\n", usage);
    options_help(rows, count, &text);
    fputs(text.data ? text.data : "", stdout);
    buf_done(&text);
}

/* ---- check-golden ---------------------------------------------------------------------------- */

static void print_line(void *user, const char *line)
{
    (void)user;
    puts(line);
}

enum ij_status worker_tools_check_golden(int argc, char **argv, struct ij_err *reterr_err)
{
    const char *files[FILES_MAX];
    size_t count;
    bool help = false;
    const struct options_row rows[] = {
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), files, FILES_MAX, &count, reterr_err));
    if (help) {
        print_help("check-golden FILE...", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (!count)
        return IJ_ERR(reterr_err, IJ_INVALID, "check-golden needs at least one FILE");
    enum ij_status first = IJ_OK;
    for (size_t i = 0; i < count; i++) {
        struct ij_err err = IJ_ERR_INIT;
        printf("%s\n", files[i]);
        enum ij_status status = engine_check_golden(files[i], print_line, NULL, &err);
        if (status != IJ_OK)
            printf("%s\n", err.text);
        if (status != IJ_OK && first == IJ_OK) {
            first = status;
            *reterr_err = err;
        }
    }
    return first;
}

/* ---- check-device ---------------------------------------------------------------------------- */

enum ij_status worker_tools_check_device(int argc, char **argv, struct ij_err *reterr_err)
{
    size_t count;
    bool help = false;
    const struct options_row rows[] = {
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), NULL, 0, &count, reterr_err));
    if (help) {
        print_help("check-device", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    return engine_check_device(print_line, NULL, reterr_err);
}

/* ---- bench ----------------------------------------------------------------------------------- */

struct bench {
    const char *model, *precision, *target_precision, *dataset, *preset, *device;
    uint64_t batch, threads, crop, patch, accumulate, loader_threads, warmup, steps, seed;
    uint64_t pred_width, pred_depth;
    double seconds;
    bool gelu_tanh, help;
};

static void set_if(json_t *params, const char *name, uint64_t value)
{
    if (value)
        json_object_set_new(params, name, json_integer((json_int_t)value));
}

/* What is timed hardly depends on masks.min_keep, but the published one refuses small grids; the
 * loader does not look at patches at all. */
static void fit_small_images(const struct bench *bench, bool step, json_t *params)
{
    if (bench->preset || !bench->crop)
        return;
    json_object_set_new(params, "min_keep", json_integer(0));
    if (!step && !bench->patch)
        set_if(params, "patch", bench->crop / 14);
}

static enum ij_status bench_spec(const struct bench *bench, bool step, struct engine_spec *ret_spec,
                                 struct ij_err *reterr_err)
{
    json_t *params = json_object();
    json_object_set_new(params, "dataset", json_string(bench->dataset ? bench->dataset : "/"));
    json_object_set_new(params, "labels", json_string("none"));
    if (bench->preset)
        json_object_set_new(params, "preset", json_string(bench->preset));
    if (bench->model)
        json_object_set_new(params, "model", json_string(bench->model));
    if (bench->device)
        json_object_set_new(params, "device", json_string(bench->device));
    if (bench->precision)
        json_object_set_new(params, "precision", json_string(bench->precision));
    if (bench->target_precision)
        json_object_set_new(params, "target_precision", json_string(bench->target_precision));
    if (bench->gelu_tanh)
        json_object_set_new(params, "gelu_tanh", json_true());
    set_if(params, "batch", bench->batch);
    set_if(params, "threads", bench->threads);
    set_if(params, "crop", bench->crop);
    set_if(params, "patch", bench->patch);
    set_if(params, "pred_width", bench->pred_width);
    set_if(params, "pred_depth", bench->pred_depth);
    set_if(params, "accumulate", bench->accumulate);
    set_if(params, "loader_threads", bench->loader_threads);
    set_if(params, "seed", bench->seed);
    fit_small_images(bench, step, params);
    enum ij_status status =
        params_from_json(ENGINE_PRETRAIN, params, "", ret_spec, NULL, reterr_err);
    json_decref(params);
    return status;
}

static enum ij_status bench_run(const struct bench *bench, const char *what,
                                struct ij_err *reterr_err)
{
    static const char *const names[] = {"step", "loader", "ops"};
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    mem_auto char *json = NULL;
    if (!spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a benchmark");
    bool ops = strcmp(what, "ops") == 0, step = strcmp(what, "step") == 0;
    if (!ops && !step && strcmp(what, "loader") != 0) {
        const char *nearest = text_nearest(what, names, COUNT_OF(names));
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "unknown benchmark \"%.60s\": expected step, ops or loader%s%s%s", what,
                      nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                      nearest ? "\"?" : "");
    }
    if (!ops && !step && !bench->dataset)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "dataset", "bench loader needs --dataset PATH");
    IJ_TRY(bench_spec(bench, step || ops, spec, reterr_err));
    if (ops)
        return engine_bench_ops(spec, bench->seconds > 0 ? bench->seconds : BENCH_OP_S, print_line,
                                NULL, reterr_err);
    if (step)
        IJ_TRY(engine_bench_step(spec, (uint32_t)bench->warmup, (uint32_t)bench->steps, NULL, &json,
                                 reterr_err));
    else
        IJ_TRY(engine_bench_loader(spec, bench->seconds > 0 ? bench->seconds : BENCH_LOADER_S,
                                   &json, reterr_err));
    puts(json);
    return IJ_OK;
}

enum ij_status worker_tools_bench(int argc, char **argv, struct ij_err *reterr_err)
{
    struct bench bench = {.warmup = 1, .steps = 5};
    const char *places[1];
    size_t count;
    const struct options_row rows[] = {
        {"model", OPTIONS_TEXT, &bench.model, "NAME", "vit_tiny .. vit_giant"},
        {"preset", OPTIONS_TEXT, &bench.preset, "NAME", "a named recipe to start from"},
        {"batch", OPTIONS_UINT, &bench.batch, "N", "images per micro-batch"},
        {"accumulate", OPTIONS_UINT, &bench.accumulate, "N", "micro-batches per step"},
        {"crop", OPTIONS_UINT, &bench.crop, "PIXELS", "side of the image"},
        {"patch", OPTIONS_UINT, &bench.patch, "PIXELS", "side of a patch"},
        {"pred-width", OPTIONS_UINT, &bench.pred_width, "N", "width of the predictor"},
        {"pred-depth", OPTIONS_UINT, &bench.pred_depth, "N", "blocks of the predictor"},
        {"precision", OPTIONS_TEXT, &bench.precision, "NAME", "float32 or bfloat16"},
        {"target-precision", OPTIONS_TEXT, &bench.target_precision, "NAME", "same or float8"},
        {"gelu-tanh", OPTIONS_FLAG, &bench.gelu_tanh, NULL, "GELU in its tanh form, not by erf"},
        {"device", OPTIONS_TEXT, &bench.device, "NAME", "auto, host or cuda"},
        {"threads", OPTIONS_UINT, &bench.threads, "N", "of the host backend; 0 = all cores"},
        {"loader-threads", OPTIONS_UINT, &bench.loader_threads, "N", "0 = chosen"},
        {"dataset", OPTIONS_TEXT, &bench.dataset, "PATH", "images, for bench loader"},
        {"warmup", OPTIONS_UINT, &bench.warmup, "N", "steps before the clock starts; default 1"},
        {"steps", OPTIONS_UINT, &bench.steps, "N", "steps timed; default 5"},
        {"seconds", OPTIONS_NUMBER, &bench.seconds, "S",
         "bench loader: how long, default 10; bench ops: each, default 0.05"},
        {"seed", OPTIONS_UINT, &bench.seed, "N", "default 0"},
        {"help", OPTIONS_FLAG, &bench.help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), places, 1, &count, reterr_err));
    if (bench.help) {
        print_help("bench step|ops|loader [options]", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (!count)
        return IJ_ERR(reterr_err, IJ_INVALID, "bench needs one of: step, ops, loader");
    if (bench.steps < 1 || bench.steps > 1000000 || bench.warmup > 1000000 ||
        !(bench.seconds >= 0 && bench.seconds <= 86400))
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "--steps must be 1 to 1000000, --warmup at most that, --seconds 0 to 86400");
    return bench_run(&bench, places[0], reterr_err);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* What of it fits a GPU: "memory" as told with --memory, less what CUDA takes for itself. */
static enum ij_status print_fit(const struct engine_spec *spec, uint64_t memory,
                                struct ij_err *reterr_err)
{
    struct engine_fit fit;
    uint64_t usable = memory > ENGINE_CONTEXT_BYTES ? memory - ENGINE_CONTEXT_BYTES : 0;
    IJ_TRY(engine_fit(spec, usable, &fit, reterr_err));
    printf("{\"bytes_memory\":%llu,\"bytes_needed\":%llu,\"fits\":%s,\"largest_batch\":%u,"
           "\"split_batch\":%u,\"split_accumulate\":%u}\n",
           (unsigned long long)memory, (unsigned long long)(fit.bytes + ENGINE_CONTEXT_BYTES),
           fit.fits ? "true" : "false", fit.batch, fit.split, fit.accumulate);
    return IJ_OK;
}

static void print_plan(const struct engine_plan *plan, uint64_t images)
{
    printf("{\"images\":%llu,\"parameters_encoder\":%llu,\"parameters_predictor\":%llu,"
           "\"bytes_parameters\":%llu,\"bytes_optimizer\":%llu,\"bytes_activations\":%llu,"
           "\"bytes_input\":%llu,\"bytes_scratch\":%llu,\"bytes_total\":%llu,"
           "\"bytes_resident\":%llu,\"bytes_checkpoint\":%llu,"
           "\"flop_per_image\":%.6g,\"steps\":%llu}\n",
           (unsigned long long)images, (unsigned long long)plan->parameters_encoder,
           (unsigned long long)plan->parameters_predictor,
           (unsigned long long)plan->bytes_parameters, (unsigned long long)plan->bytes_optimizer,
           (unsigned long long)plan->bytes_activations, (unsigned long long)plan->bytes_input,
           (unsigned long long)plan->bytes_scratch, (unsigned long long)plan->bytes_total,
           (unsigned long long)plan->bytes_resident, (unsigned long long)plan->bytes_checkpoint,
           isfinite(plan->flop_per_image) ? plan->flop_per_image : 0.0,
           (unsigned long long)plan->steps);
}

enum ij_status worker_tools_plan(int argc, char **argv, struct ij_err *reterr_err)
{
    const char *file = NULL;
    uint64_t images = 0, memory = 0, batches = 0;
    bool help = false;
    size_t count;
    const struct options_row rows[] = {
        {"spec", OPTIONS_TEXT, &file, "FILE", "JSON {\"kind\", \"params\"}"},
        {"memory", OPTIONS_UINT, &memory, "BYTES", "of a GPU: a second line says what fits it"},
        {"images", OPTIONS_UINT, &images, "N", "size of the dataset; default: params.limit"},
        {"batches", OPTIONS_UINT, &batches, "N",
         "micro-batches after which bytes_resident is told; default 16"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    struct engine_plan plan;
    mem_auto struct engine_spec *spec = mem_new(struct engine_spec);
    if (!spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a plan");
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), NULL, 0, &count, reterr_err));
    if (help) {
        print_help("plan --spec FILE [--images N] [--memory BYTES] [--batches N]", rows,
                   COUNT_OF(rows));
        return IJ_OK;
    }
    if (!file)
        return IJ_ERR(reterr_err, IJ_INVALID, "plan needs --spec FILE");
    IJ_TRY(worker_spec_load(file, spec, NULL, reterr_err));
    if (!images)
        images = spec->data.limit;
    if (!images)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "images",
                            "say how many images the dataset has: --images N");
    IJ_TRY(engine_plan(spec, images, &plan, reterr_err));
    if (batches)
        IJ_TRY(engine_plan_resident(spec, (uint32_t)(batches < UINT32_MAX ? batches : UINT32_MAX),
                                    &plan, reterr_err));
    print_plan(&plan, images);
    return memory ? print_fit(spec, memory, reterr_err) : IJ_OK;
}

/* ---- scenes ---------------------------------------------------------------------------------- */

enum ij_status worker_tools_scenes(int argc, char **argv, struct ij_err *reterr_err)
{
    uint64_t images = 0, size = 64, seed = 0;
    const char *places[1];
    bool help = false;
    size_t count;
    const struct options_row rows[] = {
        {"count", OPTIONS_UINT, &images, "N", "scenes in all, train and val"},
        {"size", OPTIONS_UINT, &size, "PIXELS", "side of the images; default 64"},
        {"seed", OPTIONS_UINT, &seed, "N", "default 0"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), places, 1, &count, reterr_err));
    if (help) {
        print_help("scenes DIR --count N [--size 64] [--seed 0]", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (!count || !images || images > UINT32_MAX || size > UINT32_MAX)
        return IJ_ERR(reterr_err, IJ_INVALID, "scenes needs a DIR and --count N (1 or more)");
    return engine_scenes(places[0], (uint32_t)images, (uint32_t)size, seed, reterr_err);
}

/* ---- pack ------------------------------------------------------------------------------------ */

/* Whoever waits for a shard sees its line when it is there, through a pipe too. */
static void print_line_now(void *user, const char *line)
{
    print_line(user, line);
    fflush(stdout);
}

enum ij_status worker_tools_pack(int argc, char **argv, struct ij_err *reterr_err)
{
    uint64_t shard_mib = 0;
    const char *places[2];
    bool check = false, help = false;
    size_t count;
    const struct options_row rows[] = {
        {"shard-mib", OPTIONS_UINT, &shard_mib, "N", "images of a shard at most; default 4096"},
        {"check", OPTIONS_FLAG, &check, NULL, "read the pack DIR and compare its hashes"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), places, 2, &count, reterr_err));
    if (help) {
        print_help("pack DATASET DIR [--shard-mib 4096] | pack --check DIR", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (count != (check ? 1 : 2) || (check && shard_mib))
        return IJ_ERR(reterr_err, IJ_INVALID, "pack needs DATASET and DIR, or --check and DIR");
    if (shard_mib > SHARD_MIB_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "shard-mib", "must be 1 to %u", SHARD_MIB_MAX);
    if (check)
        return engine_check_pack(places[0], print_line_now, NULL, reterr_err);
    const struct engine_pack options = {places[0], places[1], shard_mib << 20};
    return engine_pack(&options, print_line_now, NULL, reterr_err);
}

/* ---- parameters ------------------------------------------------------------------------------ */

enum ij_status worker_tools_parameters(int argc, char **argv, struct ij_err *reterr_err)
{
    size_t count;
    IJ_TRY(options_parse(argc, argv, NULL, 0, NULL, 0, &count, reterr_err));
    mem_auto char *text = params_markdown();
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the parameters");
    fputs(text, stdout);
    return IJ_OK;
}
