/* The overview: what has a device, what waits and why, what happened, how much room is left. */
import {get, getText, query} from "./api.js";
import {swatch} from "./colours.js";
import {commandButtons} from "./command.js";
import {empty, later, make} from "./dom.js";
import {eventList} from "./events.js";
import {bytes, duration, number} from "./format.js";
import {healthLight} from "./health.js";
import {chip, deadlineText, patchRun, ring} from "./states.js";
import {Sparks} from "./spark.js";

const EVENT_RUNS = 8, EVENTS = 12, QUEUE_HEAD = 6, DISK_MS = 30000;
const gauge = (text, name) => Number((text.match(new RegExp(`^${name} ([0-9.e+]+)$`, "m")) || [])[1]);

function tile(run, who, sparks, onDone) {
  const facts = [["Rate", run.images_per_s ? `${number(run.images_per_s)}/s` : "–"], ["Left", duration(run.eta_s)],
    ["Epoch", number(run.epoch, 4)], ["Step", run.steps ? `${run.step} / ${run.steps}` : String(run.step)]];
  return make("article", {class: "card tile", "data-run": run.id},
    make("div", {class: "row"}, make("span", {class: "slot"}, run.device || run.backend || "device"), chip(run.state), healthLight(run),
      make("span", {class: "grow"}), make("span", {class: "quiet small"}, run.phase || "")),
    make("div", {class: "tile-body"}, ring(run, 84), make("div", {class: "tile-text"},
      make("h3", {}, swatch(run.id), make("a", {href: `#/${run.id}`}, run.name)),
      make("p", {class: "quiet small"}, `${run.id} · ${run.kind} · ${run.user}`),
      make("dl", {class: "facts tight"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))))),
    sparks.element(run.id, 240, 36),
    deadlineText(run) ? make("p", {class: "note"}, deadlineText(run)) : null,
    make("div", {class: "row"}, commandButtons(run, who, onDone)));
}

function waitingRow(run, n) {
  return make("li", {}, make("span", {class: "place"}, String(n)), make("span", {class: "grow"}, make("a", {href: `#/${run.id}`}, run.name),
    make("span", {class: "quiet small block"}, run.pending?.text || run.reason_text || `priority ${run.priority}, waits for a free device`)), chip(run.state));
}

export async function overviewPage({who, fail}) {
  const parts = Object.fromEntries(["slots", "queue", "events", "server"].map((name) => [name, make("div", {})]));
  parts.slots.className = "slots";
  const sparks = new Sparks();
  let queue = {active: [], waiting: [], parked: []}, events = [], names = new Map(), diskTimer = 0;

  const element = make("div", {class: "overview"}, make("h1", {class: "visually-hidden"}, "Overview"), make("div", {class: "overview-columns"},
    make("div", {}, make("section", {"aria-labelledby": "o-slots"}, make("h2", {id: "o-slots"}, "Running"), parts.slots),
      make("section", {class: "card", "aria-labelledby": "o-queue"}, make("div", {class: "row"}, make("h2", {id: "o-queue"}, "Next"),
        make("span", {class: "grow"}), make("a", {href: "#/queue"}, "Queue")), parts.queue)),
    make("div", {}, make("section", {class: "card", "aria-labelledby": "o-server"}, make("h2", {id: "o-server"}, "Server"), parts.server),
      make("section", {class: "card", "aria-labelledby": "o-events"}, make("h2", {id: "o-events"}, "Recent events"), parts.events))));

  function showSlots() {
    parts.slots.replaceChildren(...(queue.active.length ? queue.active.map((run) => tile(run, who, sparks, () => load().catch(fail)))
      : [make("div", {class: "card"}, empty("Nothing runs. ", make("a", {href: "#/new"}, "Submit a run")))]));
    sparks.want(queue.active);
  }

  function showQueue() {
    const some = queue.waiting.slice(0, QUEUE_HEAD), more = queue.waiting.length - some.length;
    parts.queue.replaceChildren(some.length ? make("ol", {class: "plain-list"}, some.map((run, i) => waitingRow(run, i + 1))) : empty("Nothing waits."),
      more > 0 ? make("p", {class: "quiet small"}, `and ${more} more`) : "",
      queue.parked.length ? make("p", {class: "quiet small"}, `${queue.parked.length} held or paused`) : "");
  }

  const showEvents = () => parts.events.replaceChildren(events.length ? eventList(events, names) : empty("Nothing yet."));

  async function loadEvents() {
    const recent = (await get("/v1/runs" + query({sort: "-updated", limit: EVENT_RUNS}))).items;
    names = new Map(recent.map((run) => [run.id, run.name]));
    const lists = await Promise.all(recent.map((run) => get(`/v1/runs/${run.id}/events?limit=1000`)));
    events = lists.flatMap((list) => list.items).sort((a, b) => b.id - a.id).slice(0, EVENTS);
    showEvents();
  }

  async function loadServer() {
    const text = await getText("/metrics");
    const free = gauge(text, "ijepad_disk_free_bytes"), up = Date.now() / 1000 - gauge(text, "process_start_time_seconds");
    const states = (state) => Number((text.match(new RegExp(`ijepad_runs\\{state="${state}"\\} (\\d+)`)) || [])[1] || 0);
    const facts = [["Room on the disk", bytes(free)], ["Memory of the daemon", bytes(gauge(text, "process_resident_memory_bytes"))],
      ["Up for", duration(up)], ["Rate of all runs", `${number(gauge(text, "ijepad_train_images_per_second"))} images/s`],
      ["Succeeded", states("succeeded")], ["Failed", states("failed") + states("quarantined")]];
    parts.server.replaceChildren(make("dl", {class: "facts"}, facts.map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))));
  }

  async function load() {
    queue = await get("/v1/queue");
    showSlots();
    showQueue();
  }
  const loadSoon = later(() => load().catch(fail), 300);
  const slotsSoon = later(showSlots, 100);
  await Promise.all([load(), loadEvents(), loadServer()]);
  diskTimer = setInterval(() => { if (!document.hidden) loadServer().catch(() => {}); }, DISK_MS);

  return {title: "Overview", element,
    onEvent(type, data, id) {
      const run = queue.active.find((one) => one.id === data.run);
      if (type === "metric.frame") sparks.frame(data);
      else if (type === "run.progress") {
        if (run) slotsSoon(patchRun(run, data));
      } else {
        if (id) events = [{id, run: data.run, type, data, time: new Date().toISOString()}, ...events].slice(0, EVENTS);
        if (!names.has(data.run)) loadEvents().catch(fail);
        showEvents();
        loadSoon();
      }
    },
    refresh: () => Promise.all([load(), loadEvents(), loadServer()]).catch(fail),
    close() {
      clearInterval(diskTimer);
      loadSoon.cancel();
      slotsSoon.cancel();
    }};
}
