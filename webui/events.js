/* Events in words. */
import {make} from "./dom.js";
import {bytes, clock, time} from "./format.js";
import {chip} from "./states.js";

export function eventText({type, data}) {
  if (type === "run.state") return data.reason_text || (data.from ? "" : "submitted");
  if (type === "run.checkpoint") return `${data.checkpoint} at step ${data.step}, ${bytes(data.bytes)}`;
  if (type === "run.result") return `${data.name || "result"}${data.step === undefined ? "" : ` at step ${data.step}`}`;
  if (type === "run.changed") return Object.keys(data).filter((key) => !["run", "version"].includes(key)).join(", ") || "changed";
  if (type === "run.rewind") return `step ${data.failed_step}: back to step ${data.back_to}, the data of ${data.skip_count} steps left out`;
  if (type === "run.health") return data.text ? `${data.verdict}: ${data.text}` : data.verdict;
  return data.text || data.message || JSON.stringify(data);
}

const WORDS = {"run.rewind": "went back", "run.checkpoint": "checkpoint", "run.result": "result", "run.changed": "changed", "run.warning": "warning", "run.health": "health"};

export const eventChip = (event) => (event.type === "run.state" ? chip(event.data.state)
  : make("span", {class: `chip ${["run.warning", "run.rewind"].includes(event.type) || (event.type === "run.health" && event.data.verdict !== "healthy") ? "warn" : "idle"}`}, WORDS[event.type] || event.type));

/* names: Map id -> name, for events of several runs. */
export function eventList(events, names) {
  return make("ol", {class: "events"}, events.map((event) => make("li", {},
    make("time", {class: "quiet", datetime: event.time, title: time(event.time)}, clock(event.time)), eventChip(event),
    make("span", {class: "event-text"}, names ? make("a", {href: `#/${event.run}`}, names.get(event.run) || event.run) : null,
      names ? " " : null, eventText(event)))));
}
