/* What an evaluation found. */
import {get} from "./api.js";
import {empty, later, make, simpleTable} from "./dom.js";
import {number, plain} from "./format.js";

/* {a: {b: 1}} as [["a.b", 1]] */
function flat(value, prefix = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[prefix, value]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, prefix ? `${prefix}.${key}` : key));
}

const text = (value) => (Array.isArray(value) && value.length > 8 ? `${value.length} values`
  : Array.isArray(value) ? value.map((one) => (typeof one === "object" ? JSON.stringify(one) : plain(one))).join(", ")
    : typeof value === "number" ? number(value, 5) : plain(value));

export async function resultsTab({run, fail}) {
  const element = make("section", {class: "card"});
  async function load() {
    const {items} = await get(`/v1/runs/${run.id}/results`);
    element.replaceChildren(...(items.length ? items.flatMap((item) => [make("h2", {}, `${item.name}, step ${item.step}`),
      simpleTable(["Figure", ["Value", "number"]], flat(item.result).map(([key, value]) => [key, text(value)]), item.name)]) : [empty("No result yet.")]));
  }
  const reload = later(() => load().catch(fail), 300);
  await load();
  return {element, onEvent: (type) => { if (type === "run.result" || type === "run.state") reload(); }, refresh: reload, close: () => reload.cancel()};
}
