/* A new run: the form of its kind, checked by the server while it is filled in; its masks, size and curl line. */
import {get, send} from "./api.js";
import {announce, button, later, make, toast} from "./dom.js";
import {SchemaForm} from "./form.js";
import {bytes, count} from "./format.js";
import {MaskPreview} from "./masks.js";

const KINDS = [["pretrain", "Pretraining"], ["linear_probe", "Linear probe"], ["knn", "k-NN"]];
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

function planList(plan) {
  const facts = [["Encoder", `${count(plan.parameters_encoder)} parameters`], ["Predictor", `${count(plan.parameters_predictor)} parameters`],
    ["Memory in all", bytes(plan.bytes_total)], ["of it activations", bytes(plan.bytes_activations)], ["A checkpoint", bytes(plan.bytes_checkpoint)],
    ["Work per image", `${count(plan.flop_per_image)}FLOP`]];
  return make("dl", {class: "facts"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

/* Inside '…' a shell takes everything but ' as it is. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const curlText = (body) => `curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n  ${location.origin}/v1/runs \\\n  -d ${quoted(JSON.stringify(body))}`;

const splitList = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

/* What every kind has: name, priority and the like. */
function commonFields(onChange) {
  const input = (name, label, attributes = {}) => {
    const control = make("input", {id: `c-${name}`, type: "text", oninput: onChange, autocomplete: "off", "aria-describedby": `c-${name}-error`, ...attributes});
    const error = make("span", {class: "error", id: `c-${name}-error`});
    return {control, error, element: make("div", {class: "field"}, make("label", {for: `c-${name}`}, label), control, error)};
  };
  const fields = {name: input("name", "name", {maxlength: 64, placeholder: "letters, digits, . _ -"}), priority: input("priority", "priority",
    {inputmode: "numeric", placeholder: "0; higher starts first"}), tags: input("tags", "tags", {placeholder: "parted by commas"}),
  after: input("after", "after", {placeholder: "runs to wait for, like r1, r2"}), notes: input("notes", "notes")};
  const hold = make("input", {id: "c-hold", type: "checkbox", onchange: onChange});
  return {fields, element: make("section", {class: "card"}, make("div", {class: "fields"}, Object.values(fields).map((field) => field.element),
    make("label", {class: "check"}, hold, "hold: do not start yet"))),
  values() {
    const text = (key) => fields[key].control.value.trim(), body = {};
    if (text("name")) body.name = text("name");
    if (text("priority")) body.priority = isNaN(Number(text("priority"))) ? text("priority") : Number(text("priority"));
    for (const key of ["tags", "after"]) if (splitList(text(key)).length) body[key] = splitList(text(key));
    if (text("notes")) body.notes = text("notes");
    if (hold.checked) body.hold = true;
    return body;
  },
  showErrors(errors) {
    for (const [key, field] of Object.entries(fields)) {
      const error = errors.find((one) => one.pointer.split("/")[1] === key);
      field.error.textContent = error ? error.detail : "";
    }
    return errors.filter((one) => !fields[one.pointer.split("/")[1]]);
  }};
}

async function parentOf(id) {
  if (!/^r\d+$/.test(id || "")) return null;
  const [run, config] = await Promise.all([get(`/v1/runs/${id}`), get(`/v1/runs/${id}/config`)]);
  return {run, params: config.submitted?.params || config.submitted || {}};
}

export async function newRunPage({address, who, fail}) {
  if (who.role === "viewer") return {title: "New run", element: make("div", {class: "card"}, make("p", {}, "A viewer's token cannot submit runs."))};
  const parent = await parentOf(address.values.clone);
  const kind = parent?.run.kind || address.values.kind || "pretrain";
  const [schema, presets] = await Promise.all([get(`/v1/schema/${kind}`), get("/v1/presets")]);
  const check = later(() => dryRun(), 400);
  const changed = () => {
    curl.textContent = curlText(body());
    masks?.update();
    check();
  };
  const common = commonFields(changed);
  const form = new SchemaForm(schema, presets.items.filter((preset) => preset.kind === kind), changed);
  const masks = kind === "pretrain" ? new MaskPreview(() => form.values()) : null;
  const plan = make("div", {"aria-live": "polite"}), other = make("div", {class: "error", role: "alert"}), curl = make("pre", {class: "log", tabindex: "0"});
  const submit = button("Submit", () => send_(), "", {class: "big", "data-submit": ""});
  const body = () => ({kind, ...common.values(), params: form.values()});

  function showErrors(error) {
    const errors = error?.problem?.errors || [];
    const rest = form.showErrors(common.showErrors(errors));
    other.replaceChildren(...(error && (!errors.length || rest.length) ? [rest.map((one) => one.detail).join("; ") || error.message] : []));
    return errors.length;
  }

  async function dryRun() {
    if (!Object.keys(form.values()).length) return;
    try {
      const answer = await send("POST", "/v1/runs?dry_run=1", body());
      showErrors(null);
      plan.replaceChildren(answer.plan ? planList(answer.plan) : make("p", {class: "quiet"}, "Nothing to estimate."));
    } catch (error) {
      if (error.status === 401) return fail(error);
      const wrong = showErrors(error);
      plan.replaceChildren(make("p", {class: "quiet"}, wrong ? `${wrong} ${wrong === 1 ? "field has" : "fields have"} to change first.` : ""));
    }
    return undefined;
  }

  async function send_() {
    submit.disabled = true;
    try {
      const run = await send("POST", "/v1/runs", body(), {"Idempotency-Key": crypto.randomUUID?.() || String(Date.now() + Math.random())});
      announce(`${run.name} is submitted`);
      location.hash = `#/${run.id}`;
    } catch (error) {
      showErrors(error);
      toast(error.message);
      form.element.querySelector(".wrong input, .wrong select")?.focus();
    } finally {
      submit.disabled = false;
    }
  }

  const kinds = make("div", {class: "row", role: "group", "aria-label": "Kind of run"}, KINDS.map(([name, text]) => make("a", {class: "as-button plain",
    href: `#/new?kind=${name}`, "aria-current": name === kind ? "true" : null}, text)));
  const element = make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, parent ? `New run from ${parent.run.name}` : "New run"), make("span", {class: "grow"}),
    parent ? null : kinds), parent ? make("p", {class: "quiet"}, "Fields that differ from ", make("a", {href: `#/${parent.run.id}`}, parent.run.name), " are marked.") : null,
  make("div", {class: "new-run"}, make("div", {class: "new-form"}, common.element, form.element), make("aside", {class: "new-side"}, make("section", {class: "card"},
    submit, other, make("h2", {}, "What it takes"), plan), masks?.element, make("section", {class: "card"}, make("div", {class: "row"}, make("h2", {}, "The same with curl"), make("span", {class: "grow"}),
    button("Copy", () => navigator.clipboard?.writeText(curl.textContent).then(() => announce("copied")))), curl))));
  if (parent) {
    common.fields.name.control.value = NAME.test(`${parent.run.name}-2`) ? `${parent.run.name}-2` : "";
    form.fill(parent.params, parent.params);
  } else changed();
  masks?.load();
  return {title: "New run", element, close: () => check.cancel()};
}
