/* Sweeps: their list, one with its runs (best first), and a new one as a grid or random draws over the parameters. */
import {get, getAll, query, send} from "./api.js";
import {swatch} from "./colours.js";
import {commandMany, commandWord} from "./command.js";
import {announce, button, empty, later, make, simpleTable, toast} from "./dom.js";
import {ago, number, plain, time} from "./format.js";
import {inOrder, titleOf} from "./metrics.js";
import {bar, chip, commandsOf, patchRun} from "./states.js";

const PAGE = 50, VERBS = ["pause", "resume", "hold", "release", "cancel"], MOST = 200;
/* Of these figures more is better; of all others less. */
const MORE = ["ssl/probe/knn_top1", "ssl/rankme", "ssl/lidar", "train/images_per_s", "train/cosine"];

export const variedKeys = (spec) => Object.keys(spec.grid || spec.random?.space || {});
const done = (sweep) => make("span", {class: "bar-cell"}, make("progress", {max: String(sweep.count || 1), value: String(sweep.ended), "aria-label": "runs that have ended"}),
  make("span", {class: "quiet small"}, `${sweep.ended} of ${sweep.count}`));

export async function sweepsPage({address, who, fail}) {
  if (/^s\d+$/.test(address.tab)) return sweepPage(address.tab, who, fail);
  const list = make("div", {});
  async function load() {
    const {items} = await get("/v1/sweeps" + query({limit: PAGE}));
    list.replaceChildren(items.length ? simpleTable(["Sweep", "Kind", "Varies", ["At a time", "number"], "Ended", "Submitted"], items.map((sweep) => [
      make("a", {href: `#/sweeps/${sweep.id}`}, sweep.name || sweep.id), sweep.spec.kind, variedKeys(sweep.spec).join(", "), String(sweep.max_parallel), done(sweep),
      make("span", {title: time(sweep.created)}, `${ago(sweep.created)} by ${sweep.user}`)]), "Sweeps")
      : empty("No sweep yet. A sweep submits many runs that differ in some parameters."));
  }
  await load();
  const reload = later(() => load().catch(fail), 600);
  return {title: "Sweeps", element: make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Sweeps"), make("span", {class: "grow"}),
    who.role === "viewer" ? null : make("a", {class: "as-button", href: "#/new?sweep=grid"}, "New sweep")), make("section", {class: "card", "aria-label": "Sweeps"}, list)),
  stay: (next) => next.name === "sweeps" && !next.tab, onEvent: (type) => { if (type === "run.state") reload(); }, refresh: () => load().catch(fail), close: () => reload.cancel()};
}

const valueOf = (run, key, configs) => configs.get(run.id)?.[key];

