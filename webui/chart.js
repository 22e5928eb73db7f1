/*
 * One metric, drawn by dygraphs: for each run the raw values (faint, with their min-max band when the run is
 * alone) and the smoothed line over them. The zoom belongs to the group of charts and is kept when data come.
 *
 * Series: {id, name, x, last, min, max, smooth}; x ascending. Marks: {x, kind, text}. The canvas is an image
 * with a sentence that says what it shows; the same values can be read as a table.
 */
import {chartTable, saveCsv, savePng} from "./chart_export.js";
import {placeOf} from "./chart_axis.js";
import {lineSample, resolved, runStyle} from "./colours.js";
import {button, make} from "./dom.js";
import {number} from "./format.js";
import {central, helpOf, titleOf} from "./metrics.js";

const HEIGHT = 210;
const {Dygraph} = window;
/* Its legend sets a style attribute, which the content security policy forbids; the read-out replaces it. */
Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);
const STORE = "ijepad.chart.";
/* kind -> colour, alpha, dash, shape at the top: told apart by the shape alone. */
const MARKS = {checkpoint: ["--quiet", 0.55, [2, 4], [[-2.5, 0], [2.5, 0], [2.5, 5], [-2.5, 5]]], restart: ["--warn", 0.9, [], [[-4, 7], [4, 7], [0, 0]]],
  fault: ["--bad", 0.9, [], [[-4, 0], [4, 0], [0, 7]]], phase: ["--accent", 0.8, [8, 4], [[0, 0], [4, 4], [0, 8], [-4, 4]]]};

const ALPHA = 0.16;

