/* The devices that runs are given: host slots and GPUs; who is on them, what is wrong with them, cordons. */
import {get, send} from "./api.js";
import {swatch} from "./colours.js";
import {askText} from "./dialog.js";
import {announce, button, empty, later, make, makeSvg, simpleTable, toast} from "./dom.js";
import {ago, bytes, number, percent, time} from "./format.js";
import {Trends} from "./gpu_trend.js";
import {drawCurve} from "./spark.js";
import {sign} from "./states.js";

const EVERY_MS = 5000, CURVE = {width: 160, height: 28};
const WHY = {label: "Why (everybody sees it)", maxlength: 200};
const STATES = {free: ["good", "check"], held: ["busy", "play"], cordoned: ["warn", "pause"], foreign: ["warn", "alert"],
  faulted: ["bad", "cross"], unknown: ["warn", "alert"], gone: ["idle", "stop"]};

export const deviceName = (device) => (device.kind === "host" ? `Host slot ${device.index}` : `GPU ${device.index}`);

export function deviceChip(device) {
  const [colour, name] = STATES[device.state] || ["idle", "alert"];
  return make("span", {class: `chip ${colour}`}, sign(name), device.state);
}

/* values: the last minutes, low to high being `range`; nothing where there are too few. */
function curve(name, values, range) {
  if (values.length < 2) return null;
  const svg = makeSvg("svg", {viewBox: `0 0 ${CURVE.width} ${CURVE.height}`, class: "spark", role: "img", preserveAspectRatio: "none",
    "aria-label": `${name}, last 15 minutes`});
  return drawCurve(svg, values, {...CURVE, ...range});
}

/* A share of something as a bar with its words, its last minutes below; nothing where it is not known. fills: much of it is bad. */
export function meter(name, share, text, {trend = null, fills = false} = {}) {
  if (share === null || share === undefined || !isFinite(share)) return null;
  const filled = make("span", {class: "meter-filled"});
  filled.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("div", {class: "meter"}, make("span", {class: "quiet small"}, name), make("span", {class: "small number"}, text),
    make("span", {class: `meter-track${fills && share > 0.92 ? " full" : ""}`, role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 1,
      "aria-valuenow": share.toFixed(3), "aria-valuetext": text}, filled), trend);
}

/* trends: of all GPUs, or null. */
export function deviceMeters(device, trends = null) {
  const {memory_used_bytes: used, memory_bytes: all, power_w: power, power_limit_w: limit} = device;
  const trend = (name, key, high) => (trends ? curve(name, trends.of(device, key), {low: 0, high}) : null);
  return [meter("Busy", device.utilization_ratio, percent(device.utilization_ratio), {trend: trend("Busy", "utilization_ratio", 1)}),
    used === null || used === undefined ? null : meter("Memory", used / all, `${bytes(used)} of ${bytes(all)}`, {trend: trend("Memory", "memory_used_bytes", all), fills: true}),
    power ? meter("Power", limit ? power / limit : NaN, `${number(power)} of ${number(limit)} W`, {trend: trend("Power", "power_w", limit || undefined)}) : null];
}

function warnings(device) {
  const {cordon} = device;
  return [cordon ? make("p", {class: "note"}, `Cordoned by ${cordon.by} `, make("time", {datetime: cordon.since, title: time(cordon.since)}, ago(cordon.since)),
    `: ${cordon.reason}`) : null,
  device.trouble ? make("p", {class: "note bad-note"}, device.trouble) : null];
}

function processes(device) {
  if (!device.foreign?.length) return null;
  return make("div", {}, make("h3", {}, "Somebody else's processes"), simpleTable([["PID", "number"], "Program", ["Memory", "number"]],
    device.foreign.map((one) => [String(one.pid), one.command || "–", bytes(one.memory_bytes)]), "Processes that are no worker of ours"));
}

function xids(device) {
  if (!device.xids?.length) return null;
  return make("div", {}, make("h3", {}, "Errors told by the driver"), simpleTable([["Xid", "number"], "What", ["Times", "number"], "Last"], device.xids.map((one) =>
    [String(one.xid), `${one.text} (${one.class})`, String(one.count), make("time", {datetime: one.last, title: time(one.last)}, ago(one.last))]), "Xids since the daemon's start"));
}

