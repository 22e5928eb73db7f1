/* The queue: who has a device, who is next and why it waits, who is parked. Its order is changed by dragging and by keys. */
import {get, send} from "./api.js";
import {swatch} from "./colours.js";
import {commandButtons} from "./command.js";
import {announce, button, empty, later, make, toast} from "./dom.js";
import {ago, duration, time} from "./format.js";
import {loadDevices} from "./gpus.js";
import {Reorder} from "./reorder.js";
import {bar, chip, commandsOf, deadlineText, patchRun} from "./states.js";
import {Timeline} from "./timeline.js";

export async function queuePage({who, fail}) {
  let [queue, devices] = await Promise.all([get("/v1/queue"), loadDevices()]), timer = 0, behind = false;
  const timeline = new Timeline();
  const boxes = Object.fromEntries(["active", "waiting", "parked"].map((name) => [name, make("ol", {class: "queue-list", "data-group": name})]));

  const order = new Reorder(boxes.waiting, (id, to) => move(id, to, false), () => { if (behind) show(); });

  function why(run) {
    const told = run.pending?.text || run.reason_text;
    if (told) return told;
    if (deadlineText(run)) return deadlineText(run);
    if (run.state === "running") return `${run.phase || "training"}, ${duration(run.eta_s)} left`;
    return run.state === "queued" ? "waits for a free device" : run.state === "held" ? "held back" : "";
  }

  function row(run, n, moves) {
    const item = make("li", {class: "card queue-item", "data-id": run.id, tabindex: moves ? "0" : null, "data-movable": moves},
      moves ? make("span", {class: "grip", "aria-hidden": "true", title: "Drag to another place"}) : null,
      n ? make("span", {class: "place"}, String(n)) : null,
      make("div", {class: "grow"}, make("div", {class: "row"}, make("a", {href: `#/${run.id}`, class: "run-name"}, swatch(run.id), run.name), chip(run.state)),
        make("p", {class: "quiet small"}, `${why(run)}${why(run) ? " · " : ""}priority ${run.priority} · ${run.user} · `,
          make("time", {datetime: run.created, title: time(run.created)}, ago(run.created))), run.step ? bar(run) : null),
      make("div", {class: "row"}, moves ? [button("↑", () => move(run.id, n - 2), "icon", {"aria-label": `start ${run.name} earlier`, title: "Earlier (Alt ↑)"}),
        button("↓", () => move(run.id, n), "icon", {"aria-label": `start ${run.name} later`, title: "Later (Alt ↓)"})] : null,
      commandButtons(run, who, load)));
    if (moves) item.addEventListener("keydown", (event) => {
      const by = {ArrowUp: -1, ArrowDown: 1}[event.key];
      if (!by || !event.altKey) return;
      event.preventDefault();
      move(run.id, n - 1 + by);
    });
    return item;
  }

  /* To place `to`, counted from 0: shown at once, then asked for; what the server says stays. */
  async function move(id, to, keepFocus = true) {
    const from = queue.waiting.findIndex((run) => run.id === id), other = queue.waiting[to];
    if (from < 0 || !other || to === from) return;
    const [run] = queue.waiting.splice(from, 1);
    queue.waiting.splice(to, 0, run);
    show();
    try {
      await send("POST", "/v1/queue/move", {run: id, [to < from ? "before" : "after"]: other.id});
      announce(`${run.name} is now number ${to + 1}`);
    } catch (error) {
      toast(error.message);
    }
    await load().catch(fail);
    if (keepFocus) boxes.waiting.querySelector(`[data-id="${id}"]`)?.focus();
  }

  function show() {
    behind = order.active;
    if (behind) return;
    const focus = document.activeElement?.closest?.(".queue-item")?.dataset.id;
    const moves = (run) => who.role === "admin" || who.role === "operator" || commandsOf(run, who).length > 0;
    const fill = (name, rows, text) => boxes[name].replaceChildren(...(rows.length ? rows : [make("li", {}, empty(text))]));
    fill("active", queue.active.map((run) => row(run, 0, false)), "Nothing has a device.");
    fill("waiting", queue.waiting.map((run, i) => row(run, i + 1, moves(run) && queue.waiting.length > 1)), "Nothing waits.");
    fill("parked", queue.parked.map((run) => row(run, 0, false)), "Nothing is held or paused.");
    if (focus) element.querySelector(`.queue-item[data-id="${focus}"]`)?.focus();
  }

  async function load() {
    [queue, devices] = await Promise.all([get("/v1/queue"), loadDevices()]);
    show();
    timeline.set(queue, devices);
  }
  const section = (title, name, note) => make("section", {"aria-label": title}, make("h2", {}, title, " ", make("span", {class: "quiet small"}, note)), boxes[name]);
  const element = make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Queue")), timeline.element, section("On a device", "active", ""),
    section("Next", "waiting", "in the order of their start; drag, the arrows or Alt ↑ ↓ change it"), section("Parked", "parked", "held or paused"));
  show();
  timeline.set(queue, devices);
  const reload = later(() => load().catch(fail), 250), redraw = later(show, 1000);
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