async function sweepPage(id, who, fail) {
  let sweep, runs = [], measure = "";
  const configs = new Map();
  const head = make("section", {class: "card", "aria-label": "Sweep"}), table = make("div", {});
  const select = make("select", {onchange: () => { measure = select.value; showRuns(); }});
  const keys = () => inOrder(new Set(runs.flatMap((run) => Object.keys(run.last || {}))));

  /* The best first; runs without the figure last. */
  function ordered() {
    const worth = (run) => {
      const value = run.last?.[measure];
      return value === null || value === undefined ? -Infinity : MORE.includes(measure) ? value : -value;
    };
    return [...runs].sort((a, b) => worth(b) - worth(a) || Number(a.id.slice(1)) - Number(b.id.slice(1)));
  }

  function showHead() {
    const spec = sweep.spec, parts = spec.grid ? "every combination" : `${spec.random.count} random draws, seed ${spec.random.seed ?? 0}`;
    const verbs = VERBS.filter((verb) => runs.some((run) => commandsOf(run, who).includes(verb)));
    head.replaceChildren(make("div", {class: "run-top"}, make("div", {class: "grow"}, make("h1", {}, sweep.name || sweep.id),
      make("p", {class: "quiet small"}, `${sweep.id} · ${spec.kind} · ${parts} of ${variedKeys(spec).join(", ")} · ${sweep.max_parallel} at a time · by ${sweep.user} `, ago(sweep.created))),
    make("div", {class: "row"}, runs.length > 1 ? make("a", {class: "as-button plain", href: `#/compare?runs=${ordered().slice(0, 8).map((run) => run.id).join(",")}`}, "Compare the best") : null,
      verbs.map((verb) => button(commandWord(verb), () => commandMany(runs.filter((run) => commandsOf(run, who).includes(verb)), verb).then(load, fail),
        verb === "cancel" ? "danger" : "plain")))), done(sweep));
  }

  function showRuns() {
    const all = keys();
    if (!all.includes(measure)) measure = ["ssl/probe/knn_top1", "train/loss"].find((key) => all.includes(key)) || all[0] || "";
    select.replaceChildren(...all.map((key) => make("option", {value: key, selected: key === measure}, `${titleOf(key)}, ${MORE.includes(key) ? "highest" : "lowest"} first`)));
    const varied = variedKeys(sweep.spec), rows = ordered();
    table.replaceChildren(simpleTable([["Place", "number"], "Run", "State", ...varied.map((key) => [key, "number"]), [measure ? titleOf(measure) : "Figure", "number"], "Progress"],
      rows.map((run, i) => {
        const value = run.last?.[measure], known = value !== null && value !== undefined;
        return [known ? String(i + 1) : "–", make("a", {href: `#/${run.id}`, class: "run-name"}, swatch(run.id), run.name), chip(run.state),
          ...varied.map((key) => plain(valueOf(run, key, configs))), make(i === 0 && known ? "b" : "span", {}, number(value, 5)), bar(run)];
      }), "Runs of the sweep"));
  }

  async function load() {
    sweep = await get(`/v1/sweeps/${id}`);
    const wanted = new Set(sweep.runs);
    const mine = (await getAll("/v1/runs", {name: sweep.name ? `${sweep.name}-` : "", kind: sweep.spec.kind, user: sweep.user}, 2000)).filter((run) => wanted.has(run.id));
    const found = new Map(mine.map((run) => [run.id, run]));
    const missing = sweep.runs.filter((one) => !found.has(one)).slice(0, MOST);
    for (const run of (await Promise.allSettled(missing.map((one) => get(`/v1/runs/${one}`)))).filter((answer) => answer.value)) found.set(run.value.id, run.value);
    runs = [...found.values()];
    await Promise.all(runs.filter((run) => !configs.has(run.id)).map(async (run) => {
      const {submitted} = await get(`/v1/runs/${run.id}/config`);
      configs.set(run.id, submitted.params || submitted);
    }));
    showHead();
    showRuns();
  }
  await load();
  const reload = later(() => load().catch(fail), 600), redraw = later(showRuns, 1000);
  return {title: sweep.name || sweep.id, element: make("div", {}, head, make("section", {class: "card", "aria-label": "Runs"}, make("div", {class: "row toolbar"},
    make("h2", {}, "Runs"), make("span", {class: "grow"}), make("label", {class: "inline"}, "Ordered by", select)), table)),
  onEvent(type, data) {
    const run = runs.find((one) => one.id === data.run);
    if (!run) return;
    if (type === "run.progress") redraw(patchRun(run, data));
    else if (type !== "metric.frame") reload();
  },
  refresh: () => load().catch(fail),
  close() {
    reload.cancel();
    redraw.cancel();
  }};
}

/* ---- A new one: what varies, beside the form of the kind that gives what all runs share. ---- */

/* "1e-4, 3e-4" by commas, as the parameter's type has it; text that is no number is sent as it is, and the server says so. */
export function readValues(text, about) {
  const numeric = about?.type === "integer" || about?.type === "number";
  return text.split(",").map((word) => word.trim()).filter(Boolean).map((word) => (about?.type === "boolean" ? word === "true" || word === "yes"
    : numeric && !isNaN(Number(word)) ? Number(word) : word));
}

