/* See import_match.h. */
#include "gpu/interop/import_match.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define LIST_MAX           4 /* names shown of each kind of difference */
#define POSITION_TOLERANCE 2e-3

struct difference {
    char names[LIST_MAX][WEIGHT_NAMES_MAX + 96];
    size_t count;
};

struct match {
    struct import_source *source;
    const struct layout *layout;
    struct difference missing, unexpected, shapes, types;
};

__attribute__((format(printf, 2, 3))) static void note(struct difference *d, const char *format,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (d->count < LIST_MAX)
        vsnprintf(d->names[d->count], sizeof d->names[0], format, arguments);
    d->count++;
    va_end(arguments);
}

static void print_shape(char *text, size_t size, int dims, const uint64_t *shape)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < dims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)shape[i]);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static void expect(struct match *m, const char *prefix, const char *name, int dims,
                   const uint64_t *shape)
{
    size_t i = import_source_find(m->source, prefix, name);
    if (i == m->source->count) {
        note(&m->missing, "%s%s", prefix, name);
        return;
    }
    const struct safetensors_tensor *t = m->source->tensors[i];
    m->source->used[i] = true;
    if (t->dims != dims || memcmp(t->shape, shape, (size_t)dims * sizeof *shape) != 0) {
        char found[48], expected[48];
        print_shape(found, sizeof found, t->dims, t->shape);
        print_shape(expected, sizeof expected, dims, shape);
        note(&m->shapes, "%s is %.40s, expected %.40s", t->name, found, expected);
    } else if (t->type != SAFETENSORS_F32 && t->type != SAFETENSORS_F64 &&
               t->type != SAFETENSORS_F16 && t->type != SAFETENSORS_BF16) {
        note(&m->types, "%s is %s", t->name, safetensors_type_name(t->type));
    }
}

static void expect_encoder(struct match *m, enum import_part part)
{
    const char *prefix = m->source->prefixes[part];
    const struct engine_model *model = &m->source->spec.model;
    uint64_t grid = m->source->spec.data.crop / model->patch, shape[LAYOUT_DIMS_MAX];
    expect(m, prefix, weight_names_positions(m->source->style), 3,
           (const uint64_t[]){1, grid * grid, model->width});
    for (size_t i = 0; i < m->layout->count && m->layout->tensors[i].encoder; i++) {
        const struct layout_tensor *t = &m->layout->tensors[i];
        struct weight_names names;
        weight_names_encoder(m->source->style, t, &names);
        weight_names_part_shape(&names, t, shape);
        for (int p = 0; p < names.parts; p++)
            expect(m, prefix, names.names[p], t->dims, shape);
    }
}

static void expect_predictor(struct match *m)
{
    const struct engine_model *model = &m->source->spec.model;
    uint64_t grid = m->source->spec.data.crop / model->patch;
    expect(m, "predictor.", "predictor_pos_embed", 3,
           (const uint64_t[]){1, grid * grid, model->pred_width});
    for (size_t i = 0; i < m->layout->count; i++) {
        const struct layout_tensor *t = &m->layout->tensors[i];
        if (!t->encoder)
            expect(m, "", t->name, t->dims, t->shape);
    }
}

/* Tensors of the parts that nothing asked for. A classifier beside the encoder, and other sections
 * of an official file, are not part of the model. */
static void find_unexpected(struct match *m)
{
    const struct import_source *s = m->source;
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->tensors[i]->name;
        bool ours = false;
        for (int p = 0; p < IMPORT_PART_COUNT; p++)
            ours |= s->prefixes[p] && strncmp(name, s->prefixes[p], strlen(s->prefixes[p])) == 0;
        if (ours && !s->used[i])
            note(&m->unexpected, "%s", name);
    }
}

static void list(struct buf *buf, const struct difference *d, const char *what)
{
    if (d->count == 0)
        return;
    buf_printf(buf, "%s%zu %s: ", buf->size ? "; " : "", d->count, what);
    for (size_t i = 0; i < d->count && i < LIST_MAX; i++)
        buf_printf(buf, "%s%s", i ? ", " : "", d->names[i]);
    if (d->count > LIST_MAX)
        buf_append_text(buf, ", ...");
}

