/* The overview: what each device does, what waits and why, what happened, what needs somebody, how much room is left. */
import {get, getText, query} from "./api.js";
import {swatch} from "./colours.js";
import {commandButtons} from "./command.js";
import {diskGauge, gauge} from "./disk.js";
import {empty, later, make, simpleTable} from "./dom.js";
import {eventList} from "./events.js";
import {ago, bytes, duration, number, seconds, time} from "./format.js";
import {Trends} from "./gpu_trend.js";
import {deviceChip, deviceMeters, deviceName, loadDevices} from "./gpus.js";
import {healthLight} from "./health.js";
import {chip, deadlineText, ended, patchRun, ring, sign} from "./states.js";
import {Sparks} from "./spark.js";

const EVENT_RUNS = 8, EVENTS = 10, ENDED = 6, QUEUE_HEAD = 6, SERVER_MS = 30000, DEVICES_MS = 5000, ALERT_S = 86400, ALERTS = 5;

function runParts(run, who, sparks, onDone) {
  const facts = [["Rate", run.images_per_s ? `${number(run.images_per_s)}/s` : "–"], ["Left", duration(run.eta_s)],
    ["Epoch", number(run.epoch, 4)], ["Step", run.steps ? `${run.step} / ${run.steps}` : String(run.step)]];
  return [make("div", {class: "tile-body"}, ring(run, 84), make("div", {class: "tile-text"},
    make("h3", {}, swatch(run.id), make("a", {href: `#/${run.id}`}, run.name)),
    make("p", {class: "quiet small"}, `${run.id} · ${run.kind} · ${run.user}`),
    make("dl", {class: "facts tight"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))))),
  sparks.element(run.id, 240, 36),
  deadlineText(run) ? make("p", {class: "note"}, deadlineText(run)) : null,
  make("div", {class: "row"}, commandButtons(run, who, onDone))];
}

/* device: null where the server tells of none; run: null where nothing has it. */
function tile(device, run, {who, sparks, trends, onDone}) {
  return make("article", {class: "card tile", "data-run": run?.id, "data-device": device?.id, "aria-label": device ? deviceName(device) : run.name},
    make("div", {class: "row"}, make("span", {class: "slot"}, device ? make("a", {href: "#/gpus"}, deviceName(device)) : run.device || run.backend || "device"),
      run ? [chip(run.state), healthLight(run)] : deviceChip(device), make("span", {class: "grow"}), make("span", {class: "quiet small"}, run?.phase || "")),
    run ? runParts(run, who, sparks, onDone) : make("p", {class: "quiet"}, {free: "Waits for a run.", cordoned: device.cordon?.reason, faulted: device.trouble,
      foreign: `In use by ${device.foreign?.[0]?.command || "another process"}.`}[device.state] || ""),
    device?.kind === "gpu" ? make("div", {class: "meters"}, deviceMeters(device, trends)) : null);
}

/* What needs somebody: [level, text, address]. */
function alertsOf(failed, devices) {
  return [...devices.filter((device) => device.trouble).map((device) => ["bad", `${deviceName(device)}: ${device.trouble}`, "#/gpus"]),
    ...devices.filter((device) => device.state === "foreign").map((device) => ["warn", `${deviceName(device)} is used by somebody else's process.`, "#/gpus"]),
    ...failed.filter((run) => seconds(run.finished || run.updated) < ALERT_S).slice(0, ALERTS).map((run) =>
      ["bad", `${run.name} ${run.state} ${ago(run.finished || run.updated)}: ${run.reason_text || run.reason || "no reason is known"}`, `#/${run.id}`])];
}

function waitingRow(run, n) {
  return make("li", {}, make("span", {class: "place"}, String(n)), make("span", {class: "grow"}, make("a", {href: `#/${run.id}`}, run.name),
    make("span", {class: "quiet small block"}, run.pending?.text || run.reason_text || `priority ${run.priority}, waits for a free device`)), chip(run.state));
}

/* What was found while nobody looked. */
const endedTable = (runs, sparks) => simpleTable(["Run", "State", "Loss", ["k-NN", "number"], ["Took", "number"], "Ended"], runs.map((run) => [
  make("a", {href: `#/${run.id}`, class: "run-name"}, swatch(run.id), run.name), chip(run.state),
  run.kind === "pretrain" ? make("span", {class: "row loss-cell"}, make("span", {class: "loss"}, number(run.last?.["train/loss"])), sparks.element(run.id)) : make("span", {class: "quiet"}, run.kind),
  number(run.last?.["ssl/probe/knn_top1"]), run.started ? duration((Date.parse(run.finished || run.updated) - Date.parse(run.started)) / 1000) : "–",
  make("time", {datetime: run.finished || run.updated, title: time(run.finished || run.updated)}, ago(run.finished || run.updated))]), "Ended last");

