/* The table of runs: only the rows that can be seen are in the page; filter and order are the server's. */
import {get, query} from "./api.js";
import {swatch} from "./colours.js";
import {command, commandMany, commandWord} from "./command.js";
import {button, empty, later, make} from "./dom.js";
import {ago, duration, grouped, number, time} from "./format.js";
import {healthLight} from "./health.js";
import {kindName, NAMED_KINDS} from "./kinds.js";
import {Sparks} from "./spark.js";
import {bar, chip, commandsOf, patchRun, STATE_NAMES} from "./states.js";
import {VirtualTable} from "./virtual_table.js";

const PAGE = 200, BULK = ["pause", "resume", "hold", "release", "cancel"];
const STATES = [["", "every state"], ["live", "not ended"], ["failed,quarantined", "failed"], ...STATE_NAMES.map((name) => [name, name])];

function columns(sparks, picked, pick) {
  return [
    {title: "", name: "pick", cell: (run) => make("input", {type: "checkbox", checked: picked.has(run.id), "aria-label": `select ${run.name}`,
      onchange: () => pick(run.id)})},
    {title: "Run", name: "name", cell: (run) => [make("a", {href: `#/${run.id}`, class: "run-name"}, swatch(run.id), run.name),
      make("span", {class: "quiet small block"}, `${run.id} · ${run.kind}${run.tags?.length ? ` · ${run.tags.join(", ")}` : ""}`)]},
    {title: "State", name: "state", cell: (run) => chip(run.state)},
    {title: "Progress", name: "progress", cell: bar},
    {title: "Loss", name: "loss", wide: true, cell: (run) => [make("span", {class: "loss"}, number(run.last?.["train/loss"])), sparks.element(run.id)]},
    {title: "Health", name: "health", wide: true, cell: (run) => healthLight(run) || "–"},
    {title: "k-NN", name: "knn", wide: true, cell: (run) => number(run.last?.["ssl/probe/knn_top1"])},
    {title: "Left", name: "eta", wide: true, cell: (run) => (run.state === "running" ? duration(run.eta_s) : "–")},
    {title: "Priority", name: "priority", sort: "priority", wide: true, cell: (run) => String(run.priority)},
    {title: "Submitted", name: "created", sort: "created", wide: true, cell: (run) => make("span", {title: time(run.created)}, ago(run.created))},
  ];
}

