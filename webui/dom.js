/* Elements and texts. Text only ever arrives through textContent: nothing from a run becomes markup. */

/* make("td", {class: "number"}, "12", child) */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

export const find = (id) => document.getElementById(id);

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function number(value, digits = 3) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(digits - 1);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024;
    i++;
  }
  return `${i ? value.toFixed(1) : value} ${units[i]}`;
}

export const time = (text) => (text ? new Date(text).toLocaleString() : "–");

/* state -> [colour class, sign]: never colour alone. */
const STATES = {
  held: ["idle", "‖"], queued: ["idle", "…"], starting: ["busy", "▸"], running: ["busy", "▶"], pausing: ["warn", "‖"],
  paused: ["warn", "‖"], stopping: ["warn", "■"], backoff: ["warn", "↻"], succeeded: ["good", "✓"], failed: ["bad", "✗"],
  canceled: ["idle", "■"], quarantined: ["bad", "!"],
};

export const ended = (state) => ["succeeded", "failed", "canceled", "quarantined"].includes(state);

export function chip(state) {
  const [colour, sign] = STATES[state] || ["idle", "?"];
  return make("span", {class: `chip ${colour}`}, `${sign} ${state}`);
}

let toastTimer = 0;

export function toast(text) {
  const box = find("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 7000);
}
