/*
 * Charts that share a cursor, a zoom and their settings: for one run, or for several over each other.
 *
 * The user's zoom is kept whatever arrives; "follow" moves it along with the newest value. After a zoom the
 * values in it are asked for again, at the finer resolution that they then have.
 */
import {Chart} from "./chart.js";
import {dashOf} from "./colours.js";
import {later, make} from "./dom.js";
import {Clock, linear} from "./chart_axis.js";
import {duration, grouped, number} from "./format.js";
import {append, inOrder, load, metricName, smooth, smoothable, titleOf} from "./metrics.js";
import {onTheme} from "./theme.js";

const DRAW_MS = 200, SETTLE_MS = 250, SLOW_MS = 25, SKIPPED_MAX = 4, APPENDED_MAX = 60, PAINT_MS = 6;
const X_NAMES = {step: "step", epoch: "epoch", images: "images seen", time: "wall time"};

export class ChartGroup {
  /* runs: [{id, name, live, attempts, scales: {epoch, images}}], units of x per step; marks: Map run -> [{step, kind, text}] */
  constructor(runs, {x = "step", onX = () => {}} = {}) {
    this.runs = runs;
    this.clocks = new Map(runs.map((run) => [run.id, new Clock(run.id)]));
    this.old = new Map();
    this.superseded = false;
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
    this.drawTimer = this.settleTimer = this.paintTimer = this.paintFrame = this.slideFrame = 0;
    this.unpainted = new Set();
    this.unslid = new Set();
    this.panning = false;
    this.slidAt = this.skipped = 0;
    this.endTheme = onTheme(() => this.draw());
  }

  toolbar() {
    const choices = Object.keys(X_NAMES).filter((name) => name === "step" || name === "time" || this.runs.every((run) => run.scales[name]));
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
    const oldBox = this.runs.some((run) => run.attempts > 1) ? make("label", {class: "inline", title: "What an attempt had logged before a later one went back to an older checkpoint"},
      make("input", {type: "checkbox", "data-tool": "superseded", onchange: (event) => {
        this.superseded = event.target.checked;
        this.fetch().catch(() => {});
      }}), "Superseded attempts") : null;
    this.followBox = followBox;
    const marks = this.runs.length > 1 ? [] : ["checkpoint", "restart", "fault", "phase"].map((kind) =>
      make("span", {class: "mark-name"}, make("span", {class: `mark ${kind}`, "aria-hidden": "true"}), kind));
    const select = make("select", {onchange: (event) => this.setX(event.target.value)},
      choices.map((name) => make("option", {value: name, selected: name === this.x}, X_NAMES[name])));
    return make("div", {class: "toolbar"}, make("label", {class: "inline"}, "x axis", select),
      make("label", {class: "inline"}, "Smoothing", slider), make("label", {class: "inline"}, followBox, "Follow"), oldBox, this.resetButton,
      make("span", {class: "grow"}), make("span", {class: "quiet small marks"}, marks, make("span", {}, "drag to zoom, shift-drag to pan")));
  }

  /* What turns a run's steps into x and back. */
  axis(run) {
    return this.x === "step" ? linear(1) : this.x === "time" ? this.clocks.get(run.id) : linear(run.scales[this.x]);
  }

  xText(value) {
    if (this.x === "time") return duration(value);
    return this.x === "epoch" ? number(value, 4) : value >= 1e6 ? `${number(value / 1e6, 4)} M` : grouped(value);
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
      this.unpainted.delete(chart);
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
    const [low, high] = this.window, axes = this.runs.map((run) => this.axis(run));
    return {from: Math.max(0, Math.floor(Math.min(...axes.map((axis) => axis.step(2 * low - high))))),
      to: Math.max(1, Math.ceil(Math.max(...axes.map((axis) => axis.step(2 * high - low)))))};
  }

