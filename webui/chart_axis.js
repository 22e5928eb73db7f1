/* What a chart has along its x: steps, or what steps are worth in epochs, images or seconds since the start. */
import {get} from "./api.js";

export const linear = (per) => ({x: per === 1 ? (step) => step : (step) => step * per, step: (x) => x / per});

/* The place of `value` in an ascending list by bisection: the greatest i with list[i] <= value, at least 0. */
export function placeOf(list, value) {
  let low = 0, high = list.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (list[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/* Along the line through the two points around `value`; beyond the last ones as the line goes on there. */
function between(from, to, value) {
  if (from.length < 2) return from.length ? to[0] : 0;
  const i = Math.min(placeOf(from, value), from.length - 2), width = from[i + 1] - from[i];
  return width > 0 ? to[i] + (value - from[i]) / width * (to[i + 1] - to[i]) : to[i];
}

/* Wall time of a run's steps, pauses included, as the server kept it. */
export class Clock {
  constructor(id) {
    this.id = id;
    this.steps = [];
    this.seconds = [];
    this.x = (step) => between(this.steps, this.seconds, step);
    this.step = (x) => between(this.seconds, this.steps, x);
  }

  async load() {
    const {step, elapsed_s: seconds} = await get(`/v1/runs/${this.id}/clock`);
    this.steps = step;
    this.seconds = seconds;
  }
}
