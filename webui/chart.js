/*
 * A line over a min-max band on a canvas: one metric of one run.
 *
 * Data: {step: [...], last: [...], min: [...], max: [...]} with null for what is not finite. The pointer
 * or the arrow keys move a cursor, whose values stand in the read-out below the title.
 */
import {make, number} from "./dom.js";

const LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 22;

/* About `count` round values that cover low..high. */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const list = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) list.push(i * step);
  return list;
}

function extent(lists) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) {
    for (const value of list || []) {
      if (value === null) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - margin, high + margin];
}

export class Chart {
  constructor(title) {
    this.data = {step: []};
    this.cursor = -1;
    this.canvas = make("canvas", {role: "img", tabindex: "0"});
    this.readout = make("div", {class: "readout"});
    this.title = title;
    this.element = make("div", {class: "chart"}, make("h3", {}, title), this.readout, this.canvas);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.moveTo(-1));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  close() {
    this.observer.disconnect();
    this.element.remove();
  }

  set(data) {
    this.data = data;
    if (this.cursor >= data.step.length) this.cursor = -1;
    this.draw();
  }

  scales() {
    const {step} = this.data;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const [low, high] = extent([this.data.last, this.data.min, this.data.max]);
    const first = step[0] ?? 0, final = Math.max(step[step.length - 1] ?? 1, first + 1);
    const x = (s) => LEFT + (s - first) / (final - first) * (width - LEFT - RIGHT);
    const y = (v) => TOP + (high - v) / (high - low) * (height - TOP - BOTTOM);
    return {width, height, low, high, first, final, x, y};
  }

  point(event) {
    const {step} = this.data;
    const {x} = this.scales();
    let best = -1, distance = Infinity;
    for (let i = 0; i < step.length; i++) {
      const away = Math.abs(x(step[i]) - event.offsetX);
      if (away < distance) [best, distance] = [i, away];
    }
    this.moveTo(best);
  }

  key(event) {
    const moves = {ArrowLeft: -1, ArrowRight: 1};
    if (!(event.key in moves) || !this.data.step.length) return;
    event.preventDefault();
    const from = this.cursor < 0 ? this.data.step.length - 1 : this.cursor;
    this.moveTo(Math.min(this.data.step.length - 1, Math.max(0, from + moves[event.key])));
  }

  moveTo(index) {
    this.cursor = index;
    this.draw();
  }

  describe() {
    const {step, last, min, max} = this.data;
    const at = this.cursor < 0 ? step.length - 1 : this.cursor;
    if (at < 0) return "no values yet";
    const band = min && min[at] !== max[at] ? `  (${number(min[at], 4)} … ${number(max[at], 4)})` : "";
    return `step ${step[at]}:  ${number(last[at], 5)}${band}`;
  }

  draw() {
    const scales = this.scales();
    if (!scales.width) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(scales.width * ratio);
    this.canvas.height = Math.round(scales.height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.drawAxes(pen, scales, colour);
    this.drawBand(pen, scales, colour("--band"));
    this.drawLine(pen, scales, colour("--accent"));
    this.drawCursor(pen, scales, colour("--quiet"));
    this.readout.textContent = this.describe();
    this.canvas.setAttribute("aria-label", `${this.title}: ${this.data.step.length} points, ${this.describe()}`);
  }

  drawAxes(pen, {width, height, low, high, first, final, x, y}, colour) {
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = colour("--quiet");
    pen.strokeStyle = colour("--line");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of ticks(low, high, 4)) {
      pen.beginPath();
      pen.moveTo(LEFT, y(value));
      pen.lineTo(width - RIGHT, y(value));
      pen.stroke();
      pen.fillText(number(value), LEFT - 6, y(value));
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const step of ticks(first, final, 4)) pen.fillText(String(Math.round(step)), x(step), height - BOTTOM + 6);
  }

  drawBand(pen, {x, y}, fill) {
    const {step, min, max} = this.data;
    if (!min) return;
    const known = step.map((_, i) => i).filter((i) => min[i] !== null && max[i] !== null);
    if (known.length < 2) return;
    pen.beginPath();
    for (const i of known) pen.lineTo(x(step[i]), y(max[i]));
    for (const i of known.reverse()) pen.lineTo(x(step[i]), y(min[i]));
    pen.closePath();
    pen.fillStyle = fill;
    pen.fill();
  }

  drawLine(pen, {x, y}, stroke) {
    const {step, last} = this.data;
    pen.strokeStyle = pen.fillStyle = stroke;
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let down = false;
    for (let i = 0; i < step.length; i++) {
      if (last[i] === null) down = false;
      else if (down) pen.lineTo(x(step[i]), y(last[i]));
      else {
        pen.moveTo(x(step[i]), y(last[i]));
        down = true;
      }
    }
    pen.stroke();
    if (step.length > 40) return;
    for (let i = 0; i < step.length; i++) {
      if (last[i] === null) continue;
      pen.beginPath();
      pen.arc(x(step[i]), y(last[i]), 2.4, 0, 7);
      pen.fill();
    }
  }

  drawCursor(pen, {height, x}, stroke) {
    const at = this.data.step[this.cursor];
    if (at === undefined) return;
    pen.strokeStyle = stroke;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x(at), TOP);
    pen.lineTo(x(at), height - BOTTOM);
    pen.stroke();
  }
}
