/* Any parameter of compared runs against any of their newest figures: a point for each run, with its name. */
import {runStyle} from "./colours.js";
import {empty, make, makeSvg} from "./dom.js";
import {number, plain} from "./format.js";
import {inOrder, titleOf} from "./metrics.js";

const WIDTH = 560, HEIGHT = 230, LEFT = 56, RIGHT = 24, TOP = 14, BOTTOM = 30;

/* Numbers by their size, anything else by its place among the values that there are. */
function scaleOf(values) {
  const numeric = values.every((value) => typeof value === "number"), kinds = [...new Set(values.map(plain))];
  const at = (value) => (numeric ? value : kinds.indexOf(plain(value)));
  const low = Math.min(...values.map(at)), high = Math.max(...values.map(at));
  return {share: (value) => (high > low ? (at(value) - low) / (high - low) : 0.5), ends: high > low ? [values.find((value) => at(value) === low), values.find((value) => at(value) === high)] : [values[0]],
    text: (value) => (numeric ? number(value, 4) : plain(value))};
}

export class Scatter {
  /* configs: of the runs, in their order; varied: the parameters in which they differ */
  constructor(runs, configs, varied) {
    Object.assign(this, {runs, configs});
    const options = (keys, text) => keys.map((key) => make("option", {value: key}, text(key)));
    const figures = inOrder(new Set(runs.flatMap((run) => Object.keys(run.last || {}))));
    this.parameter = make("select", {"aria-label": "Parameter", onchange: () => this.draw()}, options([...varied, ...Object.keys(configs[0]).filter((key) => !varied.includes(key))], (key) => key));
    this.figure = make("select", {"aria-label": "Figure", onchange: () => this.draw()}, options(figures, titleOf));
    this.box = make("div", {class: "scatter"});
    this.element = make("section", {class: "card", "aria-label": "Parameter against figure"}, make("div", {class: "row"}, make("h2", {}, "One against the other"), make("span", {class: "grow"}), this.parameter, this.figure), this.box);
    this.draw();
  }

  draw() {
    const points = this.runs.map((run, i) => ({run, x: this.configs[i][this.parameter.value], y: run.last?.[this.figure.value]}))
      .filter(({x, y}) => x !== undefined && x !== null && typeof y === "number" && isFinite(y));
    this.box.replaceChildren(points.length ? this.picture(points) : empty("No run has both."));
  }

  picture(points) {
    const x = scaleOf(points.map((point) => point.x)), y = scaleOf(points.map((point) => point.y));
    const left = (value) => LEFT + x.share(value) * (WIDTH - LEFT - RIGHT), top = (value) => HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
    const text = (at, kind, words) => makeSvg("text", {x: at[0], y: at[1], class: `scatter-text ${kind}`}, words);
    return makeSvg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${titleOf(this.figure.value)} by ${this.parameter.value}: ${points.map((point) => `${point.run.name} ${x.text(point.x)}, ${y.text(point.y)}`).join("; ")}`},
      makeSvg("path", {class: "scatter-axis", d: `M${LEFT - 8} ${TOP}V${HEIGHT - BOTTOM + 8}H${WIDTH - RIGHT + 8}`}),
      x.ends.map((value) => text([left(value), HEIGHT - 6], "middle", x.text(value))), y.ends.map((value) => text([LEFT - 14, top(value) + 4], "end", y.text(value))),
      points.map((point) => [makeSvg("circle", {cx: left(point.x), cy: top(point.y), r: 5, class: `scatter-point series-${runStyle(point.run.id).index}`}),
        left(point.x) > WIDTH * 0.6 ? text([left(point.x) - 9, top(point.y) + 4], "end", point.run.name) : text([left(point.x) + 9, top(point.y) + 4], "", point.run.name)]));
  }
}
