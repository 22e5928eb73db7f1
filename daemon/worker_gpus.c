/* See worker_gpus.h. */
#include "daemon/worker_gpus.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/gpu_report.h"
#include "daemon/nvml.h"
#include "daemon/options.h"
#include "gpu/engine.h"

#define EVERY_MS 1000

static enum ij_status print(const struct gpu_report *report, struct ij_err *reterr_err)
{
    struct buf line;
    buf_init(&line, GPU_REPORT_LINE_MAX);
    gpu_report_write(report, &line);
    buf_append_text(&line, "\n");
    enum ij_status status = buf_status(&line);
    if (status == IJ_OK)
        status = file_write_all(STDOUT_FILENO, line.data, line.size, "stdout", reterr_err);
    else
        status =
            IJ_ERR(reterr_err, status, "a GPU report does not fit %d bytes", GPU_REPORT_LINE_MAX);
    buf_done(&line);
    return status;
}

static enum ij_status look(bool watch, struct gpu_report *report, struct ij_err *reterr_err)
{
    struct nvml *nvml = NULL;
    struct ij_err err = IJ_ERR_INIT;
    char unusable[sizeof(report->unusable)];
    enum ij_status status = nvml_open(&nvml, &err);
    if (status == IJ_UNSUPPORTED) {
        report->state = GPU_REPORT_ABSENT;
        snprintf(report->reason, sizeof(report->reason), "%.255s", err.text);
        return print(report, reterr_err);
    }
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    (void)engine_cuda_usable(unusable,
                             sizeof(unusable)); /* a driver that hangs here is a hung one */
    while (status == IJ_OK) {
        int64_t next_ms = clock_monotonic_ms() + EVERY_MS;
        status = nvml_read(nvml, report, reterr_err);
        snprintf(report->unusable, sizeof(report->unusable), "%s", unusable);
        if (status == IJ_OK)
            status = print(report, reterr_err);
        if (status != IJ_OK || !watch)
            break;
        nvml_wait(nvml, next_ms);
    }
    nvml_close(nvml);
    return status;
}

enum ij_status worker_gpus(int argc, char **argv, struct ij_err *reterr_err)
{
    bool watch = false, help = false;
    size_t count;
    const struct options_row rows[] = {
        {"watch", OPTIONS_FLAG, &watch, NULL, "go on, one line a second"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), NULL, 0, &count, reterr_err));
    if (help) {
        struct buf text;
        buf_init(&text, 1 << 16);
        buf_append_text(&text, "Usage: ijepad-worker gpus [--watch]\n");
        options_help(rows, COUNT_OF(rows), &text);
        fputs(text.data ? text.data : "", stdout);
        buf_done(&text);
        return IJ_OK;
    }
    mem_auto struct gpu_report *report = mem_new(struct gpu_report);
    if (!report)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a GPU report");
    signal(SIGPIPE, SIG_IGN);
    return look(watch, report, reterr_err);
}
