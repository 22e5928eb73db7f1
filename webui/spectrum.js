/* The strip of singular values: a column for each check of a run, a row for each place 1, 2, 4, ... from the top. */
import {make} from "./dom.js";
import {load} from "./metrics.js";
import {canvas, heat} from "./visuals_paint.js";

const LOWEST = -4, PREFIX = "ssl/spectrum_";
const placeOf = (key) => Number(key.slice(PREFIX.length));

export const isSpectrum = (key) => key.startsWith(PREFIX);

/* rows: for each place the values of all checks, log10 of the share of the largest. */
function paint(place, rows) {
  place.width = rows[0].length;
  place.height = rows.length;
  const pen = place.getContext("2d"), data = pen.createImageData(place.width, place.height);
  rows.flat().forEach((value, i) => data.data.set([...heat(value === null ? NaN : 1 - value / LOWEST), 255], 4 * i));
  pen.putImageData(data, 0, 0);
}

function said(keys, rows) {
  const last = rows.map((row) => row[row.length - 1]), low = last.findIndex((value) => value !== null && value < -2);
  return low < 0 ? "At the last check every direction shown has at least a hundredth of the strongest one."
    : `At the last check the direction at place ${placeOf(keys[low])} has less than a hundredth of the strongest one.`;
}

/* Fills `box` with the strip of one run; keys: all that the run has. Empty where it has no spectrum. */
export async function showSpectrum(box, run, keys) {
  const wanted = keys.filter(isSpectrum).sort((a, b) => placeOf(a) - placeOf(b));
  const found = await load([run], wanted), rows = wanted.map((key) => found.get(key).get(run)?.last).filter(Boolean);
  box.hidden = rows.length < 2;
  if (box.hidden) return;
  const text = said(wanted, rows), strip = canvas(`Singular values of the features over the checks. ${text}`, {class: "grid-canvas spectrum"});
  paint(strip, rows);
  box.replaceChildren(make("h2", {}, "Spectrum of the features"), strip,
    make("p", {class: "quiet small"}, `Singular values at places 1 (top) to ${placeOf(wanted[wanted.length - 1])}, a column for each check; `,
      `yellow: as strong as the largest, dark blue: ${10 ** LOWEST} of it. Dark from below means that directions die. `, text));
}
