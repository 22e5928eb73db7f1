/* See export_text.h. */
#include "gpu/interop/export_text.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define CARD_MAX      ((size_t)1 << 20)
#define RESAMPLE_PIL  2 /* PIL.Image.BILINEAR */
#define EVAL_CROP_PCT 0.875

static json_t *triple(const double values[3])
{
    return json_pack("[f,f,f]", values[0], values[1], values[2]);
}

json_t *export_text_hf_config(const struct export_text *text)
{
    const struct vit_config *c = text->config;
    return json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:I, s:I, s:i, s:b, s:f, s:f, "
                     "s:f, s:f, s:s}",
                     "architectures", "IJepaModel", "model_type", "ijepa", "hidden_size",
                     (json_int_t)c->encoder.width, "num_hidden_layers",
                     (json_int_t)c->encoder.depth, "num_attention_heads",
                     (json_int_t)c->encoder.heads, "intermediate_size",
                     (json_int_t)c->encoder.hidden, "hidden_act",
                     text->spec->model.gelu_tanh ? "gelu_pytorch_tanh" : "gelu", "layer_norm_eps",
                     1e-6, "image_size", (json_int_t)c->crop, "patch_size", (json_int_t)c->patch,
                     "num_channels", 3, "qkv_bias", 1, "mlp_ratio", text->spec->model.mlp_ratio,
                     "initializer_range", text->spec->model.init_std, "hidden_dropout_prob", 0.0,
                     "attention_probs_dropout_prob", 0.0, "torch_dtype", "float32");
}

json_t *export_text_hf_preprocessor(const struct export_text *text)
{
    json_int_t crop = (json_int_t)text->config->crop;
    return json_pack("{s:s, s:b, s:{s:I, s:I}, s:i, s:b, s:f, s:b, s:o, s:o, s:b}",
                     "image_processor_type", "ViTImageProcessor", "do_resize", 1, "size", "height",
                     crop, "width", crop, "resample", RESAMPLE_PIL, "do_rescale", 1,
                     "rescale_factor", 1.0 / 255.0, "do_normalize", 1, "image_mean",
                     triple(text->spec->data.mean), "image_std", triple(text->spec->data.std),
                     "do_convert_rgb", 1);
}

static json_t *timm_arguments(const struct export_text *text)
{
    const struct vit_config *c = text->config;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:s, s:b, s:s*}", "img_size",
                     (json_int_t)c->crop, "patch_size", (json_int_t)c->patch, "embed_dim",
                     (json_int_t)c->encoder.width, "depth", (json_int_t)c->encoder.depth,
                     "num_heads", (json_int_t)c->encoder.heads, "mlp_ratio",
                     text->spec->model.mlp_ratio, "class_token", 0, "global_pool", "avg", "fc_norm",
                     0, "act_layer", text->spec->model.gelu_tanh ? "gelu_tanh" : NULL);
}

/* The named architecture gives timm its builder; every size of it is overridden by model_args. */
json_t *export_text_timm_config(const struct export_text *text)
{
    json_int_t crop = (json_int_t)text->config->crop;
    json_t *pretrained =
        json_pack("{s:s, s:[i,I,I], s:b, s:s, s:f, s:s, s:o, s:o, s:i, s:s, s:s}", "tag", "ijepa",
                  "input_size", 3, crop, crop, "fixed_input_size", 1, "interpolation", "bilinear",
                  "crop_pct", EVAL_CROP_PCT, "crop_mode", "center", "mean",
                  triple(text->spec->data.mean), "std", triple(text->spec->data.std), "num_classes",
                  0, "first_conv", "patch_embed.proj", "classifier", "head");
    return json_pack("{s:s, s:i, s:I, s:s, s:o, s:o}", "architecture", "vit_base_patch16_224",
                     "num_classes", 0, "num_features", (json_int_t)text->config->encoder.width,
                     "global_pool", "avg", "model_args", timm_arguments(text), "pretrained_cfg",
                     pretrained);
}

/* ---- The card -------------------------------------------------------------------------------- */

