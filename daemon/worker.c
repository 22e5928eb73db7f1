/*
 * ijepad-worker: carries out one run, and the engine's tools for the command line.
 *
 * A failure is printed here, once, as one line on stderr, and becomes the exit code of its status
 * (base/status.h): 0 done, 65 bad data, 69 device, 70 bug, 71 memory, 74 I/O, 75 stopped as asked,
 * 76 a non-finite loss, 78 bad configuration.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/build.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/worker_gpus.h"
#include "daemon/worker_interop.h"
#include "daemon/worker_run.h"
#include "daemon/worker_tools.h"

static const struct {
    const char *name;
    enum ij_status (*run)(int argc, char **argv, struct ij_err *reterr_err);
    const char *help;
} commands[] = {
    {"run", worker_run, "one run by hand: --spec FILE --directory DIR; JSON lines on stdout"},
    {"check-golden", worker_tools_check_golden, "FILE...: replay reference files"},
    {"check-device", worker_tools_check_device, "two training steps on the GPU against the host"},
    {"bench", worker_tools_bench, "step|ops|loader: images/s and more as JSON"},
    {"plan", worker_tools_plan, "--spec FILE: memory, work and steps as JSON"},
    {"scenes", worker_tools_scenes, "DIR --count N: render the built-in dataset"},
    {"pack", worker_tools_pack, "DATASET DIR: millions of files as an index and shards"},
    {"export", worker_interop_export, "a checkpoint for transformers, timm or the official code"},
    {"import", worker_interop_import, "FILE --out DIR: official .pth.tar or a transformers folder"},
    {"gpus", worker_gpus, "[--watch]: the GPUs of this machine as JSON"},
    {"parameters", worker_tools_parameters, "print the reference of run parameters"},
};

static void print_help(void)
{
    puts("Usage: ijepad-worker COMMAND [options]   (COMMAND --help says more)\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        printf("  %-14s %s\n", commands[i].name, commands[i].help);
    puts("  --version      print the version");
}

static enum ij_status dispatch(int argc, char **argv, struct ij_err *reterr_err)
{
    const char *names[COUNT_OF(commands)];
    if (argc < 2)
        return IJ_ERR(reterr_err, IJ_INVALID, "no command; see --help");
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], names[i]) == 0)
            return commands[i].run(argc - 2, argv + 2, reterr_err);
    }
    const char *nearest = text_nearest(argv[1], names, COUNT_OF(commands));
    return IJ_ERR(reterr_err, IJ_INVALID, "unknown command \"%.60s\"%s%s%s", argv[1],
                  nearest ? "; did you mean \"" : "; see --help", nearest ? nearest : "",
                  nearest ? "\"?" : "");
}

/*
 * Threads of the OpenMP team that wait must sleep: by default they spin, and take the cores from
 * the loader's threads and from other processes (nine times slower on a busy two-core machine). The
 * library reads its environment before main, hence the second start; who sets either variable has
 * the say.
 */
static void make_waiting_threads_sleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv); /* where it fails, threads spin: slower, not wrong */
}

int main(int argc, char **argv)
{
    make_waiting_threads_sleep(argv);
    (void)prctl(PR_SET_NAME, "ijepad-worker"); /* the second start is by /proc/self/exe */
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = IJ_OK;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0))
        print_help();
    else if (argc == 2 && strcmp(argv[1], "--version") == 0)
        printf("ijepad-worker %s\n", build_id());
    else
        status = dispatch(argc, argv, &err);
    if (status != IJ_OK) {
        bool named = !err.field[0] || strstr(err.text, err.field);
        fprintf(stderr, "ijepad-worker: %s%s%s\n", named ? "" : err.field, named ? "" : ": ",
                err.text);
    }
    return ij_status_exit_code(status);
}