export class SweepFields {
  constructor(schema, how, onChange) {
    this.schema = schema;
    this.onChange = onChange;
    this.rows = [];
    this.how = make("select", {id: "w-how", onchange: () => this.show()}, [["grid", "every combination (grid)"], ["random", "random draws"]].map(([value, text]) =>
      make("option", {value, selected: value === how}, text)));
    const input = (id, value, attributes) => make("input", {id, value, inputmode: "numeric", autocomplete: "off", oninput: onChange, ...attributes});
    this.count = input("w-count", "8");
    this.seed = input("w-seed", "0");
    this.parallel = input("w-parallel", "1");
    this.list = make("div", {class: "sweep-rows"});
    this.error = make("p", {class: "error", role: "alert"});
    this.note = make("p", {class: "quiet", "aria-live": "polite"});
    this.randomOnly = [make("label", {for: "w-count"}, "Draws", this.count), make("label", {for: "w-seed"}, "Seed of the draws", this.seed)];
    this.element = make("section", {class: "card sweep-fields", "aria-label": "What varies"}, make("h2", {}, "What varies"),
      make("div", {class: "row form-row"}, make("label", {for: "w-how"}, "How", this.how), this.randomOnly, make("label", {for: "w-parallel"}, "At a time", this.parallel)),
      this.list, make("div", {class: "row"}, button("Another parameter", () => this.add(), "plain")), this.note, this.error);
    this.add("lr");
    this.show();
  }

  add(key = "") {
    const keys = Object.keys(this.schema.properties), n = this.rows.length + 1;
    const row = {key: make("select", {"aria-label": `parameter ${n}`, onchange: () => this.show()}, make("option", {value: ""}, "choose …"), keys.map((one) => make("option", {value: one,
      selected: one === key}, one))),
    law: make("select", {"aria-label": `drawn how, parameter ${n}`, onchange: () => this.show()}, [["choice", "one of"], ["uniform", "evenly between"], ["log", "evenly in the logarithm between"],
      ["integer", "whole numbers between"]].map(([value, text]) => make("option", {value}, text))),
    text: make("input", {"aria-label": `values of parameter ${n}`, autocomplete: "off", spellcheck: "false", oninput: this.onChange})};
    row.element = make("div", {class: "row sweep-row"}, row.key, row.law, row.text, button("×", () => {
      this.rows.splice(this.rows.indexOf(row), 1);
      this.show();
    }, "icon", {"aria-label": `remove parameter ${n}`}));
    this.rows.push(row);
    this.show();
  }

  show() {
    const random = this.how.value === "random";
    for (const one of this.randomOnly) one.hidden = !random;
    for (const row of this.rows) {
      row.law.hidden = !random;
      row.text.placeholder = random && row.law.value !== "choice" ? "from, to" : "values, parted by commas";
    }
    this.list.replaceChildren(...this.rows.map((row) => row.element));
    this.onChange();
  }

  /* What a sweep has beyond a submission. */
  body() {
    const space = {}, whole = (input) => (input.value.trim() === "" || isNaN(Number(input.value)) ? input.value : Number(input.value));
    for (const row of this.rows) {
      const values = readValues(row.text.value, this.schema.properties[row.key.value]);
      if (row.key.value && values.length) space[row.key.value] = this.how.value === "random" && row.law.value !== "choice" ? {[row.law.value]: values} : values;
    }
    return {max_parallel: whole(this.parallel), ...(this.how.value === "random" ? {random: {count: whole(this.count), seed: whole(this.seed), space}} : {grid: space})};
  }

  empty() {
    return !this.rows.some((row) => row.key.value && row.text.value.trim());
  }

  answered(answer) {
    this.note.textContent = `${answer.count} runs, ${answer.max_parallel} at a time.`;
    this.error.textContent = "";
  }

  refused(text) {
    this.note.textContent = "";
    this.error.textContent = text;
  }
}

export async function submitSweep(body) {
  try {
    const sweep = await send("POST", "/v1/sweeps", body);
    announce(`${sweep.count} runs are submitted`);
    location.hash = `#/sweeps/${sweep.id}`;
    return true;
  } catch (error) {
    toast(error.message);
    throw error;
  }
}