static void card_head(struct buf *buf, const struct export_text *text)
{
    const struct vit_config *c = text->config;
    bool official = text->options->format == ENGINE_FORMAT_OFFICIAL;
    bool target = text->options->encoder == ENGINE_ENCODER_TARGET;
    buf_append_text(buf, "---\n");
    buf_printf(buf, "library_name: %s\n",
               text->options->format == ENGINE_FORMAT_HF     ? "transformers"
               : text->options->format == ENGINE_FORMAT_TIMM ? "timm"
                                                             : "pytorch");
    buf_append_text(buf, "pipeline_tag: image-feature-extraction\ntags:\n- ijepa\n---\n\n");
    buf_printf(buf, "# I-JEPA, width %lld, %lld blocks, patch %lld, %lld pixels\n\n",
               (long long)c->encoder.width, (long long)c->encoder.depth, (long long)c->patch,
               (long long)c->crop);
    if (official)
        buf_append_text(buf, "**Encoder**: both, as `encoder.*` (context) and `target_encoder.*`, "
                             "and the predictor as `predictor.*`.\n");
    else
        buf_printf(buf, "**Encoder**: the %s encoder. %s\n", target ? "target" : "context",
                   target ? "It is the moving average that I-JEPA evaluates; public conversions "
                            "hold the context encoder."
                          : "I-JEPA evaluates the other one, the target encoder.");
}

static void card_input(struct buf *buf, const struct export_text *text)
{
    const double *m = text->spec->data.mean, *s = text->spec->data.std;
    buf_printf(buf,
               "\n## Input\n\nRGB, scaled to 0..1, then minus mean [%.6g, %.6g, %.6g], divided by "
               "[%.6g, %.6g, %.6g]: the values of training. There is no class token; a feature of "
               "an image is the mean over the tokens of the last hidden state.\n",
               m[0], m[1], m[2], s[0], s[1], s[2]);
    if (text->options->format == ENGINE_FORMAT_HF)
        buf_append_text(buf, "\nThe image processor stretches an image to the square; ijepad's own "
                             "evaluation scales the short side and cuts the centre.\n");
}

static void card_training(struct buf *buf, const struct export_text *text)
{
    const struct checkpoint_state *state = checkpoint_get_state(text->checkpoint);
    const struct checkpoint_info *info = checkpoint_get_info(text->checkpoint);
    json_t *recipe = json_loads(state->parameters, 0, NULL);
    char *lines = json_dumps(recipe, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    buf_printf(buf,
               "\n## Training\n\n- step %llu, epoch %.6g, %llu images seen, seed %llu\n"
               "- dataset fingerprint: `%s`\n- checkpoint SHA-256: `%s`\n- build: `%s`\n",
               (unsigned long long)state->step, state->epochs_done,
               (unsigned long long)state->images, (unsigned long long)state->seed,
               state->data && state->data[0] ? state->data : "not known", info->hash,
               state->build ? state->build : "not known");
    if (state->trainer && strcmp(state->trainer, "{}") != 0)
        buf_printf(buf, "- origin: `%s`\n", state->trainer);
    buf_printf(buf, "\nRecipe:\n\n```json\n%s\n```\n", lines ? lines : "{}");
    free(lines);
    json_decref(recipe);
}

static void card_results(struct buf *buf, const struct export_text *text)
{
    buf_append_text(buf, "\n## Results\n\n");
    char *lines =
        text->result ? json_dumps(text->result, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    if (lines)
        buf_printf(buf, "```json\n%s\n```\n", lines);
    else
        buf_append_text(buf, "No evaluation was given to the export.\n");
    free(lines);
}

char *export_text_card(const struct export_text *text)
{
    struct buf buf;
    buf_init(&buf, CARD_MAX);
    card_head(&buf, text);
    card_input(&buf, text);
    card_training(&buf, text);
    card_results(&buf, text);
    char *card = buf_status(&buf) == IJ_OK ? buf_take(&buf) : NULL;
    buf_done(&buf);
    return card;
}
