/* Colours of the charts: eight that colour-blind eyes can tell apart, then the same with dashes. */
import {make} from "./dom.js";

const COLOURS = 8;
const DASHES = [null, [7, 4], [2, 3], [9, 3, 2, 3]];
let probe = null;

/* What a custom property like --series-0 is under the theme that is shown, as rgb(). */
export function resolved(property) {
  if (!probe) document.body.append(probe = make("span", {hidden: true}));
  probe.style.color = `var(${property})`;
  return getComputedStyle(probe).color;
}

/* Pinned to the run's number: the same on every page and in every session. */
export function runStyle(id) {
  const n = Math.max(0, Number(id.slice(1)) - 1);
  return {property: `--series-${n % COLOURS}`, dash: DASHES[Math.floor(n / COLOURS) % DASHES.length], index: n % COLOURS};
}

export const swatch = (id) => make("span", {class: `swatch series-${runStyle(id).index}`, "aria-hidden": "true"});
