/* Small curves of the loss: one query for all that can be seen, kept, extended by the stream. */
import {runStyle} from "./colours.js";
import {later, makeSvg} from "./dom.js";
import {number} from "./format.js";
import {load} from "./metrics.js";

/* Into an svg of that size; low, high: the range, that of the values where it is not given. */
export function drawCurve(svg, list, {width, height, low = Math.min(...list), high = Math.max(...list), kind = ""}) {
  const points = list.map((value, i) =>
    `${(i / (list.length - 1) * width).toFixed(1)},${(2 + (high - value) / (high - low || 1) * (height - 4)).toFixed(1)}`);
  svg.replaceChildren(makeSvg("polyline", {points: points.join(" "), class: `spark-line ${kind}`}));
  return svg;
}

const KEY = "train/loss", POINTS = 60, RUNS_PER_QUERY = 50;

export class Sparks {
  constructor() {
    this.data = new Map();
    this.elements = new Map();
    this.waiting = new Map();
    this.ask = later(() => this.load().catch(() => {}), 120);
  }

  /* Empty until its values have come. */
  element(id, width = 72, height = 22) {
    const svg = makeSvg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, class: "spark", role: "img",
      "aria-label": "loss", preserveAspectRatio: "none"});
    this.elements.set(id, {svg, width, height});
    this.draw(id);
    return svg;
  }

  want(runs) {
    for (const run of runs) if (!this.data.has(run.id)) this.waiting.set(run.id, Math.floor(Math.log2(run.step + 1) / 2));
    if (this.waiting.size) this.ask();
  }

  async load() {
    /* Buckets are as wide as the longest run of a query asks for: runs of like length share one. */
    const [[, length]] = this.waiting;
    const ids = [...this.waiting].filter(([, other]) => other === length).slice(0, RUNS_PER_QUERY).map(([id]) => id);
    for (const id of ids) this.waiting.delete(id);
    const found = (await load(ids, [KEY], {points: POINTS})).get(KEY);
    for (const id of ids) {
      this.data.set(id, found.get(id)?.last.filter((value) => value !== null) || []);
      this.draw(id);
    }
    if (this.waiting.size) this.ask();
  }

  frame({run, stream, keys, values}) {
    const list = this.data.get(run), at = keys.indexOf("loss");
    if (!list || stream !== "train" || at < 0 || values[at] === null) return;
    list.push(values[at]);
    if (list.length > 2 * POINTS) this.data.set(run, list.filter((_, i) => i % 2));
    this.draw(run);
  }

  draw(id) {
    const place = this.elements.get(id), list = this.data.get(id);
    if (!place || !list || list.length < 2) return;
    place.svg.setAttribute("aria-label", `loss from ${number(list[0])} to ${number(list[list.length - 1])}`);
    drawCurve(place.svg, list, {...place, kind: `stroke-${runStyle(id).index}`});
  }
}
