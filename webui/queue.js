/* The queue: who has a device, who is next and why he waits, who is parked. Order is changed by priorities. */
import {get, send} from "./api.js";
import {swatch} from "./colours.js";
import {commandButtons} from "./command.js";
import {announce, button, empty, later, make, toast} from "./dom.js";
import {ago, duration, time} from "./format.js";
import {loadDevices} from "./gpus.js";
import {bar, chip, commandsOf, deadlineText, patchRun} from "./states.js";
import {Timeline} from "./timeline.js";

const numberOf = (run) => Number(run.id.slice(1));

/*
 * The fewest new priorities that give `order` (best first): equal ones start in the order of submission.
 * Map id -> priority.
 */
export function priorities(order) {
  const found = new Map();
  let below = null;
  for (const run of [...order].reverse()) {
    const own = run.priority;
    const least = below ? below.priority + (numberOf(run) < numberOf(below) ? 0 : 1) : own;
    const priority = below && own < least ? least : own;
    if (priority !== own) found.set(run.id, priority);
    below = {id: run.id, priority};
  }
  return found;
}

export async function queuePage({who, fail}) {
  let queue = await get("/v1/queue"), dragged = null, timer = 0;
  const timeline = new Timeline();
  const boxes = Object.fromEntries(["active", "waiting", "parked"].map((name) => [name, make("ol", {class: "queue-list", "data-group": name})]));

  function why(run) {
    const told = run.pending?.text || run.reason_text;
    if (told) return told;
    if (deadlineText(run)) return deadlineText(run);
    if (run.state === "running") return `${run.phase || "training"}, ${duration(run.eta_s)} left`;
    return run.state === "queued" ? "waits for a free device" : run.state === "held" ? "held back" : "";
  }

  function row(run, n, moves) {
    const item = make("li", {class: "card queue-item", "data-id": run.id, tabindex: moves ? "0" : null, draggable: moves ? "true" : null},
      n ? make("span", {class: "place"}, String(n)) : null,
      make("div", {class: "grow"}, make("div", {class: "row"}, make("a", {href: `#/${run.id}`, class: "run-name"}, swatch(run.id), run.name), chip(run.state)),
        make("p", {class: "quiet small"}, `${why(run)}${why(run) ? " · " : ""}priority ${run.priority} · ${run.user} · `,
          make("time", {datetime: run.created, title: time(run.created)}, ago(run.created))), run.step ? bar(run) : null),
      make("div", {class: "row"}, moves ? [button("↑", () => move(run, -1), "icon", {"aria-label": `start ${run.name} earlier`, title: "Earlier (Alt ↑)"}),
        button("↓", () => move(run, 1), "icon", {"aria-label": `start ${run.name} later`, title: "Later (Alt ↓)"})] : null,
      commandButtons(run, who, load)));
    if (moves) movable(item, run);
    return item;
  }

  function movable(item, run) {
    item.addEventListener("keydown", (event) => {
      const by = {ArrowUp: -1, ArrowDown: 1}[event.key];
      if (!by || !event.altKey) return;
      event.preventDefault();
      move(run, by);
    });
    item.addEventListener("dragstart", (event) => {
      dragged = run;
      event.dataTransfer.effectAllowed = "move";
    });
    item.addEventListener("dragover", (event) => { if (dragged && dragged !== run) event.preventDefault(); });
    item.addEventListener("drop", (event) => {
      event.preventDefault();
      const from = queue.waiting.indexOf(dragged), to = queue.waiting.indexOf(run);
      if (from >= 0 && to >= 0) move(dragged, to - from);
      dragged = null;
    });
  }

  async function move(run, by) {
    const from = queue.waiting.findIndex((one) => one.id === run.id), to = from + by;
    if (to < 0 || to >= queue.waiting.length) return;
    const order = [...queue.waiting];
    const [moved] = order.splice(from, 1);
    order.splice(to, 0, by > 0 ? {...moved, priority: order[to - 1].priority - (numberOf(moved) < numberOf(order[to - 1]) ? 1 : 0)} : moved);
    const changes = priorities(order);
    if (by > 0) changes.set(run.id, changes.get(run.id) ?? order[to].priority);
    try {
      for (const [id, priority] of changes) await send("PATCH", `/v1/runs/${id}`, {priority});
      announce(`${run.name} is now number ${to + 1}`);
    } catch (error) {
      toast(error.message);
    }
    await load();
    boxes.waiting.querySelector(`[data-id="${run.id}"]`)?.focus();
  }

  function show() {
    const focus = document.activeElement?.closest?.(".queue-item")?.dataset.id;
    const moves = (run) => who.role === "admin" || who.role === "operator" || commandsOf(run, who).length > 0;
    const fill = (name, rows, text) => boxes[name].replaceChildren(...(rows.length ? rows : [make("li", {}, empty(text))]));
    fill("active", queue.active.map((run) => row(run, 0, false)), "Nothing has a device.");
    fill("waiting", queue.waiting.map((run, i) => row(run, i + 1, moves(run) && queue.waiting.length > 1)), "Nothing waits.");
    fill("parked", queue.parked.map((run) => row(run, 0, false)), "Nothing is held or paused.");
    if (focus) element.querySelector(`.queue-item[data-id="${focus}"]`)?.focus();
  }

  async function load() {
    queue = await get("/v1/queue");
    show();
    timeline.set(queue, await loadDevices());
  }
  const section = (title, name, note) => make("section", {"aria-label": title}, make("h2", {}, title, " ", make("span", {class: "quiet small"}, note)), boxes[name]);
  const element = make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Queue")), timeline.element, section("On a device", "active", ""),
    section("Next", "waiting", "in the order of their start; drag, the arrows or Alt ↑ ↓ change it"), section("Parked", "parked", "held or paused"));
  show();
  loadDevices().then((devices) => timeline.set(queue, devices)).catch(fail);
  const reload = later(() => load().catch(fail), 250), redraw = later(() => { if (!dragged) show(); }, 1000);
  timer = setInterval(() => { if ([...queue.active, ...queue.waiting].some(deadlineText)) redraw(); }, 1000);
  return {title: "Queue", element,
    onEvent(type, data) {
      const run = queue.active.find((one) => one.id === data.run);
      if (type === "run.progress" && run) {
        patchRun(run, data);
        redraw();
      } else if (type !== "metric.frame" && type !== "run.progress") reload();
    },
    refresh: () => load().catch(fail),
    close() {
      clearInterval(timer);
      timeline.load.cancel();
      reload.cancel();
      redraw.cancel();
    }};
}
