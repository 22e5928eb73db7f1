/* What GPUs did in the last minutes, for small curves beside their gauges. */
import {get, query} from "./api.js";

const SPAN_S = 900, POINTS = 60, EVERY_MS = 15000;

export class Trends {
  constructor() {
    this.known = new Map();
    this.readAt = -EVERY_MS;
  }

  /* Asked for again after a while; what cannot be had is left out. */
  async load(devices) {
    if (performance.now() - this.readAt < EVERY_MS) return;
    this.readAt = performance.now();
    const from = Math.floor(Date.now() / 1000) - SPAN_S;
    await Promise.all(devices.filter((device) => device.kind === "gpu").map(async (device) => {
      const {tables} = await get(`/v1/gpus/${device.id}/samples` + query({from, max_points: POINTS})).catch(() => ({tables: []}));
      this.known.set(device.id, new Map((tables[0]?.series || []).map((series) => [series.key, (series.mean || series.last).filter((value) => value !== null)])));
    }));
  }

  /* Oldest first; empty: nothing is known. */
  of(device, key) {
    return this.known.get(device.id)?.get(key) || [];
  }
}
