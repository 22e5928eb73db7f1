/*
 * Who had which device when, and who is to have it: a lane per device, the past from the attempts of runs, the future
 * from what running and waiting runs expect. The same can be read as a table.
 */
import {get, query} from "./api.js";
import {runStyle} from "./colours.js";
import {later, make, simpleTable} from "./dom.js";
import {clock, duration, time} from "./format.js";
import {deviceName} from "./gpus.js";
import {active} from "./states.js";

const HOUR = 3600000, LOOKED_AT = 40, WIDTH = 1000;
const SPANS = [[1, "1 hour"], [6, "6 hours"], [24, "24 hours"]];
const devicesOf = (attempt) => (attempt.gpus?.length ? attempt.gpus : [attempt.device || "?"]);

/* {run, device, from, to, kind: past, now, next}, times in ms. */
export function barsOf(runs, attempts, queue, now) {
  const bars = [];
  for (const run of runs)
    for (const one of attempts.get(run.id) || [])
      for (const device of devicesOf(one)) {
        const live = !one.ended && active(run.state);
        bars.push({run, device, from: Date.parse(one.started), to: one.ended ? Date.parse(one.ended) : now, kind: live ? "now" : "past"});
        if (live && run.eta_s) bars.push({run, device, from: now, to: now + run.eta_s * 1000, kind: "next"});
      }
  /* A waiting run goes where it is expected to find room first. */
  for (const run of queue.waiting) {
    const at = run.pending?.eta ? Date.parse(run.pending.eta) : 0;
    const free = bars.filter((bar) => bar.kind === "next").sort((a, b) => a.to - b.to)[0];
    if (at > now && free) bars.push({run, device: free.device, from: at, to: at + HOUR / 12, kind: "wait"});
  }
  return bars;
}

export class Timeline {
  constructor() {
    this.hours = Number(localStorage.getItem("ijepad.timeline") || 1);
    this.attempts = new Map();
    this.bars = [];
    this.devices = [];
    this.box = make("div", {class: "timeline"});
    this.load = later(() => this.read().catch(() => {}), 400);
    const select = make("select", {"aria-label": "Time shown", onchange: () => {
      this.hours = Number(select.value);
      localStorage.setItem("ijepad.timeline", select.value);
      this.draw();
    }}, SPANS.map(([hours, text]) => make("option", {value: String(hours), selected: hours === this.hours}, text)));
    this.tableButton = make("button", {type: "button", class: "tool", "aria-pressed": "false", onclick: () => {
      this.tableButton.setAttribute("aria-pressed", String(this.tableButton.getAttribute("aria-pressed") === "false"));
      this.draw();
    }}, "table");
    this.element = make("section", {class: "card", "aria-label": "Timeline"}, make("div", {class: "row"}, make("h2", {}, "Timeline"), make("span", {class: "grow"}), select, this.tableButton), this.box);
  }

  set(queue, devices) {
    this.queue = queue;
    this.devices = devices;
    this.load();
    if (this.runs) return;
    this.runs = [];
    this.draw(); /* its lanes have their place before what is in them is known */
  }

  async read() {
    const {items} = await get("/v1/runs" + query({sort: "-updated", limit: LOOKED_AT}));
    const known = new Map(items.map((run) => [run.id, run]));
    for (const run of this.queue.active) known.set(run.id, run);
    const runs = [...known.values()].filter((run) => run.attempts);
    await Promise.all(runs.map(async (run) => {
      const key = `${run.id} ${run.attempts} ${run.state}`;
      if (this.attempts.get(run.id)?.key === key) return;
      const list = (await get(`/v1/runs/${run.id}/attempts`)).items;
      list.key = key;
      this.attempts.set(run.id, list);
    }));
    this.runs = runs;
    this.draw();
  }

  draw() {
    const now = Date.now(), start = now - this.hours * HOUR, bars = barsOf(this.runs, this.attempts, this.queue, now).filter((bar) => bar.to > start);
    const ahead = Math.max(0.15 * this.hours * HOUR, ...bars.map((bar) => bar.to - now)), end = now + Math.min(ahead, this.hours * HOUR);
    const lanes = [...new Set([...this.devices.map((device) => device.id), ...bars.map((bar) => bar.device)])];
    const names = new Map(this.devices.map((device) => [device.id, deviceName(device)])), label = (id) => names.get(id) || (id === "?" ? "unknown" : id);
    this.box.replaceChildren(this.tableButton.getAttribute("aria-pressed") === "true" ? this.table(bars, label) : this.picture(bars, lanes, label, start, now, end));
  }

  table(bars, label) {
    const words = {past: "was", now: "is running", next: "expected", wait: "may start"};
    return simpleTable(["Device", "Run", "What", "From", "To"], bars.sort((a, b) => b.from - a.from).map((bar) => [label(bar.device), make("a", {href: `#/${bar.run.id}`}, bar.run.name),
      words[bar.kind], time(new Date(bar.from).toISOString()), bar.kind === "wait" ? "–" : time(new Date(bar.to).toISOString())]), "Timeline");
  }

  picture(bars, lanes, label, start, now, end) {
    const x = (at) => (Math.max(start, Math.min(end, at)) - start) / (end - start) * WIDTH;
    const ticks = Array.from({length: 5}, (_, i) => start + (i + 0.5) / 5 * (end - start));
    const at = (value) => `${x(value) / WIDTH * 100}%`;
    const box = make("div", {class: "lanes"}, make("div", {class: "lane-head", "aria-hidden": "true"}, ticks.map((tick) => {
      const one = make("span", {class: "quiet"}, clock(new Date(tick).toISOString()).slice(0, 5));
      one.style.left = at(tick);
      return one;
    })), lanes.map((lane) => make("div", {class: "lane"}, make("span", {class: "lane-name small"}, label(lane)), make("div", {class: "lane-bars"},
      bars.filter((bar) => bar.device === lane).map((bar) => this.bar(bar, at, x))))));
    const line = make("span", {class: "now-line", "aria-hidden": "true"});
    line.style.left = at(now);
    box.append(make("div", {class: "now-box", "aria-hidden": "true"}, line));
    return make("div", {}, box, make("p", {class: "quiet small"}, `${bars.filter((bar) => bar.kind === "now").length} running; hatched is expected. The line is now, ${duration((end - now) / 1000)} ahead are shown.`));
  }

  bar(bar, at, x) {
    const words = {past: "ran", now: "runs", next: "is expected to run", wait: "may start"}, one = make("a", {href: `#/${bar.run.id}`, class: `time-bar ${bar.kind} series-${runStyle(bar.run.id).index}`,
      title: `${bar.run.name}: ${clock(new Date(bar.from).toISOString())} to ${clock(new Date(bar.to).toISOString())}`,
      "aria-label": `${bar.run.name} ${words[bar.kind]}, ${duration((bar.to - bar.from) / 1000)}`}, x(bar.to) - x(bar.from) > 60 ? bar.run.name : "");
    one.style.left = at(bar.from);
    one.style.width = `max(3px, ${(x(bar.to) - x(bar.from)) / WIDTH * 100}%)`;
    return one;
  }
}