static enum ij_status compare(struct match *m, struct ij_err *reterr_err)
{
    for (int p = 0; p < IMPORT_PREDICTOR; p++)
        if (m->source->prefixes[p])
            expect_encoder(m, (enum import_part)p);
    if (m->source->prefixes[IMPORT_PREDICTOR])
        expect_predictor(m);
    find_unexpected(m);
    if (m->missing.count + m->unexpected.count + m->shapes.count + m->types.count == 0)
        return IJ_OK;
    struct buf buf;
    buf_init(&buf, (size_t)1 << 16);
    list(&buf, &m->missing, "missing");
    list(&buf, &m->unexpected, "unexpected");
    list(&buf, &m->shapes, "of another shape");
    list(&buf, &m->types, "not floating");
    enum ij_status status =
        IJ_ERR_FIELD(reterr_err, IJ_DATA, "weights", "the weights do not match the model: %s",
                     buf.data ? buf.data : "");
    buf_done(&buf);
    return status;
}

/* ---- Copies ---------------------------------------------------------------------------------- */

static enum ij_status copy(const struct import_source *s, const char *prefix, const char *name,
                           float *to, int64_t count, struct ij_err *reterr_err)
{
    size_t i = import_source_find(s, prefix, name);
    IJ_TRY(safetensors_copy_f32(s->tensors[i], to, (uint64_t)count, reterr_err));
    float poison = 0; /* NaN once a value is NaN or infinite */
    for (int64_t v = 0; v < count; v++)
        poison += to[v] * 0.0f;
    if (!isnan(poison))
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_NONFINITE, s->tensors[i]->name,
                        "%s holds a value that is not finite", s->tensors[i]->name);
}

/* The engine computes with the fixed table; a learned one would silently be lost. */
static enum ij_status check_positions(const struct import_source *s, const char *prefix,
                                      const char *name, const float *table,
                                      struct ij_err *reterr_err)
{
    size_t i = import_source_find(s, prefix, name);
    uint64_t count = s->tensors[i]->count;
    double largest = 0;
    mem_auto float *values = mem_array(float, count);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a position table");
    IJ_TRY(copy(s, prefix, name, values, (int64_t)count, reterr_err));
    for (uint64_t v = 0; v < count; v++)
        largest = fmax(largest, fabs((double)values[v] - (double)table[v]));
    if (largest <= POSITION_TOLERANCE)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, s->tensors[i]->name,
                        "%s differs by up to %.3g from the fixed sine-cosine table; learned "
                        "position tables are not supported",
                        s->tensors[i]->name, largest);
}

static enum ij_status copy_encoder(const struct match *m, enum import_part part,
                                   const float *positions, float *arena, struct ij_err *reterr_err)
{
    const struct import_source *s = m->source;
    const char *prefix = s->prefixes[part];
    IJ_TRY(check_positions(s, prefix, weight_names_positions(s->style), positions, reterr_err));
    for (size_t i = 0; i < m->layout->count && m->layout->tensors[i].encoder; i++) {
        const struct layout_tensor *t = &m->layout->tensors[i];
        struct weight_names names;
        weight_names_encoder(s->style, t, &names);
        int64_t count = t->count / names.parts;
        for (int p = 0; p < names.parts; p++)
            IJ_TRY(
                copy(s, prefix, names.names[p], arena + t->offset + p * count, count, reterr_err));
    }
    return IJ_OK;
}

static enum ij_status copy_predictor(const struct match *m, const float *positions, float *arena,
                                     struct ij_err *reterr_err)
{
    IJ_TRY(check_positions(m->source, "predictor.", "predictor_pos_embed", positions, reterr_err));
    for (size_t i = 0; i < m->layout->count; i++) {
        const struct layout_tensor *t = &m->layout->tensors[i];
        if (!t->encoder)
            IJ_TRY(copy(m->source, "", t->name, arena + t->offset, t->count, reterr_err));
    }
    return IJ_OK;
}

enum ij_status import_match_copy(struct import_source *source, const struct layout *layout,
                                 const float *const positions[2], float *parameter, float *target,
                                 struct ij_err *reterr_err)
{
    mem_auto struct match *m = mem_new(struct match);
    if (!m)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to compare weights");
    m->source = source;
    m->layout = layout;
    IJ_TRY(compare(m, reterr_err));
    IJ_TRY(copy_encoder(m, IMPORT_ENCODER, positions[0], parameter, reterr_err));
    if (source->prefixes[IMPORT_TARGET])
        IJ_TRY(copy_encoder(m, IMPORT_TARGET, positions[0], target, reterr_err));
    else
        memcpy(target, parameter, (size_t)layout->encoder_floats * sizeof *target);
    return source->prefixes[IMPORT_PREDICTOR]
               ? copy_predictor(m, positions[1], parameter, reterr_err)
               : IJ_OK;
}