export async function runsPage({address, who, fail}) {
  let values = {...address.values}, runs = [], cursor = null, total = 0, loading = false, again = false;
  const byId = new Map(), picked = new Set(), sparks = new Sparks();
  const title = make("h1", {}, "Runs"), bulk = make("div", {class: "row bulk", hidden: true}), none = make("div", {});
  const table = new VirtualTable({columns: columns(sparks, picked, pick), onSort: (sort) => set({sort}), onEnd: () => load(true).catch(fail),
    onShown: (shown) => sparks.want(shown.filter((run) => run.kind === "pretrain")), label: "Runs"});
  const state = make("select", {"aria-label": "State", onchange: (event) => set({state: event.target.value})},
    STATES.map(([value, text]) => make("option", {value}, text)));
  const kind = make("select", {"aria-label": "Kind", onchange: (event) => set({kind: event.target.value})},
    [["", "every kind"], ...NAMED_KINDS.map((one) => [one, kindName(one)])].map(([value, text]) => make("option", {value}, text)));
  const name = make("input", {type: "search", placeholder: "Name begins with …", "aria-label": "Name begins with",
    oninput: later(() => set({name: name.value.trim()}), 250)});
  const tag = make("input", {type: "search", placeholder: "Tag", "aria-label": "Tag", oninput: later(() => set({tag: tag.value.trim()}), 250)});

  /* The view is in the address, so it can be kept as a bookmark. */
  function set(changes) {
    values = {...values, ...changes};
    delete values.find;
    history.replaceState(null, "", "#/runs" + query(values));
    load().catch(fail);
  }

  function pick(id) {
    if (!picked.delete(id)) picked.add(id);
    showBulk();
    table.refresh();
  }

  function showBulk() {
    const chosen = [...picked].map((id) => byId.get(id)).filter(Boolean);
    const verbs = BULK.filter((verb) => chosen.length && chosen.every((run) => commandsOf(run, who).includes(verb)));
    bulk.hidden = !chosen.length;
    bulk.replaceChildren(make("b", {}, `${chosen.length} selected`), ...(chosen.length > 1 ? [button("Compare", compare)] : []),
      ...verbs.map((verb) => button(commandWord(verb), () => commandMany(chosen, verb), verb === "cancel" ? "danger" : "plain")),
      button("Clear", () => { picked.clear(); showBulk(); table.refresh(); }));
  }

  function compare() {
    if (picked.size) location.hash = `#/compare?runs=${[...picked].join(",")}`;
  }

  async function load(further = false) {
    if (loading) again = again || !further;
    if (loading || (further && !cursor)) return;
    loading = true;
    const {state: states, kind: kinds, tag: tags, name: prefix, user, sort} = values;
    try {
      const page = await get("/v1/runs" + query({state: states, kind: kinds, tag: tags, name: prefix, user, sort, limit: PAGE,
        cursor: further ? cursor : "", count: further ? "" : "1"}));
      runs = further ? [...runs, ...page.items] : page.items;
      total = page.total ?? total;
      cursor = page.next_cursor;
    } finally {
      loading = false;
    }
    if (again) {
      again = false;
      return void await load();
    }
    byId.clear();
    for (const run of runs) byId.set(run.id, run);
    title.replaceChildren("Runs ", make("span", {class: "quiet"}, grouped(total)));
    const filtered = states || kinds || tags || prefix || user;
    none.replaceChildren(...(runs.length ? [] : [filtered ? empty("No run is like that. ", button("Show all", () => { location.hash = "#/runs"; }))
      : empty("No runs yet. ", make("a", {href: "#/new"}, "Submit the first"))]));
    table.set(runs, sort || "-created");
    showBulk();
  }

  const element = make("div", {}, make("div", {class: "row page-head"}, title, make("span", {class: "grow"}),
    make("a", {class: "as-button", href: "#/new"}, "New run")), make("div", {class: "row filters"}, name, state, kind, tag), bulk,
  make("div", {class: "card flush"}, table.element, none));
  function showValues() {
    state.value = values.state || "";
    kind.value = values.kind || "";
    name.value = values.name || "";
    tag.value = values.tag || "";
  }
  showValues();
  await load();
  const reload = later(() => load().catch(fail), 600);
  const redraw = later(() => table.refresh(), 150);

  return {title: "Runs", element, opened: () => { table.refresh(); if (address.values.find) name.focus(); },
    stay(next) {
      if (next.name !== "runs") return false;
      values = {...next.values};
      showValues();
      if (values.find) name.focus();
      else load().catch(fail);
      return true;
    },
    onEvent(type, data) {
      const run = byId.get(data.run);
      if (type === "metric.frame") return sparks.frame(data);
      if (run) {
        patchRun(run, data);
        redraw();
      }
      return type === "run.state" || type === "run.changed" ? reload() : undefined;
    },
    refresh: () => load().catch(fail),
    keys: {j: () => table.move(1), k: () => table.move(-1), "/": () => name.focus(), c: compare,
      Enter: () => { if (table.current()) location.hash = `#/${table.current().id}`; },
      x: () => { if (table.current()) pick(table.current().id); },
      p: async () => {
        const run = table.current(), verb = run && commandsOf(run, who).find((one) => one === "pause" || one === "resume");
        if (verb) await command(run, verb);
      }},
    close() {
      reload.cancel();
      redraw.cancel();
      table.close();
    }};
}