export async function overviewPage({who, fail}) {
  const parts = Object.fromEntries(["alerts", "slots", "queue", "ended", "events", "server"].map((name) => [name, make("div", {})]));
  parts.slots.className = "slots";
  const sparks = new Sparks(), past = new Sparks(), trends = new Trends();
  let queue = {active: [], waiting: [], parked: []}, devices = [], failed = [], events = [], names = new Map();

  const element = make("div", {class: "overview"}, make("h1", {class: "visually-hidden"}, "Overview"), parts.alerts, make("div", {class: "overview-columns"},
    make("div", {}, make("section", {"aria-labelledby": "o-slots"}, make("h2", {id: "o-slots"}, "Devices"), parts.slots),
      make("section", {class: "card", "aria-labelledby": "o-queue"}, make("div", {class: "row"}, make("h2", {id: "o-queue"}, "Next"),
        make("span", {class: "grow"}), make("a", {href: "#/queue"}, "Queue")), parts.queue),
      make("section", {class: "card", "aria-labelledby": "o-ended"}, make("div", {class: "row"}, make("h2", {id: "o-ended"}, "Ended last"), make("span", {class: "grow"}),
        make("a", {href: "#/runs?sort=-updated"}, "Runs")), parts.ended)),
    make("div", {}, make("section", {class: "card", "aria-labelledby": "o-server"}, make("h2", {id: "o-server"}, "Server"), parts.server),
      make("section", {class: "card", "aria-labelledby": "o-events"}, make("h2", {id: "o-events"}, "Recent events"), parts.events))));

  const sharesOf = (run) => devices.filter((device) => device.run === run.id).length;

  function showSlots() {
    const onDone = () => load().catch(fail), byRun = new Map(queue.active.map((run) => [run.id, run])), shown = new Set();
    const tiles = devices.filter((device) => device.state !== "gone" || device.run).flatMap((device) => {
      const run = byRun.get(device.run);
      if (run && shown.has(run.id)) return [];
      if (run) shown.add(run.id);
      const one = tile(device, run, {who, sparks, trends, onDone}), more = run ? sharesOf(run) - 1 : 0;
      if (more > 0) one.querySelector(".slot").append(` and ${more} more`);
      return [one];
    });
    const others = queue.active.filter((run) => !shown.has(run.id)).map((run) => tile(null, run, {who, sparks, trends, onDone}));
    parts.slots.replaceChildren(...(tiles.length + others.length ? [...tiles, ...others]
      : [make("div", {class: "card"}, empty("Nothing runs. ", make("a", {href: "#/new"}, "Submit a run")))]));
    sparks.want(queue.active);
  }

  function showAlerts() {
    const alerts = alertsOf(failed, devices);
    parts.alerts.className = alerts.length ? "alerts card" : "";
    parts.alerts.replaceChildren(...(alerts.length ? [make("h2", {}, "Needs a look"), make("ul", {class: "plain-list"}, alerts.map(([level, text, address]) =>
      make("li", {}, make("span", {class: level}, sign(level === "bad" ? "cross" : "alert")), make("a", {href: address, class: "wrap"}, text))))] : []));
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
    const over = recent.filter((run) => ended(run.state)).slice(0, ENDED);
    parts.ended.replaceChildren(over.length ? endedTable(over, past) : empty("Nothing has ended yet."));
    past.want(over.filter((run) => run.kind === "pretrain"));
    const lists = await Promise.all(recent.map((run) => get(`/v1/runs/${run.id}/events?limit=1000`)));
    events = lists.flatMap((list) => list.items).sort((a, b) => b.id - a.id).slice(0, EVENTS);
    showEvents();
  }

  async function loadServer() {
    const text = await getText("/metrics"), up = Date.now() / 1000 - gauge(text, "process_start_time_seconds");
    const states = (state) => Number((text.match(new RegExp(`ijepad_runs\\{state="${state}"\\} (\\d+)`)) || [])[1] || 0);
    const facts = [["Rate of all runs", `${number(gauge(text, "ijepad_train_images_per_second"))} images/s`], ["Up for", duration(up)],
      ["Succeeded", states("succeeded")], ["Failed", states("failed") + states("quarantined")], ["Memory of the daemon", bytes(gauge(text, "process_resident_memory_bytes"))]];
    parts.server.replaceChildren(...diskGauge(text), make("dl", {class: "facts"}, facts.map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, String(value))))));
  }

  async function loadDevicesAgain() {
    devices = await loadDevices();
    await trends.load(devices);
    showSlots();
    showAlerts();
  }

  async function load() {
    [queue, devices, failed] = await Promise.all([get("/v1/queue"), loadDevices(),
      get("/v1/runs" + query({state: "failed,quarantined", sort: "-updated", limit: ALERTS})).then((page) => page.items)]);
    await trends.load(devices);
    showSlots();
    showAlerts();
    showQueue();
  }
  const loadSoon = later(() => load().catch(fail), 300);
  const eventsSoon = later(() => loadEvents().catch(fail), 500);
  const slotsSoon = later(showSlots, 100);
  await Promise.all([load(), loadEvents(), loadServer()]);
  const every = (run, ms) => setInterval(() => { if (!document.hidden) run().catch(() => {}); }, ms);
  const timers = [every(loadServer, SERVER_MS), ...(devices.some((device) => device.kind === "gpu") ? [every(loadDevicesAgain, DEVICES_MS)] : [])];

  return {title: "Overview", element,
    onEvent(type, data, id) {
      const run = queue.active.find((one) => one.id === data.run);
      if (type === "metric.frame") sparks.frame(data);
      else if (type === "run.progress") {
        if (run) slotsSoon(patchRun(run, data));
      } else {
        if (id) events = [{id, run: data.run, type, data, time: new Date().toISOString()}, ...events].slice(0, EVENTS);
        if (!names.has(data.run) || (type === "run.state" && ended(data.state))) eventsSoon();
        showEvents();
        loadSoon();
      }
    },
    refresh: () => Promise.all([load(), loadEvents(), loadServer()]).catch(fail),
    close() {
      timers.forEach(clearInterval);
      loadSoon.cancel();
      slotsSoon.cancel();
      eventsSoon.cancel();
    }};
}
