/*
 * A form made from the JSON schema of a kind of run. Empty fields are left to the server: what then holds (the
 * preset's or the default) stands in the field as its hint. Against a parent, edits are marked.
 */
import {make} from "./dom.js";
import {plain} from "./format.js";

const OPEN = ["Recipe", "Data", "Model", "Masks"];
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/* What the text of a field means; NaN and the like are sent as they are typed, so that the server says what is wrong. */
function read(text, about) {
  if (about.type === "boolean") return text === "true";
  if (about.type !== "integer" && about.type !== "number") return text;
  return text.trim() === "" || isNaN(Number(text)) ? text : Number(text);
}

class Field {
  constructor(key, about, required, onChange) {
    Object.assign(this, {key, about, required, onChange});
    this.id = `p-${key}`;
    this.inputs = about.type === "array" ? Array.from({length: about.maxItems || 2}, (_, i) => this.input(about.items, i)) : [this.input(about, 0)];
    this.error = make("span", {class: "error", id: `${this.id}-error`});
    this.was = make("span", {class: "was"});
    const range = about.type === "integer" || about.type === "number" ? ` ${plain(about.minimum)} to ${plain(about.maximum)}.` : "";
    this.element = make("div", {class: "field", "data-key": key},
      make("label", {for: this.id}, key, required ? make("span", {class: "needed"}, " required") : null, about["x-unit"] ? make("span", {class: "quiet unit"}, about["x-unit"]) : null),
      make("div", {class: "inputs"}, this.inputs), this.was, this.error,
      make("p", {class: "help", id: `${this.id}-help`}, (about.description || "") + range));
  }

  input(about, i) {
    const attributes = {id: i ? `${this.id}-${i}` : this.id, name: this.key, "aria-describedby": `${this.id}-error ${this.id}-help`,
      "aria-label": this.about.type === "array" ? `${this.key}, value ${i + 1}` : null};
    const choices = about.enum || (about.type === "boolean" ? ["true", "false"] : null);
    if (choices) return make("select", {...attributes, onchange: this.onChange}, make("option", {value: ""}, ""),
      choices.map((value) => make("option", {value}, about.type === "boolean" ? plain(value === "true") : value)));
    const numeric = about.type === "integer" || about.type === "number";
    return make("input", {...attributes, type: "text", inputmode: numeric ? "decimal" : null, spellcheck: "false", autocomplete: "off",
      required: this.required, oninput: this.onChange});
  }

  /* undefined: left to the server. */
  get() {
    const texts = this.inputs.map((input) => input.value);
    if (texts.every((text) => text === "")) return undefined;
    if (this.about.type !== "array") return read(texts[0], this.about);
    return texts.map((text, i) => (text === "" ? this.hintValue?.[i] : read(text, this.about.items)));
  }

  set(value) {
    this.inputs.forEach((input, i) => {
      const one = this.about.type === "array" ? value?.[i] : value;
      input.value = one === undefined || one === null ? "" : String(one);
    });
  }

  /* What holds when the field is empty. */
  hint(value, from) {
    this.hintValue = value;
    this.inputs.forEach((input, i) => {
      const one = this.about.type === "array" ? value?.[i] : value;
      const text = one === undefined || one === "" ? "" : `${plain(one)}${from && this.about.type !== "array" ? ` (${from})` : ""}`;
      if (input.tagName === "SELECT") input.options[0].textContent = text || "–";
      else input.placeholder = text;
    });
  }

  mark(parent) {
    const value = this.get(), edited = parent && !same(value, parent[this.key]);
    this.element.classList.toggle("edited", Boolean(edited));
    this.was.textContent = edited ? `was ${parent[this.key] === undefined ? "the default" : plain(parent[this.key])}` : "";
  }

  fail(text) {
    this.error.textContent = text || "";
    this.element.classList.toggle("wrong", Boolean(text));
    for (const input of this.inputs) input.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

export class SchemaForm {
  constructor(schema, presets, onChange) {
    this.presets = new Map(presets.map((preset) => [preset.name, preset]));
    this.parent = null;
    this.fields = new Map();
    this.changed = () => {
      this.showHints();
      for (const field of this.fields.values()) field.mark(this.parent);
      this.showCounts();
      onChange();
    };
    const groups = new Map();
    for (const [key, about] of Object.entries(schema.properties)) {
      const field = new Field(key, about, (schema.required || []).includes(key), () => this.changed());
      this.fields.set(key, field);
      const group = about["x-group"] || "Other";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(field);
    }
    this.presetNote = make("p", {class: "quiet small"});
    this.groups = [...groups].map(([name, fields]) => ({name, fields, count: make("span", {class: "quiet small"})}));
    this.element = make("div", {class: "groups"}, this.groups.map(({name, fields, count}) => make("details", {class: "card group", open: OPEN.includes(name)},
      make("summary", {}, make("h2", {}, name), " ", count), make("div", {class: "fields"}, fields.map((field) => field.element)), name === "Recipe" ? this.presetNote : null)));
    this.showHints();
    this.showCounts();
  }

  showHints() {
    const preset = this.presets.get(this.fields.get("preset")?.get());
    this.presetNote.textContent = preset ? `${preset.help} Source: ${preset.source}` : "";
    for (const [key, field] of this.fields) {
      const own = preset && key in preset.params;
      field.hint(own ? preset.params[key] : field.about.default, own ? "preset" : "");
    }
  }

  showCounts() {
    for (const {fields, count} of this.groups) {
      const set = fields.filter((field) => field.get() !== undefined).length;
      count.textContent = set ? `${set} set` : "defaults";
    }
  }

  values() {
    return Object.fromEntries([...this.fields].map(([key, field]) => [key, field.get()]).filter(([, value]) => value !== undefined));
  }

  /* parent: what edits are shown against, or null. */
  fill(values, parent = null) {
    this.parent = parent;
    for (const [key, field] of this.fields) field.set(values[key]);
    this.changed();
  }

  /* errors: [{pointer, detail}]. Returns those that belong to no field. */
  showErrors(errors) {
    const byKey = new Map(errors.map((error) => [error.pointer.replace(/^\/params\//, "").split("/")[0], error.detail]));
    for (const [key, field] of this.fields) {
      field.fail(byKey.get(key));
      byKey.delete(key);
    }
    const wrong = this.element.querySelector(".wrong");
    if (wrong) wrong.closest("details").open = true;
    return errors.filter((error) => byKey.has(error.pointer.replace(/^\/params\//, "").split("/")[0]));
  }
}
