/* Several runs over each other: first in what they differ, then their curves on one axis. */
import {get, query} from "./api.js";
import {ChartGroup} from "./chart_group.js";
import {Scatter} from "./compare_scatter.js";
import {dashOf, lineSample} from "./colours.js";
import {button, empty, later, make, simpleTable} from "./dom.js";
import {number, plain} from "./format.js";
import {inOrder, titleOf} from "./metrics.js";
import {chartRun} from "./run_charts.js";
import {chip, patchRun} from "./states.js";

const MOST = 16, CHOICES = 200, FIRST = ["train/loss", "ssl/probe/knn_top1", "ssl/rankme", "train/cosine", "train/lr", "train/images_per_s"];

const differ = (configs, key) => new Set(configs.map((config) => JSON.stringify(config[key]))).size > 1;
const keysOf = (configs) => [...new Set(configs.flatMap((config) => Object.keys(config)))];

function differences(runs, configs, all) {
  const shown = keysOf(configs).filter((key) => all || differ(configs, key));
  if (!shown.length) return empty("The configurations are the same.");
  return simpleTable(["Parameter", ...runs.map((run) => run.name)], shown.map((key) => [key,
    ...configs.map((config) => make("span", {class: differ(configs, key) ? "given" : ""}, plain(config[key])))]), "Configuration");
}

export async function comparePage({address, fail}) {
  const ids = (address.values.runs || "").split(",").filter((id) => /^r\d+$/.test(id)).slice(0, MOST);
  const [candidates, ...runs] = await Promise.all([get("/v1/runs" + query({kind: "pretrain", limit: CHOICES})), ...ids.map((id) => get(`/v1/runs/${id}`))]);
  const values = {...address.values};
  const go = (changes) => { location.hash = "#/compare" + query({...values, ...changes}); };
  const select = make("select", {"aria-label": "Add a run", onchange: (event) => go({runs: [...ids, event.target.value].join(",")})},
    make("option", {value: ""}, "Add a run …"), candidates.items.filter((run) => !ids.includes(run.id)).map((run) =>
      make("option", {value: run.id}, `${run.name} (${run.id}, ${run.state})`)));
  const chips = make("div", {class: "row"}), sample = (run) => lineSample(run.id, dashOf(runs.indexOf(run)));
  const showChips = () => chips.replaceChildren(...runs.map((run) => make("span", {class: "picked"}, sample(run),
    make("a", {href: `#/${run.id}`}, run.name), chip(run.state), button("×", () => go({runs: ids.filter((id) => id !== run.id).join(",")}), "icon",
      {"aria-label": `remove ${run.name}`}))), ids.length < MOST ? select : "");
  showChips();
  const top = make("div", {}, make("div", {class: "row page-head"}, make("h1", {}, "Compare")), make("div", {class: "card"}, chips));
  const stay = (next) => {
    if (next.name !== "compare" || next.values.runs !== address.values.runs) return false;
    return true;
  };
  if (!runs.length) return {title: "Compare", element: make("div", {}, top, empty("Choose runs here, or select them in the ", make("a", {href: "#/runs"}, "table"), "."))};

  const [configs, shapes, catalogues] = await Promise.all([Promise.all(runs.map((run) => get(`/v1/runs/${run.id}/config`))),
    Promise.all(runs.map(chartRun)), Promise.all(runs.map((run) => get(`/v1/runs/${run.id}/metrics`)))]);
  const resolved = configs.map((config) => config.resolved?.params || config.resolved || {});
  const group = new ChartGroup(shapes, {x: values.x || "step", onX: (x) => {
    values.x = x;
    history.replaceState(null, "", "#/compare" + query(values));
  }});
  const keys = inOrder(new Set(catalogues.flatMap((catalogue) => catalogue.items.map((item) => item.key))));
  let shown = (values.keys ? values.keys.split(",") : FIRST).filter((key) => keys.includes(key));

  const metricBox = make("details", {class: "pick"}, make("summary", {}, "Metrics"), make("div", {class: "pick-list"}, keys.map((key) =>
    make("label", {class: "check"}, make("input", {type: "checkbox", checked: shown.includes(key), onchange: (event) => {
      shown = event.target.checked ? [...shown, key] : shown.filter((one) => one !== key);
      values.keys = shown.join(",");
      history.replaceState(null, "", "#/compare" + query(values));
      group.setKeys(shown);
      group.fetch().catch(fail);
    }}), titleOf(key)))));
  group.element.querySelector(".toolbar").prepend(metricBox);
  const table = make("div", {});
  const showTable = (all) => table.replaceChildren(differences(runs, resolved, all));
  const allBox = make("label", {class: "check"}, make("input", {type: "checkbox", onchange: (event) => showTable(event.target.checked)}), "also what is equal");
  const figures = simpleTable(["Run", ["Step", "number"], ["Loss", "number"], ["k-NN", "number"], ["RankMe", "number"], ["Images/s", "number"]],
    runs.map((run) => [make("a", {class: "run-name row-name", href: `#/${run.id}`}, sample(run), run.name), String(run.step), number(run.last?.["train/loss"], 4), number(run.last?.["ssl/probe/knn_top1"]),
      number(run.last?.["ssl/rankme"], 4), number(run.images_per_s)]), "Newest figures");
  const scatter = runs.length > 1 ? new Scatter(runs, resolved, keysOf(resolved).filter((key) => differ(resolved, key))) : null;
  showTable(false);
  group.setKeys(shown);
  await group.fetch();

  const chipsSoon = later(showChips, 200);
  return {title: "Compare", stay, element: make("div", {}, top, make("div", {class: "two"},
    make("div", {}, make("section", {class: "card", "aria-label": "Differences"}, make("div", {class: "row"}, make("h2", {}, "Differences"), make("span", {class: "grow"}), allBox), table),
    make("section", {class: "card", "aria-label": "Newest figures"}, make("h2", {}, "Newest figures"), figures)), scatter?.element), group.element),
  onEvent(type, data) {
    const run = runs.find((one) => one.id === data.run);
    if (!run) return;
    if (type === "metric.frame") group.frame(data);
    else {
      patchRun(run, data);
      if (type === "run.state") chipsSoon();
    }
  },
  refresh: () => group.fetch().catch(fail),
  close() {
    chipsSoon.cancel();
    group.close();
  }};
}
