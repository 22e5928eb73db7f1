/* The table of runs: kept in order of submission, patched in place by events. */
import {get, query} from "./api.js";
import {chip, duration, find, make, number} from "./dom.js";

const PAGE = 100;

export class RunTable {
  /* onSelect(id) */
  constructor(onSelect) {
    this.runs = new Map();
    this.rows = new Map();
    this.selected = null;
    this.cursor = null;
    this.body = find("runs").tBodies[0];
    this.onSelect = onSelect;
    find("more").addEventListener("click", () => this.load(true));
    find("filter").addEventListener("change", () => this.load());
  }

  async load(further = false) {
    const page = await get("/v1/runs" + query({limit: PAGE, state: find("filter").value, cursor: further ? this.cursor : ""}));
    if (!further) this.runs.clear();
    for (const run of page.items) this.runs.set(run.id, run);
    this.cursor = page.next_cursor;
    find("more").hidden = !this.cursor;
    this.render();
  }

  /* An event's members that a run has too. False: the run is not in the table. */
  patch(id, changes) {
    const run = this.runs.get(id);
    if (!run) return false;
    for (const key of ["state", "desired", "reason", "reason_text", "deadline", "step", "steps", "epoch", "images_per_s", "eta_s",
      "phase", "name", "priority"]) if (key in changes) run[key] = changes[key];
    if (run.steps) run.progress = Math.min(1, run.step / run.steps);
    this.renderRow(run);
    return true;
  }

  replace(run) {
    if (this.runs.has(run.id)) {
      this.runs.set(run.id, run);
      this.renderRow(run);
    }
  }

  select(id) {
    this.selected = id;
    for (const [other, row] of this.rows) row.setAttribute("aria-selected", String(other === id));
  }

  render() {
    this.rows.clear();
    this.body.replaceChildren();
    for (const run of this.runs.values()) this.renderRow(run);
    find("runs-empty").hidden = this.runs.size > 0;
  }

  renderRow(run) {
    const row = make("tr", {
      tabindex: "0", "aria-selected": String(run.id === this.selected),
      onclick: () => this.onSelect(run.id),
      onkeydown: (event) => { if (event.key === "Enter") this.onSelect(run.id); },
    },
    make("td", {}, make("div", {class: "run-name"}, run.name), make("div", {class: "run-kind"}, `${run.id} · ${run.kind}`)),
    make("td", {}, chip(run.state)),
    make("td", {}, ...progressCells(run)),
    make("td", {class: "wide number"}, run.state === "running" ? number(run.images_per_s) : "–"),
    make("td", {class: "number"}, run.state === "running" ? duration(run.eta_s) : "–"));
    const old = this.rows.get(run.id);
    const focused = old && old === document.activeElement;
    if (old) old.replaceWith(row);
    else this.body.append(row);
    if (focused) row.focus();
    this.rows.set(run.id, row);
  }
}

export function progressCells(run) {
  if (!run.steps) return ["–"];
  const percent = Math.floor((run.progress || 0) * 100);
  return [make("progress", {max: "1", value: String(run.progress || 0), "aria-label": "progress"}),
    make("div", {class: "percent"}, `${percent} %  ${run.step}/${run.steps}`)];
}

export function renderTiles(queue) {
  const rate = queue.active.reduce((sum, run) => sum + (run.state === "running" ? run.images_per_s || 0 : 0), 0);
  const tiles = [[queue.active.length, "with a worker"], [queue.waiting.length, "waiting"], [queue.parked.length, "held or paused"],
    [number(rate), "images/s"]];
  find("tiles").replaceChildren(...tiles.map(([value, label]) =>
    make("div", {class: "tile"}, make("b", {}, String(value)), make("span", {}, label))));
}
