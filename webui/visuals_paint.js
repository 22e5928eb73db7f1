/* Painting grids of patches and images into small canvases. A patch stays a square: nothing is smoothed. */
import {make} from "./dom.js";

const STOPS = [[13, 17, 60], [60, 40, 130], [160, 50, 120], [235, 110, 70], [250, 220, 90]], UNKNOWN = [128, 128, 128];

/* 0 … 1 from dark blue over red to yellow: its lightness only grows, so that it also reads without colour. */
export function heat(share) {
  if (!isFinite(share)) return UNKNOWN;
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), i = Math.min(Math.floor(at), STOPS.length - 2), part = at - i;
  return STOPS[i].map((from, k) => Math.round(from + (STOPS[i + 1][k] - from) * part));
}

/* colour(i): [r, g, b] of pixel i of side * side. */
function paint(canvas, side, colour) {
  canvas.width = canvas.height = side;
  const pen = canvas.getContext("2d"), data = pen.createImageData(side, side);
  for (let i = 0; i < side * side; i++) data.data.set([...colour(i), 255], 4 * i);
  pen.putImageData(data, 0, 0);
}

export const canvas = (label, attributes = {}) => make("canvas", {class: "grid-canvas", role: "img", "aria-label": label, width: 1, height: 1, ...attributes});

const triple = (values, at) => [values[at], values[at + 1], values[at + 2]];

/* bytes: (images, crop, crop, 3) */
export const paintImage = (place, grids, i, bytes = grids.pixels) => paint(place, grids.crop, (k) => triple(bytes, (i * grids.crop ** 2 + k) * 3));

/* bytes: (images, patches, 3) */
export const paintColours = (place, grids, i, bytes) => paint(place, grids.grid, (k) => triple(bytes, (i * grids.patches + k) * 3));

export const paintError = (place, grids, i) => paint(place, grids.grid, (k) => {
  const value = grids.error[i * grids.patches + k];
  return value < 0 ? UNKNOWN : heat(value);
});

/* head -1: the mean of all; dark is 0, yellow the most that a patch of the image gets. */
export function paintAttention(place, grids, i, head) {
  const {patches, heads, attention} = grids, of = (h, k) => attention[(i * heads + h) * patches + k];
  const values = Array.from({length: patches}, (_, k) => (head >= 0 ? of(head, k) : Array.from({length: heads}, (_, h) => of(h, k)).reduce((sum, one) => sum + one, 0) / heads));
  const most = Math.max(...values);
  paint(place, grids.grid, (k) => heat(values[k] / most));
}

export const paintCosines = (place, grids, i, patch) => paint(place, grids.grid, (k) => heat(grids.cosines[(i * grids.patches + patch) * grids.patches + k] / 255));

/* What a decoder made of the predictions, within the image as it is; what neither side knew stays dark. */
export function paintDecoded(place, grids, i) {
  const side = grids.crop, per = side / grids.grid;
  paint(place, side, (k) => {
    const patch = Math.floor(Math.floor(k / side) / per) * grids.grid + Math.floor((k % side) / per), at = (i * side ** 2 + k) * 3;
    const known = grids.contextMask[i * grids.patches + patch] || Array.from({length: grids.blocks}, (_, b) => grids.targetMasks[(i * grids.blocks + b) * grids.patches + patch]).some(Boolean);
    return known ? triple(grids.decoded, at) : triple(grids.pixels, at).map((one) => Math.round(one * 0.18));
  });
}

const COLOURS = [[43, 87, 217], [240, 140, 60], [20, 160, 120], [190, 60, 190], [220, 190, 40], [60, 170, 200]];

/* What the context encoder sees in clear, the rest dark; each target block tinted. */
export function paintMasks(place, grids, i) {
  const side = grids.crop, per = side / grids.grid;
  paint(place, side, (k) => {
    const patch = Math.floor(Math.floor(k / side) / per) * grids.grid + Math.floor((k % side) / per), at = (i * side ** 2 + k) * 3;
    const pixel = triple(grids.pixels, at);
    if (grids.contextMask[i * grids.patches + patch]) return pixel;
    for (let b = 0; b < grids.blocks; b++)
      if (grids.targetMasks[(i * grids.blocks + b) * grids.patches + patch]) return pixel.map((one, c) => Math.round(one * 0.4 + COLOURS[b % COLOURS.length][c] * 0.6));
    return pixel.map((one) => Math.round(one * 0.18));
  });
}

/* Row i of a sheet of n rows. */
export function paintRow(place, sheet, i, n) {
  const height = sheet.naturalHeight / n;
  place.width = sheet.naturalWidth;
  place.height = Math.floor(height);
  place.getContext("2d").drawImage(sheet, 0, Math.floor(i * height), sheet.naturalWidth, place.height, 0, 0, place.width, place.height);
}
