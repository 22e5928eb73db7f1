/*
 * Room on the disk below the state directory, and when it will be full. The rate comes from what this browser has seen
 * of the free room, kept for a day; without enough of it nothing is foretold.
 */
import {make} from "./dom.js";
import {bytes, duration} from "./format.js";
import {meter} from "./gpus.js";

const KEY = "ijepad.disk", KEPT_MS = 86400000, EVERY_MS = 30000, LEAST_MS = 300000, MOST = 600;

export const gauge = (text, name) => Number((text.match(new RegExp(`^${name} ([0-9.e+]+)$`, "m")) || [])[1]);

/* [[time in ms, free bytes], ...] with the newest at the end. */
export function remember(samples, now, free) {
  const kept = samples.filter(([at]) => at > now - KEPT_MS && at <= now);
  if (!kept.length || now - kept[kept.length - 1][0] >= EVERY_MS) kept.push([now, free]);
  return kept.slice(-MOST);
}

/* Seconds until it is full at the mean rate of the samples; null: too little is known, Infinity: it is not filling. */
export function timeToFull(samples) {
  if (samples.length < 2) return null;
  const [start, before] = samples[0], [end, now] = samples[samples.length - 1];
  if (end - start < LEAST_MS) return null;
  return now >= before ? Infinity : now / ((before - now) / ((end - start) / 1000));
}

/* metrics: the text of /metrics. Elements for a card. */
export function diskGauge(metrics) {
  const free = gauge(metrics, "ijepad_disk_free_bytes"), all = gauge(metrics, "ijepad_disk_bytes");
  if (!isFinite(free)) return [make("p", {class: "quiet"}, "The disk is not known.")];
  let samples = [];
  try {
    samples = remember(JSON.parse(localStorage.getItem(KEY) || "[]"), Date.now(), free);
    localStorage.setItem(KEY, JSON.stringify(samples));
  } catch {
    localStorage.removeItem(KEY);
  }
  const left = timeToFull(samples), watched = samples.length > 1 ? duration((samples[samples.length - 1][0] - samples[0][0]) / 1000) : "";
  const text = left === null ? "How fast it fills is known after five minutes." : left === Infinity ? `It has not filled within the last ${watched}.`
    : `Full in about ${duration(left)} at the rate of the last ${watched}.`;
  return [all ? meter("Disk used", 1 - free / all, `${bytes(free)} free of ${bytes(all)}`, {fills: true}) : make("p", {}, `${bytes(free)} free`),
    make("p", {class: left !== null && left < 86400 ? "note" : "quiet small"}, text)];
}
