/*
 * Charts that share a cursor, a zoom and their settings: for one run, or for several over each other.
 *
 * The user's zoom is kept whatever arrives; "follow" moves it along with the newest value. After a zoom the
 * values in it are asked for again, at the finer resolution that they then have.
 */
import {Chart} from "./chart.js";
import {later, make} from "./dom.js";
import {number} from "./format.js";
import {append, inOrder, load, metricName, smooth, smoothable, titleOf} from "./metrics.js";
import {onTheme} from "./theme.js";

const DRAW_MS = 200, APPENDED_MAX = 60;
const X_NAMES = {step: "step", epoch: "epoch", images: "images"};

export class ChartGroup {
  /* runs: [{id, name, scales: {epoch, images}}], units of x per step; marks: Map run -> [{step, kind, text}] */
  constructor(runs, {x = "step", onX = () => {}} = {}) {
    this.runs = runs;
    this.marks = new Map();
    this.charts = new Map();
    this.data = new Map();
    this.x = x;
    this.onX = onX;
    this.weight = Number(localStorage.getItem("ijepad.smoothing") ?? 0.6);
    this.follow = true;
    this.window = this.cursor = null;
    this.appended = 0;
    this.box = make("div", {class: "charts"});
    this.element = make("div", {}, this.toolbar(), this.box);
    this.reload = later(() => this.fetch().catch(() => {}), 250);
    this.drawTimer = 0;
    this.endTheme = onTheme(() => this.draw());
  }

  toolbar() {
    const choices = Object.keys(X_NAMES).filter((name) => name === "step" || this.runs.every((run) => run.scales[name]));
    if (!choices.includes(this.x)) this.x = "step";
    this.resetButton = make("button", {type: "button", class: "plain", disabled: true, onclick: () => this.reset()}, "Show all");
    const followBox = make("input", {type: "checkbox", checked: true, onchange: (event) => {
      this.follow = event.target.checked;
      this.draw();
    }});
    const slider = make("input", {type: "range", min: "0", max: "0.98", step: "0.02", value: String(this.weight), oninput: (event) => {
      this.weight = Number(event.target.value);
      localStorage.setItem("ijepad.smoothing", event.target.value);
      this.drawSoon();
    }});
    const select = make("select", {onchange: (event) => this.setX(event.target.value)},
      choices.map((name) => make("option", {value: name, selected: name === this.x}, X_NAMES[name])));
    return make("div", {class: "toolbar"}, make("label", {class: "inline"}, "x axis", select),
      make("label", {class: "inline"}, "Smoothing", slider), make("label", {class: "inline"}, followBox, "Follow"), this.resetButton,
      make("span", {class: "grow"}), make("span", {class: "quiet small"}, make("span", {class: "mark checkpoint", "aria-hidden": "true"}),
        " checkpoint ", make("span", {class: "mark restart", "aria-hidden": "true"}), " restart · drag to zoom, shift-drag to pan"));
  }

  perStep(run) {
    return this.x === "step" ? 1 : run.scales[this.x];
  }

  xText(value) {
    return this.x === "epoch" ? number(value, 4) : value >= 1e6 ? `${number(value / 1e6, 4)} M` : Math.round(value).toLocaleString("en");
  }

  xTitle() {
    return X_NAMES[this.x][0].toUpperCase() + X_NAMES[this.x].slice(1);
  }

  xName(value) {
    return `${X_NAMES[this.x]} ${this.xText(value)}`;
  }

  setX(name) {
    this.x = name;
    this.window = null;
    this.onX(name);
    this.reset();
  }

  /* Which metrics are shown; charts of others go. */
  setKeys(keys) {
    for (const [key, chart] of this.charts) {
      if (keys.includes(key)) continue;
      chart.close();
      this.charts.delete(key);
    }
    for (const key of inOrder(keys)) {
      if (!this.charts.has(key)) this.charts.set(key, new Chart(key, this));
      this.box.append(this.charts.get(key).element);
    }
  }

  setMarks(run, marks) {
    this.marks.set(run, marks);
    this.drawSoon();
  }

