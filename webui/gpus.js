/* The devices that runs are given: host slots and GPUs; who is on them, what is wrong with them, cordons. */
import {get, send} from "./api.js";
import {swatch} from "./colours.js";
import {askText} from "./dialog.js";
import {announce, button, empty, later, make, simpleTable, toast} from "./dom.js";
import {ago, bytes, number, percent, time} from "./format.js";
import {sign} from "./states.js";

const EVERY_MS = 5000;
const STATES = {free: ["good", "check"], held: ["busy", "play"], cordoned: ["warn", "pause"], foreign: ["warn", "alert"],
  faulted: ["bad", "cross"], gone: ["idle", "stop"]};

export const deviceName = (device) => (device.kind === "host" ? `Host slot ${device.index}` : `GPU ${device.index}`);

export function deviceChip(device) {
  const [colour, name] = STATES[device.state] || ["idle", "alert"];
  return make("span", {class: `chip ${colour}`}, sign(name), device.state);
}

/* A share of something as a bar with its words; nothing where it is not known. */
export function meter(name, share, text) {
  if (share === null || share === undefined || !isFinite(share)) return null;
  const filled = make("span", {class: "meter-filled"});
  filled.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return make("div", {class: "meter"}, make("span", {class: "quiet small"}, name), make("span", {class: "small number"}, text),
    make("span", {class: `meter-track${share > 0.92 ? " full" : ""}`, role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 1,
      "aria-valuenow": share.toFixed(3), "aria-valuetext": text}, filled));
}

export function deviceMeters(device) {
  const {memory_used_bytes: used, memory_bytes: all, power_w: power, power_limit_w: limit} = device;
  return [meter("Busy", device.utilization_ratio, percent(device.utilization_ratio)),
    used === null || used === undefined ? null : meter("Memory", used / all, `${bytes(used)} of ${bytes(all)}`),
    power ? meter("Power", limit ? power / limit : NaN, `${number(power)} of ${number(limit)} W`) : null];
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

function card(device, names, who, onDone) {
  const facts = [["Temperature", device.temperature_c ? `${number(device.temperature_c)} °C` : null], ["Clock", device.clock_mhz ? `${number(device.clock_mhz)} MHz` : null],
    ["Compute", device.compute], ["Memory errors", device.ecc_uncorrected === null || device.ecc_uncorrected === undefined ? null : String(device.ecc_uncorrected)],
    ["Memory", device.memory_used_bytes === null && device.memory_bytes ? bytes(device.memory_bytes) : null]].filter(([, value]) => value);
  const may = who.role === "operator" || who.role === "admin";
  return make("article", {class: "card tile", "data-device": device.id, "aria-label": deviceName(device)},
    make("div", {class: "row"}, make("h2", {}, deviceName(device)), deviceChip(device), make("span", {class: "grow"}),
      may && device.state !== "gone" ? device.cordon ? button("Use again", () => uncordon(device, onDone), "plain", {"data-verb": "uncordon"})
        : button("Cordon", () => cordon(device, names, onDone), "plain", {"data-verb": "cordon", title: "Give it to no new run"}) : null),
    make("p", {class: "quiet small wrap"}, [...new Set([device.name, device.id])].filter(Boolean).join(" · ")),
    device.run ? make("p", {}, swatch(device.run), make("a", {href: `#/${device.run}`}, names.get(device.run) || device.run)) : null,
    warnings(device), make("div", {class: "meters"}, deviceMeters(device)),
    facts.length ? make("dl", {class: "facts"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null, processes(device));
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
  const goesOn = device.run ? ` ${names.get(device.run) || device.run} goes on to its end.` : "";
  const reason = await askText(`Cordon ${deviceName(device)}?`, `No new run is given it until it is taken into use again.${goesOn}`,
    {label: "Why (everybody sees it)", verb: `Cordon ${deviceName(device)}`, maxlength: 200});
  if (reason) await told(send("POST", `/v1/gpus/${device.id}/cordon`, {reason}), `${deviceName(device)} is cordoned`, onDone);
}

const uncordon = (device, onDone) => told(send("POST", `/v1/gpus/${device.id}/uncordon`), `${deviceName(device)} is in use again`, onDone);

export const loadDevices = async () => (await get("/v1/gpus")).items;

export async function gpusPage({who, fail}) {
  const box = make("div", {class: "slots"}), sum = make("p", {class: "quiet"});
  let shown = "";

  async function load() {
    const [devices, queue] = await Promise.all([loadDevices(), get("/v1/queue")]);
    const names = new Map(queue.active.map((run) => [run.id, run.name])), key = JSON.stringify([devices, [...names]]);
    if (key === shown) return;
    shown = key;
    const focus = box.contains(document.activeElement) ? document.activeElement.closest("[data-device]")?.dataset.device : null;
    const free = devices.filter((device) => device.state === "free").length;
    sum.textContent = devices.length ? `${devices.length} in all, ${free} free.` : "";
    box.replaceChildren(...(devices.length ? devices.map((device) => card(device, names, who, load)) : [make("div", {class: "card"}, empty("This server tells of no devices."))]));
    if (focus) box.querySelector(`[data-device="${CSS.escape(focus)}"] button`)?.focus();
  }
  await load();
  const reload = later(() => load().catch(fail), 300);
  const timer = setInterval(() => { if (!document.hidden) load().catch(() => {}); }, EVERY_MS);
  return {title: "Devices", element: make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Devices"), sum), box),
    onEvent: (type) => { if (type !== "metric.frame" && type !== "run.progress") reload(); }, refresh: () => load().catch(fail),
    close() {
      clearInterval(timer);
      reload.cancel();
    }};
}
