/*
 * What an evaluation found, of any kind: its figures side by side (a trained encoder, a random one), figures by class,
 * confusion, lists as tables; what it was made from is folded away below.
 */
import {get} from "./api.js";
import {empty, later, make, simpleTable} from "./dom.js";
import {number, plain} from "./format.js";

const MADE_FROM = ["kind", "checkpoint", "checkpoint_sha256", "model", "data", "seed", "seeds", "repeats", "build", "backend", "precision", "threads", "folder", "files", "bank", "grid", "crop", "epochs"];
const NAMES = {top1: "Top-1", top5: "Top-5", top1_error: "Standard error of top-1", top1_std: "Deviation over seeds", mean_per_class: "Mean over classes", loss: "Loss", pred_depth: "Predictor depth",
  images_per_s: "Images per second", gflop_per_image: "GFLOP per image", gflops: "GFLOP/s", gbytes_s: "GB/s", us: "Microseconds", list_s: "Listed in, s", check_s: "Checked in, s"};
/* Of a benchmark: what was asked for, below what came of it. */
const ASKED = ["width", "depth", "pred_depth", "crop", "patch", "batch", "threads", "steps", "warmup"];
const ROWS_MAX = 200;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isList = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);
const isMatrix = (value) => Array.isArray(value) && value.length > 1 && value.every((row) => Array.isArray(row) && row.length === value.length && row.every((one) => typeof one === "number"));
const nameOf = (key) => NAMES[key] || key.replaceAll("_", " ").replaceAll(".", ", ");
const headOf = (key) => nameOf(key)[0].toUpperCase() + nameOf(key).slice(1);

const text = (value) => (Array.isArray(value) && value.length > 8 ? `${value.length} values`
  : Array.isArray(value) ? value.map((one) => (typeof one === "object" ? JSON.stringify(one) : plain(one))).join(", ")
    : typeof value === "number" ? number(value, 5) : plain(value));

/* {a: {b: 1}} as [["a.b", 1]] */
function flat(value, prefix = "") {
  if (!isObject(value)) return [[prefix, value]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, prefix ? `${prefix}.${key}` : key));
}

/* Objects that hold nothing but groups, like the splits of a dataset: each of them is a group. */
const groupsIn = (value) => (isObject(value) && Object.values(value).every((one) => one === null || isObject(one))
  ? Object.entries(value).filter(([, one]) => one && Object.values(one).some((inner) => typeof inner === "number")) : []);

/* {figures: numbers, groups: objects with numbers, lists: arrays of objects, rest}, each [[key, value], ...] */
function parts(result) {
  const found = {figures: [], groups: [], lists: [], rest: []};
  for (const [key, value] of Object.entries(result)) {
    const inner = MADE_FROM.includes(key) ? [] : groupsIn(value);
    if (inner.length) {
      found.groups.push(...inner.map(([name, group]) => [name, Object.fromEntries(flat(group))]));
      continue;
    }
    const kind = MADE_FROM.includes(key) ? "rest" : typeof value === "number" ? "figures" : isList(value) ? "lists"
      : isObject(value) && Object.values(value).some((one) => typeof one === "number") ? "groups" : "rest";
    found[kind].push([key, value]);
  }
  /* Groups that have a figure in common were measured alike; beside them, the others are settings. */
  const alike = found.groups.filter(([name, group]) => found.groups.some(([other, beside]) => other !== name && Object.keys(group).some((key) => typeof group[key] === "number" && typeof beside[key] === "number")));
  if (alike.length) {
    found.rest.push(...found.groups.filter((group) => !alike.includes(group)));
    found.groups = alike;
  }
  return found;
}

/* One row per figure, one column per group that has it. */
function figureTable({figures, groups}) {
  const keys = [...new Set(groups.flatMap(([, group]) => Object.keys(group).filter((key) => typeof group[key] === "number")))].sort((a, b) => ASKED.includes(a) - ASKED.includes(b));
  const twice = figures.filter(([key, value]) => !groups.some(([, group]) => group[key] === value));
  return [twice.length ? make("dl", {class: "facts big-facts"}, twice.map(([key, value]) => make("div", {}, make("dt", {}, headOf(key)), make("dd", {}, text(value))))) : null,
    keys.length ? simpleTable(["Figure", ...groups.map(([name]) => [headOf(name), "number"])],
      keys.map((key) => [headOf(key), ...groups.map(([, group]) => (typeof group[key] === "number" ? text(group[key]) : "–"))]), "Figures") : null];
}

