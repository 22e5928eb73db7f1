/* A run's state: word, sign and colour together, the commands it allows, its progress. */
import {make, makeSvg} from "./dom.js";
import {duration, number, percent, seconds} from "./format.js";

/* Paths in a 12 by 12 box. */
const SIGNS = {
  wait: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1m0 2v3.2l2 1.3", play: "M3.5 2v8l6-4z", pause: "M4 2.5v7M8 2.5v7",
  stop: "M3 3h6v6H3z", again: "M9.6 4A4 4 0 1 0 10 6.6M10 1.6V4.3H7.3", check: "M2.2 6.4 4.8 9l5-6", cross: "M3 3l6 6M9 3l-6 6",
  alert: "M6 1.6 11 10.4H1zM6 5v2.4M6 8.6v.4", start: "M2.5 6h6M6 3l3 3-3 3",
};
const FILLED = ["play", "stop"];
const STATES = {
  held: ["idle", "pause"], queued: ["idle", "wait"], starting: ["busy", "start"], running: ["busy", "play"],
  pausing: ["warn", "pause"], paused: ["warn", "pause"], stopping: ["warn", "stop"], backoff: ["warn", "again"],
  succeeded: ["good", "check"], failed: ["bad", "cross"], canceled: ["idle", "stop"], quarantined: ["bad", "alert"],
};

export const STATE_NAMES = Object.keys(STATES);
export const ended = (state) => ["succeeded", "failed", "canceled", "quarantined"].includes(state);
export const active = (state) => ["starting", "running", "pausing", "stopping"].includes(state);

export function sign(name) {
  return makeSvg("svg", {viewBox: "0 0 12 12", width: 12, height: 12, class: FILLED.includes(name) ? "sign filled" : "sign",
    "aria-hidden": "true"}, makeSvg("path", {d: SIGNS[name]}));
}

export const chip = (state) => {
  const [colour, name] = STATES[state] || ["idle", "alert"];
  return make("span", {class: `chip ${colour}`}, sign(name), state);
};

/* What may be asked of a run in a state; the server has the last word. */
const COMMANDS = {
  queued: ["hold", "cancel"], held: ["release", "cancel"], starting: ["cancel", "kill"],
  running: ["checkpoint", "pause", "cancel", "kill"], pausing: ["kill"], paused: ["resume", "cancel"], stopping: ["kill"],
  backoff: ["cancel"], succeeded: [], failed: ["requeue"], canceled: ["requeue"], quarantined: ["requeue"],
};

/* Operators may command every run, submitters their own. */
export const mayCommand = (run, who) => who.role === "operator" || who.role === "admin" || (who.role === "submitter" && who.user === run.user);
export const commandsOf = (run, who) => (mayCommand(run, who) ? COMMANDS[run.state] || [] : []);

/* "18 s left until it is killed": the daemon escalates at the deadline. */
export function deadlineText(run) {
  const at = run.deadline || run.not_before;
  if (!at) return "";
  const left = -seconds(at);
  if (left <= 0) return "";
  const verb = run.deadline ? {starting: "to start", pausing: "to save and stop", stopping: "to save and stop"}[run.state] : "until the next try";
  return verb ? `${duration(left)} left ${verb}` : "";
}

/* A ring of progress with the percentage inside. */
export function ring(run, size = 64) {
  const share = run.progress || 0, r = 27, length = 2 * Math.PI * r;
  return makeSvg("svg", {viewBox: "0 0 64 64", width: size, height: size, class: "ring", role: "img",
    "aria-label": run.steps ? `${percent(share)} done` : "length not known yet"},
  makeSvg("circle", {cx: 32, cy: 32, r, class: "ring-track"}),
  makeSvg("circle", {cx: 32, cy: 32, r, class: "ring-done", transform: "rotate(-90 32 32)",
    "stroke-dasharray": `${share * length} ${length}`}),
  makeSvg("text", {x: 32, y: 33, class: "ring-text"}, run.steps ? percent(share).replace(" ", "") : "…"));
}

export function bar(run) {
  if (!run.steps) return make("span", {class: "quiet"}, "–");
  return make("span", {class: "bar-cell"}, make("progress", {max: "1", value: String(run.progress || 0), "aria-label": "progress"}),
    make("span", {class: "quiet small"}, percent(run.progress)));
}

export const rate = (run) => (run.state === "running" && run.images_per_s ? `${number(run.images_per_s)} images/s` : "–");

/* Members of an event that a run has too. */
export function patchRun(run, data) {
  for (const key of ["state", "desired", "reason", "reason_text", "deadline", "step", "steps", "epoch", "images_per_s",
    "eta_s", "phase", "name", "priority"]) if (key in data) run[key] = data[key];
  if (run.steps) run.progress = Math.min(1, run.step / run.steps);
  return run;
}
