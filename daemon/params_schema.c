/* The table as JSON schema, preset list and reference page. See params.h. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "daemon/params.h"
#include "daemon/params_table.h"

static json_t *number_schema(const struct param_row *row, const char *type)
{
    return json_pack("{s:s, s:f, s:f}", "type", type, "minimum", row->min, "maximum", row->max);
}

static json_t *type_schema(const struct param_row *row)
{
    json_t *names;
    switch (row->type) {
    case PARAM_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PARAM_UINT32:
    case PARAM_UINT64:
        return number_schema(row, "integer");
    case PARAM_DOUBLE:
        return number_schema(row, "number");
    case PARAM_PAIR:
    case PARAM_TRIPLE: {
        int count = row->type == PARAM_PAIR ? 2 : 3;
        return json_pack("{s:s, s:i, s:i, s:o}", "type", "array", "minItems", count, "maxItems",
                         count, "items", number_schema(row, "number"));
    }
    case PARAM_LIST:
        return json_pack("{s:s, s:i, s:i, s:o}", "type", "array", "minItems", 0, "maxItems",
                         ENGINE_LIST_MAX, "items", number_schema(row, "number"));
    case PARAM_ENUM:
        names = json_array();
        for (size_t i = 0; i < PARAM_NAMES_MAX && row->names[i]; i++)
            json_array_append_new(names, json_string(row->names[i]));
        return json_pack("{s:s, s:o}", "type", "string", "enum", names);
    case PARAM_TEXT:
        return json_pack("{s:s, s:i}", "type", "string", "maxLength", (int)row->text_size - 1);
    case PARAM_MODEL:
        return json_pack("{s:s, s:[s,s,s,s,s,s,s]}", "type", "string", "enum", "vit_tiny",
                         "vit_small", "vit_base", "vit_large", "vit_huge", "vit_giant", "custom");
    }
    return NULL;
}

static json_t *row_schema(const struct param_row *row)
{
    json_t *schema = type_schema(row);
    json_object_set_new(schema, "default", json_loads(row->default_text, JSON_DECODE_ANY, NULL));
    json_object_set_new(schema, "description", json_string(row->help));
    json_object_set_new(schema, "x-group", json_string(row->group));
    if (row->unit[0])
        json_object_set_new(schema, "x-unit", json_string(row->unit));
    return schema;
}

json_t *params_schema(enum engine_kind kind)
{
    json_t *properties = json_object(), *presets = json_array();
    for (size_t i = 0; i < params_preset_count; i++)
        if (params_preset_rows[i].kind == kind)
            json_array_append_new(presets, json_string(params_preset_rows[i].name));
    if (json_array_size(presets))
        json_object_set_new(properties, "preset",
                            json_pack("{s:s, s:o, s:s, s:s}", "type", "string", "enum", presets,
                                      "description", "A named recipe; your own values go over it.",
                                      "x-group", "Recipe"));
    else
        json_decref(presets);
    for (size_t i = 0; i < params_row_count; i++)
        if (params_rows[i].kinds & PARAM_KIND(kind))
            json_object_set_new(properties, params_rows[i].name, row_schema(&params_rows[i]));
    return json_pack("{s:s, s:s, s:s, s:b, s:[s], s:o}", "$schema",
                     "https://json-schema.org/draft/2020-12/schema", "title",
                     params_kind_name(kind), "type", "object", "additionalProperties", 0,
                     "required", "dataset", "properties", properties);
}

json_t *params_presets(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < params_preset_count; i++) {
        const struct param_preset *preset = &params_preset_rows[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", preset->name,
                                              "kind", params_kind_name(preset->kind), "source",
                                              preset->source, "help", preset->help, "params",
                                              json_loads(preset->params, 0, NULL)));
    }
    return list;
}

/* ---- docs/parameters.md
 * ----------------------------------------------------------------------------- */

static void markdown_range(struct buf *buf, const struct param_row *row)
{
    switch (row->type) {
    case PARAM_BOOL:
        buf_append_text(buf, "true, false");
        break;
    case PARAM_ENUM:
        for (size_t i = 0; i < PARAM_NAMES_MAX && row->names[i]; i++)
            buf_printf(buf, "%s%s", i ? ", " : "", row->names[i]);
        break;
    case PARAM_TEXT:
        buf_append_text(buf, "text");
        break;
    case PARAM_MODEL:
        buf_append_text(buf, "vit_tiny .. vit_giant, custom");
        break;
    case PARAM_UINT32:
    case PARAM_UINT64:
    case PARAM_DOUBLE:
    case PARAM_PAIR:
    case PARAM_TRIPLE:
    case PARAM_LIST:
        buf_printf(buf, "%.15g .. %.15g", row->min, row->max);
        break;
    }
    if (row->unit[0])
        buf_printf(buf, " (%s)", row->unit);
}

static void markdown_row(struct buf *buf, const struct param_row *row)
{
    buf_printf(buf, "| `%s` | ", row->name);
    for (int k = 0, n = 0; k < ENGINE_KIND_COUNT; k++)
        if (row->kinds & PARAM_KIND((unsigned)k))
            buf_printf(buf, "%s%s", n++ ? ", " : "", params_kind_name((enum engine_kind)k));
    buf_append_text(buf, " | ");
    markdown_range(buf, row);
    buf_printf(buf, " | `%s` | %s |\n", row->default_text, row->help);
}

static void markdown_preset(struct buf *buf, const struct param_preset *preset)
{
    buf_printf(buf, "\n### %s\n\n%s Source: %s.\n\n```json\n%s\n```\n", preset->name, preset->help,
               preset->source, preset->params);
}

char *params_markdown(void)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    buf_append_text(&buf, "# Run parameters\n\nMade by `ijepad-worker parameters`; the table in "
                          "`daemon/params_table.c` is the source.\n");
    const char *group = "";
    for (size_t i = 0; i < params_row_count; i++) {
        if (strcmp(group, params_rows[i].group) != 0) {
            group = params_rows[i].group;
            buf_printf(&buf,
                       "\n## %s\n\n| key | kinds | range | default | meaning |\n"
                       "| --- | --- | --- | --- | --- |\n",
                       group);
        }
        markdown_row(&buf, &params_rows[i]);
    }
    buf_append_text(&buf, "\n## Presets\n");
    for (size_t i = 0; i < params_preset_count; i++)
        markdown_preset(&buf, &params_preset_rows[i]);
    char *text = buf_status(&buf) == IJ_OK ? buf_take(&buf) : NULL;
    buf_done(&buf);
    return text;
}