function classTable(groups, classes) {
  const has = groups.filter(([, group]) => Array.isArray(group.per_class) && group.per_class.length === classes?.length);
  if (!has.length) return null;
  const cell = (share) => make("span", {class: "bar-cell"}, make("progress", {max: "1", value: String(share || 0), "aria-label": "share that was right"}), make("span", {class: "quiet small"}, number(share)));
  return [make("h3", {}, "By class"), simpleTable(["Class", ...has.map(([name]) => headOf(name))], classes.map((name, i) => [String(name), ...has.map(([, group]) => cell(group.per_class[i]))]), "By class")];
}

/* Rows are what it was, columns what it was taken for; the darker, the more of the row. */
function confusionTable([name, group], classes) {
  if (!isMatrix(group.confusion)) return null;
  const label = (i) => String(classes?.[i] ?? i), rows = group.confusion.map((row, i) => {
    const all = row.reduce((sum, one) => sum + one, 0) || 1;
    return [make("b", {}, label(i)), ...row.map((one) => {
      const cell = make("span", {class: "heat"}, String(one));
      cell.style.setProperty("--share", `${Math.round(one / all * 70)}%`);
      return cell;
    })];
  });
  return make("details", {}, make("summary", {}, `Confusion, ${nameOf(name)}`), make("div", {class: "confusion"}, simpleTable(["Was", ...group.confusion.map((_, i) => [label(i), "number"])], rows, `Confusion, ${nameOf(name)}`)));
}

function listTable(name, list) {
  const simple = (value) => value === null || typeof value !== "object", keys = [...new Set(list.slice(0, ROWS_MAX).flatMap((row) => Object.keys(row).filter((key) => simple(row[key]))))];
  if (keys.length < 2) return null;
  const numeric = (key) => list.some((row) => typeof row[key] === "number");
  return make("details", {open: list.length <= 12}, make("summary", {}, `${headOf(name)}, ${list.length}`), simpleTable(keys.map((key) => [headOf(key), numeric(key) ? "number" : ""]),
    list.slice(0, ROWS_MAX).map((row) => keys.map((key) => text(row[key]))), headOf(name)),
  list.length > ROWS_MAX ? make("p", {class: "quiet small"}, `The first ${ROWS_MAX} of ${list.length}.`) : null);
}

function resultCard(item) {
  const found = parts(item.result), classes = item.result.data?.classes;
  const lists = [...found.lists, ...found.groups.flatMap(([name, group]) => Object.entries(group).filter(([, value]) => isList(value)).map(([key, value]) => [`${name}: ${key}`, value]))];
  return make("section", {class: "card result", "aria-label": item.name}, make("div", {class: "row"}, make("h2", {}, headOf(item.name)), make("span", {class: "quiet small"}, `step ${item.step}`)),
    make("div", {class: "result-columns"}, make("div", {}, figureTable(found)), make("div", {}, classTable(found.groups, classes))), found.groups.map((group) => confusionTable(group, classes)), lists.map(([name, list]) => listTable(name, list)),
    found.rest.length ? make("details", {}, make("summary", {}, "What it was made from"), simpleTable(["Key", "Value"], found.rest.flatMap(([key, value]) => flat(value, key)).map(([key, value]) =>
      [key, make("span", {class: "wrap"}, text(value))]), "What it was made from")) : null);
}

export async function resultsTab({run, fail}) {
  const element = make("div", {});
  async function load() {
    const {items} = await get(`/v1/runs/${run.id}/results`);
    element.replaceChildren(...(items.length ? items.map(resultCard) : [make("section", {class: "card"}, empty("No result yet. It comes at the end of the run."))]));
  }
  const reload = later(() => load().catch(fail), 300);
  await load();
  return {element, onEvent: (type) => { if (type === "run.result" || type === "run.state") reload(); }, refresh: reload, close: () => reload.cancel()};
}
