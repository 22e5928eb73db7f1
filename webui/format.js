/* Numbers, times and sizes as people read them. */

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

/* 1234567 as 1,234,567; by hand, as the browser's own tables of languages take longer to load than a page to draw. */
export const grouped = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");

export function number(value, digits = 3) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-3) return value.toExponential(digits - 1).replace(/\.?0*e\+?/, "e");
  return size >= 1000 ? grouped(value) : String(Number(value.toPrecision(digits)));
}

function scaled(value, base, units) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  let i = 0;
  while (value >= base && i < units.length - 1) {
    value /= base;
    i++;
  }
  return `${i ? Number(value.toPrecision(3)) : value} ${units[i]}`.trim();
}

export const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const count = (value) => scaled(value, 1000, ["", "k", "M", "G", "T", "P"]);
export const percent = (share) => (share === null || share === undefined ? "–"
  : share > 0 && share < 0.01 ? "<1 %" : `${Math.floor(share * 100)} %`);

const two = (value) => String(value).padStart(2, "0");
const clockOf = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");

/* Local time, "2026-11-30 09:27:10" and "09:27:10". */
export function time(text) {
  const at = new Date(text || NaN);
  return isNaN(at) ? "–" : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clockOf(at)}`;
}

export const clock = (text) => clockOf(new Date(text));
export const seconds = (text) => (Date.now() - Date.parse(text)) / 1000;

/* "3 min ago" */
export function ago(text) {
  if (!text) return "–";
  const s = seconds(text);
  if (s < 5) return "just now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

/* A parameter's value in one line. */
export function plain(value) {
  if (value === undefined || value === null || value === "") return "–";
  if (Array.isArray(value)) return value.map(plain).join(" … ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
}