function card(device, {names, who, onDone, trends}) {
  const facts = [["Temperature", device.temperature_c ? `${number(device.temperature_c)} °C` : null], ["Clock", device.clock_mhz ? `${number(device.clock_mhz)} MHz` : null],
    ["Power", device.power_w && !device.power_limit_w ? `${number(device.power_w)} W` : null], ["Compute", device.compute], ["Memory errors", device.ecc_uncorrected === null || device.ecc_uncorrected === undefined ? null : String(device.ecc_uncorrected)],
    ["Memory", device.memory_used_bytes === null && device.memory_bytes ? bytes(device.memory_bytes) : null]].filter(([, value]) => value);
  const may = who.role === "operator" || who.role === "admin";
  return make("article", {class: "card tile", "data-device": device.id, "aria-label": deviceName(device)},
    make("div", {class: "row"}, make("h2", {}, deviceName(device)), deviceChip(device), make("span", {class: "grow"}),
      may && device.state !== "gone" ? device.cordon ? button("Use again", () => uncordon(device, onDone), "plain", {"data-verb": "uncordon"})
        : button("Cordon", () => cordon(device, names, onDone), "plain", {"data-verb": "cordon", title: "Give it to no new run"}) : null),
    make("p", {class: "quiet small wrap"}, [...new Set([device.name, device.id])].filter(Boolean).join(" · ")),
    device.run ? make("p", {}, swatch(device.run), make("a", {href: `#/${device.run}`}, names.get(device.run) || device.run)) : null,
    warnings(device), make("div", {class: "meters"}, deviceMeters(device, trends)),
    facts.length ? make("dl", {class: "facts"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null, processes(device), xids(device));
}

async function told(promise, text, onDone) {
  try {
    await promise;
    announce(text);
    await onDone();
  } catch (error) {
    toast(error.message);
  }
}

async function cordon(device, names, onDone) {
  const run = device.run && (names.get(device.run) || device.run), goesOn = run ? ` ${run} goes on to its end, or saves and waits again in front.` : "";
  const answer = await askText(`Cordon ${deviceName(device)}?`, `No new run is given it until it is taken into use again.${goesOn}`, WHY,
    [`Cordon ${deviceName(device)}`, "", "yes"], ...(run ? [[`Cordon and move ${run}`, "danger", "evict"]] : []));
  if (answer) await told(send("POST", `/v1/gpus/${device.id}/cordon`, {reason: answer.text, evict: answer.answer === "evict"}), `${deviceName(device)} is cordoned`, onDone);
}

const uncordon = (device, onDone) => told(send("POST", `/v1/gpus/${device.id}/uncordon`), `${deviceName(device)} is in use again`, onDone);

export const loadDevices = async () => (await get("/v1/gpus")).items;

/* For maintenance: what runs goes on, nothing new is started. */
async function drain(onDone) {
  const answer = await askText("Drain this machine?", "What runs goes on to its end. Nothing new is started, also after a restart, until the machine is taken into use again; submissions wait.",
    WHY, ["Drain the machine", "", "yes"]);
  if (answer) await told(send("POST", "/v1/admin/drain", {reason: answer.text}), "The machine is drained", onDone);
}

/* [button for the head, note] */
function drained(status, who, onDone) {
  const {drained: about} = status, may = who.role === "operator" || who.role === "admin";
  return [may ? about ? button("Take up work", () => told(send("POST", "/v1/admin/undrain"), "The machine takes up work", onDone), "", {"data-verb": "undrain"})
    : button("Drain", () => drain(onDone), "plain", {"data-verb": "drain", title: "Let the machine run empty"}) : make("span", {}),
  make("p", {class: "note", hidden: !about}, about ? [`Drained by ${about.by} `, make("time", {datetime: about.since, title: time(about.since)}, ago(about.since)), `: ${about.reason}. Nothing new is started.`] : "")];
}

export async function gpusPage({who, fail}) {
  const box = make("div", {class: "slots"}), sum = make("p", {class: "quiet"}), verb = make("div", {}), note = make("div", {}), trends = new Trends();
  let shown = "", drainShown = "";

  function showDrain(status) {
    if (drainShown === JSON.stringify(status.drained)) return;
    drainShown = JSON.stringify(status.drained);
    const [control, text] = drained(status, who, load);
    verb.replaceChildren(control);
    note.replaceChildren(text);
  }

  async function load() {
    const [devices, queue, status] = await Promise.all([loadDevices(), get("/v1/queue"), get("/v1/status")]);
    await trends.load(devices);
    showDrain(status);
    const names = new Map(queue.active.map((run) => [run.id, run.name])), key = JSON.stringify([devices, [...names], trends.readAt]);
    if (key === shown) return;
    shown = key;
    const focus = box.contains(document.activeElement) ? document.activeElement.closest("[data-device]")?.dataset.device : null;
    const free = devices.filter((device) => device.state === "free").length;
    sum.textContent = devices.length ? `${devices.length} in all, ${free} free.` : "";
    box.replaceChildren(...(devices.length ? devices.map((device) => card(device, {names, who, onDone: load, trends})) : [make("div", {class: "card"}, empty("This server tells of no devices."))]));
    if (focus) box.querySelector(`[data-device="${CSS.escape(focus)}"] button`)?.focus();
  }
  await load();
  const reload = later(() => load().catch(fail), 300);
  const timer = setInterval(() => { if (!document.hidden) load().catch(() => {}); }, EVERY_MS);
  return {title: "Devices", element: make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Devices"), sum, make("span", {class: "grow"}), verb), note, box),
    onEvent: (type) => { if (type !== "metric.frame" && type !== "run.progress") reload(); }, refresh: () => load().catch(fail),
    close() {
      clearInterval(timer);
      reload.cancel();
    }};
}