  async fetch() {
    const ids = this.runs.map((run) => run.id), keys = [...this.charts.keys()];
    if (this.x === "time") await Promise.all([...this.clocks.values()].map((clock) => clock.load()));
    const again = this.runs.filter((run) => run.attempts > 1).map((run) => run.id), steps = this.stepsShown();
    [this.data, this.old] = await Promise.all([load(ids, keys, steps), this.superseded ? load(again, keys, {...steps, superseded: 1}) : new Map()]);
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
        if (step?.length) newest = Math.max(newest, this.axis(run).x(step[step.length - 1]));
      }
    return newest;
  }

  draw() {
    clearTimeout(this.drawTimer);
    this.drawTimer = 0;
    if (this.window && this.follow && this.runs.some((run) => run.live)) this.slide();
    for (const [key, chart] of this.charts) chart.set(this.seriesOf(key), this.marksInX());
  }

  /* Charts that have come into sight, from the top, as many as fit in a frame: the first is there before the last is
     painted. They come into sight one call after the other in no order, so painting begins after the last. */
  paintSoon(chart) {
    this.unpainted.add(chart);
    if (!this.paintTimer && !this.paintFrame) this.paintTimer = setTimeout(() => this.paintNext());
  }

  paintNext() {
    const begun = performance.now();
    this.paintTimer = this.paintFrame = 0;
    for (const chart of inOrder([...this.charts.keys()]).map((key) => this.charts.get(key)).filter((one) => this.unpainted.has(one))) {
      if (performance.now() - begun > PAINT_MS) {
        this.paintFrame = requestAnimationFrame(() => this.paintNext());
        return;
      }
      this.unpainted.delete(chart);
      if (chart.dirty && chart.visible) chart.refresh();
    }
  }

  /* Runs beside each other differ in their dashes, as they may in nothing else. */
  dashOf(id) {
    return dashOf(this.runs.findIndex((run) => run.id === id));
  }

  slide() {
    const width = this.window[1] - this.window[0], end = this.newest();
    if (end > this.window[1]) this.window = [end - width, end];
  }

  seriesOf(key) {
    const runs = this.data.get(key), old = this.old.get(key);
    const series = (run, data, more) => ({id: run.id, name: run.name, x: this.x === "step" ? data.step : data.step.map(this.axis(run).x), last: data.last,
      min: data.min, max: data.max, smooth: smoothable(key, data.last) ? smooth(data.last, this.weight) : data.last, ...more});
    return [...this.runs.filter((run) => old?.has(run.id)).map((run) => series(run, old.get(run.id), {old: true, name: `${run.name}, superseded`})),
      ...this.runs.filter((run) => runs?.has(run.id)).map((run) => series(run, runs.get(run.id)))];
  }

  marksInX() {
    if (this.runs.length > 1) return [];
    return (this.marks.get(this.runs[0].id) || []).map((mark) => ({...mark, x: this.axis(this.runs[0]).x(mark.step)}));
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

  /* The user drags the range of one chart: the others follow, one a frame, and values come anew when it is over. */
  moved(chart, [low, high]) {
    if (this.window && this.window[0] === low && this.window[1] === high) return;
    this.window = [low, high];
    this.follow = high >= this.newest();
    this.showFollow();
    for (const other of this.charts.values()) if (other !== chart && other.visible) this.unslid.add(other);
    if (!this.slideFrame) this.slideFrame = requestAnimationFrame((at) => this.slideNext(at));
    this.panning = true;
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => {
      this.panning = false;
      this.draw();
      this.reload();
    }, SETTLE_MS);
  }

  /* Where frames take long, the one under the pointer comes first. */
  slideNext(now = 0) {
    const [chart] = this.unslid, slow = now - this.slidAt > SLOW_MS && this.skipped < SKIPPED_MAX;
    this.slideFrame = chart ? requestAnimationFrame((at) => this.slideNext(at)) : 0;
    this.slidAt = now;
    this.skipped = slow ? this.skipped + 1 : 0;
    if (slow || !chart) return;
    this.unslid.delete(chart);
    chart.slideTo(this.window);
  }

  scale(chart, factor) {
    const [low, high] = chart.window(), centre = this.cursor ?? (low + high) / 2, half = (high - low) * factor / 2;
    this.zoomed(Math.max(0, centre - half), centre + half, true);
  }

  showFollow() {
    this.followBox.checked = this.follow;
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
    clearTimeout(this.settleTimer);
    clearTimeout(this.paintTimer);
    cancelAnimationFrame(this.paintFrame);
    cancelAnimationFrame(this.slideFrame);
    this.reload.cancel();
    this.endTheme();
    for (const chart of this.charts.values()) chart.close();
    this.charts.clear();
  }
}

export const titled = (keys) => inOrder(keys).map((key) => [key, titleOf(key)]);
