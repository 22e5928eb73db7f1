/* The selected run: facts, commands, charts, results, checkpoints, log. */
import {get, query, send} from "./api.js";
import {Chart} from "./chart.js";
import {bytes, chip, duration, ended, find, make, number, time, toast} from "./dom.js";
import {progressCells} from "./runs.js";

const POINTS = 500, CHARTS_AT_ONCE = 24, REFRESH_MS = 2500;
const FIRST = ["train/loss"]; /* shown before the others */

/* state -> commands that make sense; the server has the last word. */
const COMMANDS = {
  queued: ["hold", "cancel"], held: ["release", "cancel"], starting: ["cancel", "kill"],
  running: ["checkpoint", "pause", "cancel", "kill"], pausing: ["kill"], paused: ["resume", "cancel"], stopping: ["kill"],
  backoff: ["cancel"], succeeded: [], failed: ["requeue"], canceled: ["requeue"], quarantined: ["requeue"],
};
const ASK = {
  cancel: (run) => `Cancel ${run.name} (${run.id})? It saves a checkpoint first.`,
  kill: (run) => `Kill ${run.name} (${run.id})? Everything since its last checkpoint is lost.`,
};

/* As the catalogue names it: a key that already begins with its stream's name stays as it is. */
function metricName(stream, key) {
  return key.startsWith(stream + "/") ? key : `${stream}/${key}`;
}

function order(keys) {
  return [...keys].sort((a, b) => FIRST.includes(b) - FIRST.includes(a) || a.localeCompare(b));
}

export class Detail {
  constructor(role) {
    this.role = role;
    this.box = find("detail");
    this.charts = new Map();
    this.run = null;
    setInterval(() => this.tick(), REFRESH_MS);
  }

  close() {
    for (const chart of this.charts.values()) chart.close();
    this.charts.clear();
    this.run = null;
    this.box.hidden = true;
    this.box.replaceChildren();
  }

  async open(id) {
    if (this.run && this.run.id === id) return;
    this.close();
    const run = await get(`/v1/runs/${id}`);
    this.run = run;
    this.parts = Object.fromEntries(["head", "charts", "results", "checkpoints", "log"].map((name) => [name, make("div", {})]));
    this.parts.charts.className = "charts";
    this.logBox = make("pre", {class: "log", tabindex: "0"});
    this.box.replaceChildren(this.parts.head, this.parts.charts, this.parts.results, this.parts.checkpoints,
      make("details", {ontoggle: (event) => { this.logOpen = event.target.open; this.loadLog(); }},
        make("summary", {}, "Log"), this.logBox));
    this.logOpen = false;
    this.box.hidden = false;
    this.renderHead();
    await Promise.all([this.loadCharts(), this.loadLists()]);
  }

  /* New figures of the run that is shown. */
  update(run) {
    if (!this.run || run.id !== this.run.id) return;
    const stateChanged = run.state !== this.run.state;
    this.run = run;
    this.renderHead();
    if (stateChanged) this.loadLists().catch(() => {});
  }

  tick() {
    if (!this.run || document.hidden || ended(this.run.state)) return;
    this.loadCharts().catch(() => {});
    if (this.logOpen) this.loadLog();
  }

  async command(verb) {
    const run = this.run;
    if (ASK[verb] && !window.confirm(ASK[verb](run))) return;
    try {
      this.update(await send("POST", `/v1/runs/${run.id}/${verb}`));
    } catch (error) {
      toast(error.message);
    }
  }

  renderHead() {
    const run = this.run;
    const facts = [["Kind", run.kind], ["Submitted", `${time(run.created)} by ${run.user}`], ["Epoch", number(run.epoch)],
      ["Images/s", run.state === "running" ? number(run.images_per_s) : "–"],
      ["ETA", run.state === "running" ? duration(run.eta_s) : "–"], ["Phase", run.phase || "–"], ["Attempts", String(run.attempts)],
      ["Dataset", run.dataset || "–"]];
    const verbs = this.role === "viewer" ? [] : COMMANDS[run.state] || [];
    this.parts.head.replaceChildren(
      make("div", {class: "row"}, make("h2", {}, run.name), make("span", {class: "quiet"}, run.id), chip(run.state),
        make("span", {class: "grow"}), ...verbs.map((verb) => make("button",
          {class: ASK[verb] ? "danger" : "plain", onclick: () => this.command(verb)}, verb))),
      run.reason_text ? make("p", {class: "note"}, run.reason_text) : "",
      make("div", {}, ...progressCells(run)),
      make("dl", {class: "facts"}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
  }

  async loadCharts() {
    const id = this.run.id;
    const catalogue = await get(`/v1/runs/${id}/metrics`);
    const keys = order(catalogue.items.map((item) => item.key)).slice(0, CHARTS_AT_ONCE);
    if (!keys.length) return;
    const answer = await get("/v1/metrics" + query({runs: id, keys: keys.join(","), max_points: POINTS}));
    if (!this.run || this.run.id !== id) return;
    const found = new Map();
    for (const table of answer.tables)
      for (const series of table.series) found.set(metricName(table.stream, series.key), {step: table.step, ...series});
    for (const key of keys) if (found.has(key)) this.chartOf(key).set(found.get(key));
  }

  chartOf(key) {
    if (!this.charts.has(key)) {
      const chart = new Chart(key);
      this.charts.set(key, chart);
      this.parts.charts.append(chart.element);
    }
    return this.charts.get(key);
  }

  async loadLists() {
    const id = this.run.id;
    const [results, checkpoints] = await Promise.all([get(`/v1/runs/${id}/results`), get(`/v1/runs/${id}/checkpoints`)]);
    if (!this.run || this.run.id !== id) return;
    this.renderResults(results.items);
    this.renderCheckpoints(checkpoints.items);
  }

  renderResults(items) {
    this.parts.results.replaceChildren(...(items.length ? [make("h3", {}, "Results")] : []),
      ...items.map((item) => make("div", {}, make("div", {class: "quiet"}, `${item.name}, step ${item.step}`),
        make("pre", {class: "log"}, JSON.stringify(item.result, null, 2)))));
  }

  renderCheckpoints(items) {
    if (!items.length) return this.parts.checkpoints.replaceChildren();
    const row = (item) => make("tr", {}, make("td", {}, item.id), make("td", {class: "number"}, String(item.step)),
      make("td", {}, item.state), make("td", {class: "number"}, bytes(item.size_bytes)),
      make("td", {}, item.state === "valid" ? make("a", {href: `/v1/checkpoints/${item.id}/content`, download: ""}, "model") : ""));
    return this.parts.checkpoints.replaceChildren(make("h3", {}, "Checkpoints"), make("div", {class: "scroll"}, make("table", {},
      make("thead", {}, make("tr", {}, ...["Id", "Step", "State", "Size", "Download"].map((text) => make("th", {}, text)))),
      make("tbody", {}, ...items.map(row)))));
  }

  async loadLog() {
    if (!this.logOpen || !this.run) return;
    const response = await get(`/v1/runs/${this.run.id}/logs?tail=300`, "text/plain").catch(() => null);
    if (!response) return;
    const atEnd = this.logBox.scrollTop + this.logBox.clientHeight >= this.logBox.scrollHeight - 8;
    this.logBox.textContent = await response.text() || "Nothing printed yet.";
    if (atEnd) this.logBox.scrollTop = this.logBox.scrollHeight;
  }
}