  /* Steps that cover the zoom, with as much again on both sides. */
  stepsShown() {
    if (!this.window) return {};
    const [low, high] = this.window, per = this.runs.map((run) => this.perStep(run));
    return {from: Math.max(0, Math.floor((2 * low - high) / Math.max(...per))), to: Math.max(1, Math.ceil((2 * high - low) / Math.min(...per)))};
  }

  async fetch() {
    const found = await load(this.runs.map((run) => run.id), [...this.charts.keys()], this.stepsShown());
    this.data = found;
    this.appended = 0;
    this.draw();
  }

  /* A metric.frame of the stream. */
  frame(data) {
    let changed = false;
    data.keys.forEach((key, i) => {
      const name = metricName(data.stream, key);
      if (!this.charts.has(name) || !this.data.has(name)) return;
      const runs = this.data.get(name);
      if (!runs.has(data.run)) runs.set(data.run, {step: [], last: [], min: [], max: [], nonfinite: 0});
      changed = append(runs.get(data.run), data.step, data.values[i]) || changed;
    });
    if (!changed) return;
    if (++this.appended >= APPENDED_MAX) this.reload();
    this.drawSoon();
  }

  drawSoon() {
    if (!this.drawTimer) this.drawTimer = setTimeout(() => this.draw(), DRAW_MS);
  }

  newest() {
    let newest = 0;
    for (const [, runs] of this.data)
      for (const run of this.runs) {
        const step = runs.get(run.id)?.step;
        if (step?.length) newest = Math.max(newest, step[step.length - 1] * this.perStep(run));
      }
    return newest;
  }

  draw() {
    clearTimeout(this.drawTimer);
    this.drawTimer = 0;
    if (this.window && this.follow && this.runs.some((run) => run.live)) this.slide();
    for (const [key, chart] of this.charts) chart.set(this.seriesOf(key), this.marksInX());
  }

  slide() {
    const width = this.window[1] - this.window[0], end = this.newest();
    if (end > this.window[1]) this.window = [end - width, end];
  }

  seriesOf(key) {
    const runs = this.data.get(key);
    return this.runs.filter((run) => runs?.has(run.id)).map((run) => {
      const data = runs.get(run.id), per = this.perStep(run);
      return {id: run.id, name: run.name, x: per === 1 ? data.step : data.step.map((step) => step * per), last: data.last,
        min: data.min, max: data.max, smooth: smoothable(key, data.last) ? smooth(data.last, this.weight) : data.last};
    });
  }

  marksInX() {
    if (this.runs.length > 1) return [];
    return (this.marks.get(this.runs[0].id) || []).map((mark) => ({...mark, x: mark.step * this.perStep(this.runs[0])}));
  }

  point(x) {
    this.cursor = x;
    for (const chart of this.charts.values()) chart.point(x);
  }

  /* The user chose a range in one of the charts. */
  zoomed(low, high, isZoomed) {
    if (!isZoomed) return this.reset();
    this.window = [low, high];
    this.follow = high >= this.newest();
    this.showFollow();
    this.draw();
    this.reload();
  }

  /* The user dragged the range of one chart: the others go along. */
  moved([low, high]) {
    if (this.window && this.window[0] === low && this.window[1] === high) return;
    this.window = [low, high];
    this.follow = high >= this.newest();
    this.showFollow();
    this.drawSoon();
    this.reload();
  }

  scale(chart, factor) {
    const [low, high] = chart.window(), centre = this.cursor ?? (low + high) / 2, half = (high - low) * factor / 2;
    this.zoomed(Math.max(0, centre - half), centre + half, true);
  }

  showFollow() {
    this.element.querySelector(".toolbar input[type=checkbox]").checked = this.follow;
    this.resetButton.disabled = !this.window;
  }

  reset() {
    this.window = null;
    this.follow = true;
    this.showFollow();
    this.draw();
    this.fetch().catch(() => {});
  }

  close() {
    clearTimeout(this.drawTimer);
    this.reload.cancel();
    this.endTheme();
    for (const chart of this.charts.values()) chart.close();
    this.charts.clear();
  }
}

export const titled = (keys) => inOrder(keys).map((key) => [key, titleOf(key)]);
