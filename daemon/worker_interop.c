/* See worker_interop.h. */
#include "daemon/worker_interop.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/options.h"
#include "gpu/engine.h"

#define HEADS_MAX 128

static void print_help(const char *usage, const struct options_row *rows, size_t count)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_printf(&text, "Usage: ijepad-worker %s\n", usage);
    options_help(rows, count, &text);
    fputs(text.data ? text.data : "", stdout);
    buf_done(&text);
}

/* The place of `text` in `names`. */
static enum ij_status choose(const char *option, const char *text, const char *const *names,
                             size_t count, unsigned *ret_index, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_index = (unsigned)i;
            return IJ_OK;
        }
    char list[128] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, option, "--%s must be one of %s, got \"%.60s\"",
                        option, list, text);
}

enum ij_status worker_interop_export(int argc, char **argv, struct ij_err *reterr_err)
{
    static const char *const formats[] = {"hf", "timm", "official"};
    static const char *const encoders[] = {"target", "context"};
    struct engine_export options = {.checkpoint = NULL};
    const char *format = "hf", *encoder = "target", *places[1];
    bool help = false;
    size_t count;
    unsigned format_index = 0, encoder_index = 0;
    const struct options_row rows[] = {
        {"checkpoint", OPTIONS_TEXT, &options.checkpoint, "DIR", "a checkpoint, or a run's folder"},
        {"format", OPTIONS_TEXT, &format, "NAME", "hf (default), timm or official"},
        {"encoder", OPTIONS_TEXT, &encoder, "NAME", "target (default) or context"},
        {"result", OPTIONS_TEXT, &options.result, "FILE",
         "result.json of an evaluation, for the "
         "model card"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), places, 1, &count, reterr_err));
    if (help) {
        print_help("export --checkpoint DIR [options] OUT", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (!options.checkpoint || !count)
        return IJ_ERR(reterr_err, IJ_INVALID, "export needs --checkpoint DIR and a folder OUT");
    IJ_TRY(choose("format", format, formats, COUNT_OF(formats), &format_index, reterr_err));
    IJ_TRY(choose("encoder", encoder, encoders, COUNT_OF(encoders), &encoder_index, reterr_err));
    options.directory = places[0];
    options.format = (enum engine_format)format_index;
    options.encoder = (enum engine_encoder)encoder_index;
    mem_auto char *json = NULL;
    IJ_TRY(engine_export(&options, &json, reterr_err));
    puts(json);
    return IJ_OK;
}

enum ij_status worker_interop_import(int argc, char **argv, struct ij_err *reterr_err)
{
    static const char *const normalizations[] = {"file", "imagenet", "half"};
    static const double means[][3] = {{0.485, 0.456, 0.406}, {0.5, 0.5, 0.5}};
    static const double stds[][3] = {{0.229, 0.224, 0.225}, {0.5, 0.5, 0.5}};
    struct engine_import options = {.path = NULL};
    const char *normalization = "file", *places[1];
    uint64_t heads = 0;
    bool help = false;
    size_t count;
    unsigned index = 0;
    const struct options_row rows[] = {
        {"out", OPTIONS_TEXT, &options.directory, "DIR", "becomes a run's folder"},
        {"heads", OPTIONS_UINT, &heads, "N", "attention heads, where the file does not say"},
        {"normalization", OPTIONS_TEXT, &normalization, "NAME",
         "file (default), imagenet, or half (mean and deviation 0.5)"},
        {"help", OPTIONS_FLAG, &help, NULL, "print this"},
    };
    IJ_TRY(options_parse(argc, argv, rows, COUNT_OF(rows), places, 1, &count, reterr_err));
    if (help) {
        print_help("import FILE --out DIR [options]", rows, COUNT_OF(rows));
        return IJ_OK;
    }
    if (!options.directory || !count)
        return IJ_ERR(reterr_err, IJ_INVALID, "import needs a FILE and --out DIR");
    if (heads > HEADS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "heads", "--heads must be at most %d",
                            HEADS_MAX);
    IJ_TRY(choose("normalization", normalization, normalizations, COUNT_OF(normalizations), &index,
                  reterr_err));
    options.path = places[0];
    options.heads = (uint32_t)heads;
    options.mean = index ? means[index - 1] : NULL;
    options.std = index ? stds[index - 1] : NULL;
    mem_auto char *json = NULL;
    IJ_TRY(engine_import(&options, &json, reterr_err));
    puts(json);
    return IJ_OK;
}