/* Min to max as one shape: dygraphs draws one for each pair of points, which takes a browser without a GPU many times as long. */
function drawBand({points, drawingContext: pen, plotArea: {y, h}, color}) {
  const known = points.filter((point) => isFinite(point.y_top) && isFinite(point.y_bottom));
  if (!known.some((point) => point.y_top !== point.y_bottom)) return;
  pen.save();
  pen.fillStyle = color.replace(/rgba?\((\d+), *(\d+), *(\d+).*/, `rgba($1, $2, $3, ${ALPHA})`);
  pen.beginPath();
  known.forEach((point) => pen.lineTo(point.canvasx, y + h * point.y_top));
  known.reverse().forEach((point) => pen.lineTo(point.canvasx, y + h * point.y_bottom));
  pen.fill();
  pen.restore();
}

function plotBand(event) {
  drawBand(event);
  Dygraph.Plotters.linePlotter(event);
}

/* As many digits as tell the ticks of the range apart. */
function axisText(value, [low, high]) {
  const size = Math.max(Math.abs(low), Math.abs(high)), span = (high - low) / 4;
  const digits = Math.max(3, Math.min(8, Math.ceil(Math.log10(size / span)) + 1));
  return number(Math.abs(value) < span * 1e-6 ? 0 : value, span > 0 && isFinite(digits) ? digits : 3).replace(/\.?0+(e|$)/, (whole, e) => (whole.includes(".") ? e : whole));
}

/* One row per x: [x, raw 1, smooth 1, raw 2, ...]; with a band a value is [low, value, high]. */
function rowsOf(series, band) {
  if (band) {
    const [{x, last, min, max, smooth}] = series;
    return x.map((at, i) => [at, [min[i], last[i], max[i]], [smooth[i], smooth[i], smooth[i]]]);
  }
  const rows = new Map();
  series.forEach(({x, last, smooth}, n) => x.forEach((at, i) => {
    if (!rows.has(at)) rows.set(at, [at, ...new Array(series.length * 2).fill(null)]);
    rows.get(at)[1 + 2 * n] = last[i];
    rows.get(at)[2 + 2 * n] = smooth[i];
  }));
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

export class Chart {
  constructor(key, group) {
    this.key = key;
    this.group = group;
    this.series = [];
    this.marks = [];
    this.graph = null;
    this.visible = this.dirty = false;
    const memory = JSON.parse(localStorage.getItem(STORE + key) || "{}");
    this.log = Boolean(memory.log);
    this.clip = Boolean(memory.clip);
    this.plot = make("div", {class: "plot", role: "img", tabindex: "0", "aria-label": titleOf(key), onkeydown: (event) => this.key_(event)});
    this.readout = make("div", {class: "readout"});
    this.tableBox = make("div", {class: "chart-table", hidden: true});
    this.element = make("section", {class: "chart", "data-key": key, "aria-label": titleOf(key)},
      make("div", {class: "chart-head"}, make("h3", {title: helpOf(key)}, titleOf(key)), this.tools()), this.readout, this.plot, this.tableBox);
    this.observer = new IntersectionObserver(([entry]) => this.seen(entry.isIntersecting), {rootMargin: "150px"});
    this.observer.observe(this.element);
    this.sizes = new ResizeObserver(() => this.graph && this.graph.resize());
    this.sizes.observe(this.plot);
  }

  tools() {
    const toggle = (name, text, title) => make("button", {type: "button", class: "tool", "data-tool": name, title,
      "aria-pressed": String(this[name]), onclick: (event) => this.toggle(name, event.currentTarget)}, text);
    return make("div", {class: "tools"}, toggle("log", "log", "Logarithmic axis"), toggle("clip", "clip", "Leave out outliers"),
      make("button", {type: "button", class: "tool", "data-tool": "table", "aria-pressed": "false", title: "View as table",
        onclick: (event) => this.showTable(event.currentTarget)}, "table"),
      button("PNG", () => savePng(this), "tool", {title: "Save as a picture"}),
      button("CSV", () => saveCsv(this), "tool", {title: "Save every value"}));
  }

  toggle(name, control) {
    this[name] = !this[name];
    control.setAttribute("aria-pressed", String(this[name]));
    localStorage.setItem(STORE + this.key, JSON.stringify({log: this.log, clip: this.clip}));
    this.refresh();
  }

  showTable(control) {
    const on = this.tableBox.hidden;
    control.setAttribute("aria-pressed", String(on));
    this.tableBox.hidden = !on;
    this.plot.hidden = on;
    this.refresh();
  }

  seen(visible) {
    this.visible = visible;
    if (visible && this.dirty) this.group.paintSoon(this);
  }

  set(series, marks) {
    this.series = series;
    this.marks = marks;
    this.refresh();
  }

  /* Painted only where it can be seen. */
  refresh() {
    this.dirty = !this.visible;
    if (this.dirty) return;
    if (!this.tableBox.hidden) this.tableBox.replaceChildren(chartTable(this));
    else this.paint();
    this.describe();
  }

  range() {
    if (!this.clip) return null;
    const range = central(this.series.flatMap((one) => one.last));
    return range && this.log && range[0] <= 0 ? null : range;
  }

  options() {
    const band = this.series.length === 1, smoothing = this.group.weight > 0;
    const styles = {}, colours = [], labels = ["x"];
    for (const one of this.series) {
      const dash = one.old ? [3, 3] : this.group.dashOf(one.id), colour = resolved(one.old ? "--quiet" : runStyle(one.id).property), name = one.old ? `${one.id} old` : one.id;
      labels.push(`${name} raw`, name);
      colours.push(smoothing ? colour.replace("rgb(", "rgba(").replace(")", ", .3)") : colour, colour);
      const line = Dygraph.Plotters.linePlotter;
      styles[`${name} raw`] = {plotter: band ? plotBand : line, strokeWidth: smoothing ? 1 : 1.6, strokePattern: dash, drawPoints: one.x.length < 40, pointSize: 2.2};
      styles[name] = {plotter: line, strokeWidth: smoothing ? 2 : 0, strokePattern: dash, highlightCircleSize: smoothing ? 4 : 0};
    }
    return {labels, colors: colours, series: styles, customBars: band, logscale: this.log, valueRange: this.range(),
      gridLineColor: resolved("--grid"), axisLineColor: resolved("--line"), dateWindow: this.group.window};
  }

  paint() {
    const points = this.series.some((one) => one.x.length);
    this.plot.hidden = !points;
    if (!points) return;
    const options = this.options();
    const file = rowsOf(this.series, options.customBars);
    /* The number of series cannot change in a graph that stands. */
    if (this.graph && this.labels !== options.labels.join()) this.destroy();
    this.labels = options.labels.join();
    this.painting = true;
    if (this.graph) this.graph.updateOptions({...options, file});
    else this.build(file, options);
    this.painting = false;
    this.plot.dataset.points = file.length;
    this.plot.dataset.range = this.graph.xAxisRange().map(Math.round).join(" ");
  }

  build(file, options) {
    this.graph = new Dygraph(this.plot, file, {
      ...options, legend: "never", height: HEIGHT, rightGap: 8, connectSeparatedPoints: true,
      highlightCircleSize: 3, axisLabelFontSize: 11, animatedZooms: false, xRangePad: 4, yRangePad: 6,
      axes: {x: {axisLabelWidth: 56, pixelsPerLabel: 70, axisLabelFormatter: (value) => this.group.xText(value)},
        y: {axisLabelWidth: 52, pixelsPerLabel: 34, axisLabelFormatter: (value, _, __, graph) => axisText(value, graph.yAxisRange())}},
      highlightCallback: (event, x) => { if (!this.group.panning) this.group.point(x); }, unhighlightCallback: () => this.group.point(null),
      zoomCallback: (low, high) => this.group.zoomed(low, high, this.graph.isZoomed("x")),
      drawCallback: (graph, first) => { if (!first && !this.painting && graph.isZoomed("x")) this.group.moved(this, graph.xAxisRange()); },
      underlayCallback: (pen, area, graph) => this.drawMarks(pen, area, graph),
    });
  }

  /* The same values in another range. */
  slideTo(window) {
    if (!this.graph || !this.visible || !window) return;
    this.painting = true;
    this.graph.updateOptions({dateWindow: window});
    this.painting = false;
  }

  drawMarks(pen, area, graph) {
    pen.save();
    for (const mark of this.marks) {
      const x = graph.toDomXCoord(mark.x);
      if (x < area.x || x > area.x + area.w) continue;
      const [colour, alpha, dash, shape] = MARKS[mark.kind];
      pen.strokeStyle = pen.fillStyle = resolved(colour);
      pen.globalAlpha = alpha;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x, area.y + 6);
      pen.lineTo(x, area.y + area.h);
      pen.stroke();
      pen.globalAlpha = 1;
      pen.beginPath();
      shape.forEach(([dx, dy]) => pen.lineTo(x + dx, area.y + dy));
      pen.fill();
    }
    pen.restore();
  }

  /* The group's cursor; null: none. */
  point(x) {
    this.describe(x);
    if (!this.graph || this.plot.hidden || !this.visible) return;
    if (x === null) return void this.graph.clearSelection();
    const row = this.nearest(x);
    if (row >= 0) this.graph.setSelection(row);
  }

  nearest(x) {
    let low = 0, high = this.graph.numRows() - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.graph.getValue(middle, 0) < x) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && x - this.graph.getValue(low - 1, 0) < this.graph.getValue(low, 0) - x) low--;
    return low;
  }

  window(graph = this.graph) {
    return graph ? graph.xAxisRange() : null;
  }

  key_(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.graph) return;
    const at = this.group.cursor === null ? this.graph.xAxisRange()[1] : this.group.cursor;
    const move = (by) => {
      const row = Math.min(this.graph.numRows() - 1, Math.max(0, this.nearest(at) + (this.group.cursor === null ? 0 : by)));
      this.group.point(this.graph.getValue(row, 0));
    };
    const actions = {ArrowLeft: () => move(-1), ArrowRight: () => move(1), "+": () => this.group.scale(this, 0.5),
      "=": () => this.group.scale(this, 0.5), "-": () => this.group.scale(this, 2), 0: () => this.group.reset()};
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }

  /* The value of one series at the cursor, or the newest. */
  valueAt(one, x) {
    if (!one.x.length) return null;
    const i = x === null || x === undefined ? one.x.length - 1 : placeOf(one.x, x);
    return {x: one.x[i], last: one.last[i], min: one.min[i], max: one.max[i], smooth: one.smooth[i]};
  }

  describe(x = this.group.cursor) {
    const parts = this.series.map((one) => ({one, at: this.valueAt(one, x)})).filter(({at}) => at);
    if (!parts.length) return this.readout.replaceChildren("no values yet");
    const band = ({min, max}) => (min !== max ? `  ${number(min, 4)} … ${number(max, 4)}` : "");
    const single = this.series.length === 1;
    this.readout.replaceChildren(...(single
      ? [make("b", {}, number(parts[0].at.last, 5)), `${band(parts[0].at)}  at ${this.group.xName(parts[0].at.x)}`]
      : parts.map(({one, at}) => make("span", {class: "readout-run"},
        one.old ? make("span", {class: "swatch"}) : lineSample(one.id, this.group.dashOf(one.id)), make("span", {class: "readout-name"}, one.name), make("b", {}, number(at.last, 4))))));
    this.readout.classList.toggle("many", !single);
    const near = this.markAt(x);
    if (near) this.readout.append(make("span", {class: "readout-mark"}, ` · ${near.text}`));
    const kinds = [...new Set(this.marks.map((mark) => mark.kind))].map((kind) => `${this.marks.filter((mark) => mark.kind === kind).length} ${kind}`);
    const text = parts.map(({one, at}) => `${one.name}: ${one.x.length} points from ${this.group.xName(one.x[0])}, ` +
      `${number(one.last[0], 4)} first, ${number(at.last, 4)} at ${this.group.xName(at.x)}`);
    this.plot.setAttribute("aria-label", `${titleOf(this.key)}. ${text.join(". ")}. ${kinds.length ? `Marks: ${kinds.join(", ")}. ` : ""}Arrow keys move the cursor.`);
  }

  /* The mark within a few pixels of the cursor. */
  markAt(x) {
    if (x === null || x === undefined || !this.graph) return null;
    const at = this.graph.toDomXCoord(x);
    return this.marks.find((mark) => Math.abs(this.graph.toDomXCoord(mark.x) - at) < 5) || null;
  }

  destroy() {
    if (this.graph) this.graph.destroy();
    this.graph = null;
  }

  close() {
    this.visible = false;
    this.observer.disconnect();
    this.sizes.disconnect();
    this.destroy();
    this.element.remove();
  }
}
