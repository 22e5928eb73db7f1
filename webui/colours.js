/* Colours of the charts: eight that colour-blind eyes can tell apart; beside each other, runs differ in their dashes too. */
import {make, makeSvg} from "./dom.js";

const COLOURS = 8;
const DASHES = [null, [7, 4], [2, 3], [9, 3, 2, 3], [14, 4], [5, 2, 1, 2, 1, 2]];
let probe = null;

/* What a custom property like --series-0 is under the theme that is shown, as rgb(). */
export function resolved(property) {
  if (!probe) document.body.append(probe = make("span", {hidden: true}));
  probe.style.color = `var(${property})`;
  return getComputedStyle(probe).color;
}

const keyOf = (id) => `ijepad.colour.${id}`;

/* Pinned to the run's number, the same on every page and in every session, unless this browser was told of another. */
export function runStyle(id) {
  const n = Number(localStorage.getItem(keyOf(id)) ?? Math.max(0, Number(id.slice(1)) - 1));
  return {property: `--series-${n % COLOURS}`, index: n % COLOURS};
}

export const nextColour = (id) => localStorage.setItem(keyOf(id), (runStyle(id).index + 1) % COLOURS);

/* Of the line number `place` of a chart; null: a plain one. */
export const dashOf = (place) => DASHES[place % DASHES.length];

export const swatch = (id) => make("span", {class: `swatch series-${runStyle(id).index}`, "aria-hidden": "true"});

/* A piece of the line that a run has in charts of several: the legend does not go by colour alone. */
export const lineSample = (id, dash) => makeSvg("svg", {class: `line-sample stroke-${runStyle(id).index}`, width: 24, height: 8, viewBox: "0 0 24 8", "aria-hidden": "true"},
  makeSvg("path", {d: "M0 4h24", "stroke-dasharray": dash ? dash.join(" ") : null}));
