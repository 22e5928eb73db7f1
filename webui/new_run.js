/* A new run, or a sweep of them: the form of its kind, checked by the server while it is filled in; its masks, size and curl line. */
import {get, query, send} from "./api.js";
import {announce, button, later, make, toast} from "./dom.js";
import {SchemaForm} from "./form.js";
import {kindName, kinds} from "./kinds.js";
import {MaskPreview} from "./masks.js";
import {placeText, planList, TimeEstimate} from "./new_run_plan.js";
import {submitSweep, SweepFields} from "./sweeps.js";

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

/* Inside '…' a shell takes everything but ' as it is. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const curlText = (path, body) => `curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n  ${location.origin}${path} \\\n  -d ${quoted(JSON.stringify(body))}`;

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

/* Runs whose checkpoints an evaluation may read, offered where a checkpoint is asked for. */
async function offerCheckpoints(form) {
  const input = form.fields.get("checkpoint")?.inputs[0];
  if (!input) return;
  const {items} = await get("/v1/runs" + query({kind: "pretrain", limit: 50}));
  input.setAttribute("list", "offered-checkpoints");
  input.after(make("datalist", {id: "offered-checkpoints"}, items.map((run) => make("option", {value: run.id}, `${run.name}, step ${run.step}`))));
}

/* What the address asks for beyond the kind: values of fields. */
const given = ({kind, clone, sweep, ...rest}, schema) => Object.fromEntries(Object.entries(rest).filter(([key]) => key in schema.properties));

function kindLinks(all, kind, values) {
  return make("nav", {class: "row kinds", "aria-label": "Kind of run"}, all.map((name) => make("a", {class: "as-button plain",
    href: "#/new" + query({kind: name, sweep: values.sweep, checkpoint: values.checkpoint, dataset: values.dataset}), "aria-current": name === kind ? "true" : null}, kindName(name))));
}

export async function newRunPage({address, who, fail}) {
  if (who.role === "viewer") return {title: "New run", element: make("div", {class: "card"}, make("h1", {}, "New run"), make("p", {}, "A viewer's token cannot submit runs."))};
  const parent = await parentOf(address.values.clone);
  const kind = parent?.run.kind || address.values.kind || "pretrain";
  const [schema, presets, all] = await Promise.all([get(`/v1/schema/${kind}`), get("/v1/presets"), kinds()]);
  const check = later(() => dryRun().catch(fail), 400);
  const changed = () => {
    if (!submit) return;
    curl.textContent = curlText(path, body());
    masks?.update();
    check();
  };
  let submit = null;
  const common = commonFields(changed);
  const form = new SchemaForm(schema, presets.items.filter((preset) => preset.kind === kind), changed);
  const sweep = address.values.sweep ? new SweepFields(schema, address.values.sweep, changed) : null;
  const masks = kind === "pretrain" ? new MaskPreview(() => form.values()) : null, time = new TimeEstimate(kind);
  const plan = make("div", {class: "plan", "aria-live": "polite"}, make("p", {class: "quiet"}, "Memory, work and time stand here as soon as a field is filled in.")), other = make("div", {class: "error", role: "alert"}), curl = make("pre", {class: "log", tabindex: "0"});
  const path = sweep ? "/v1/sweeps" : "/v1/runs";
  submit = button(sweep ? "Submit the sweep" : "Submit", () => send_(), "", {class: "big", "data-submit": ""});

  function body() {
    const {after, ...rest} = common.values();
    return {kind, ...rest, ...(after && !sweep ? {after} : {}), params: form.values(), ...(sweep ? sweep.body() : {})};
  }

  function showErrors(error) {
    const errors = error?.problem?.errors || [];
    const rest = form.showErrors(common.showErrors(errors));
    const text = error && (!errors.length || rest.length) ? rest.map((one) => `${one.pointer}: ${one.detail}`).join("; ") || error.message : "";
    if (sweep && text) sweep.refused(text);
    else other.textContent = text;
    return errors.length;
  }

  /* The plan of a sweep is that of the runs' shared part: what varies may change it. */
  async function dryRun() {
    if (!Object.keys(form.values()).length || (sweep && sweep.empty())) return;
    try {
      const answer = await send("POST", `${path}?dry_run=1`, body());
      showErrors(null);
      if (sweep) sweep.answered(answer);
      const one = sweep ? answer.runs[0] && await send("POST", "/v1/runs?dry_run=1", answer.runs[0]).catch(() => null) : answer;
      plan.replaceChildren(...(one?.plan ? [sweep ? make("p", {class: "quiet small"}, "Of the first of its runs:") : "", planList(one.plan), time.element]
        : [make("p", {class: "quiet"}, "Everything is in order; this kind has no estimate.")]));
      if (!sweep) plan.append(make("p", {class: "quiet small"}, await placeText(body().priority)));
      await time.show(one?.resolved?.params || one?.resolved || {}, one?.plan);
    } catch (error) {
      if (error.status === 401) throw error;
      const wrong = showErrors(error);
      plan.replaceChildren(make("p", {class: "quiet"}, wrong ? `${wrong} ${wrong === 1 ? "field has" : "fields have"} to change first.` : ""));
    }
  }

  async function send_() {
    submit.disabled = true;
    try {
      if (sweep) return void await submitSweep(body());
      const run = await send("POST", path, body(), {"Idempotency-Key": crypto.randomUUID?.() || String(Date.now() + Math.random())});
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

  const heading = parent ? `New run from ${parent.run.name}` : sweep ? "New sweep" : "New run";
  const swap = parent ? null : make("a", {href: "#/new" + query({kind, sweep: sweep ? "" : "grid"})}, sweep ? "One run instead" : "A sweep instead");
  const element = make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, heading), make("span", {class: "grow"}), swap), parent ? null : kindLinks(all, kind, address.values),
    parent ? make("p", {class: "quiet"}, "Fields that differ from ", make("a", {href: `#/${parent.run.id}`}, parent.run.name), " are marked.") : null,
    make("div", {class: "new-run"}, make("div", {class: "new-form"}, common.element, sweep?.element, form.element), make("aside", {class: "new-side", "aria-label": "Submission"}, make("section", {class: "card",
      "aria-label": "Submit"}, submit, other, make("h2", {}, "What it takes"), plan), masks?.element, make("section", {class: "card", "aria-label": "The same with curl"}, make("div", {class: "row"},
      make("h2", {}, "The same with curl"), make("span", {class: "grow"}), button("Copy", () => navigator.clipboard?.writeText(curl.textContent).then(() => announce("copied")))), curl))));
  if (sweep) common.fields.after.element.hidden = true;
  if (parent) {
    common.fields.name.control.value = NAME.test(`${parent.run.name}-2`) ? `${parent.run.name}-2` : "";
    form.fill(parent.params, parent.params);
  } else form.fill(given(address.values, schema));
  offerCheckpoints(form).catch(() => {});
  masks?.load();
  return {title: heading, element, close: () => check.cancel()};
}
