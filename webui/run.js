/* One run: what it is doing and what may be asked of it; below, tabs that are made when they are opened. */
import {get} from "./api.js";
import {nextColour, swatch} from "./colours.js";
import {command, commandButtons} from "./command.js";
import {announce, button, later, make} from "./dom.js";
import {ago, duration, grouped, number, percent, time} from "./format.js";
import {healthLight} from "./health.js";
import {chartsTab} from "./run_charts.js";
import {healthTab} from "./run_health.js";
import {checkpointsTab, configTab, eventsTab} from "./run_lists.js";
import {logsTab} from "./run_logs.js";
import {deleteRun, editRun} from "./run_edit.js";
import {resultsTab} from "./run_results.js";
import {visualsTab} from "./run_visuals.js";
import {chip, commandsOf, deadlineText, ended, mayCommand, patchRun, rate, ring} from "./states.js";

const TABS = {charts: ["Charts", chartsTab], health: ["Health", healthTab], visuals: ["Visuals", visualsTab], results: ["Results", resultsTab], logs: ["Log", logsTab],
  checkpoints: ["Checkpoints", checkpointsTab], config: ["Configuration", configTab], events: ["Events", eventsTab]};

/* What computes no epochs and keeps no checkpoints. */
const isTool = (run) => ["scan", "benchmark"].includes(run.kind);
const tabsOf = (run) => Object.keys(TABS).filter((name) => !(isTool(run) && name === "checkpoints") && (run.kind === "pretrain" ? name !== "results" : name !== "health" && name !== "charts" &&
  (name !== "visuals" || run.kind === "visualize")));

function facts(run) {
  const spent = run.started ? (Date.parse(run.finished || new Date()) - Date.parse(run.started)) / 1000 : null;
  const list = [["Step", run.steps ? `${grouped(run.step)} of ${grouped(run.steps)}` : String(run.step)], ["Epoch", isTool(run) ? "–" : number(run.epoch, 4)], ["Rate", rate(run)],
    ["Left", run.state === "running" ? duration(run.eta_s) : "–"], ["Since start", duration(spent)], ["Loss", number(run.last?.["train/loss"], 4)],
    ["k-NN top-1", number(run.last?.["ssl/probe/knn_top1"])], ["Attempts", run.failures ? `${run.attempts} (${run.failures} failed)` : String(run.attempts)],
    ["Phase", ended(run.state) ? "–" : run.phase || "–"], ["Device", run.gpus?.length ? run.gpus.join(", ") : run.device || run.backend || "–"],
    ["Priority", String(run.priority)], ["Dataset", run.dataset || "–"]].filter(([, value]) => value !== "–" || !ended(run.state));
  return make("dl", {class: "facts"}, list.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function changes(run, onDone) {
  const edit = async () => {
    const after = await editRun(run);
    if (after) onDone(after);
  };
  const remove = async () => { if (await deleteRun(run)) location.hash = "#/runs"; };
  return [button("Edit", edit, "plain", {"data-verb": "edit", title: "Name, priority, tags, notes"}),
    ended(run.state) ? button("Delete", remove, "danger", {"data-verb": "delete", title: "With its checkpoints, logs and figures"}) : null];
}

const noteOf = (run) => (run.reason_text === "finished" ? "" : run.pending?.text || run.reason_text);

function head(run, who, onDone, onColour) {
  return [make("div", {class: "run-top"}, ring(run, 72), make("div", {class: "grow"},
    make("div", {class: "row"}, make("h1", {}, make("button", {type: "button", class: "recolour", onclick: onColour, title: "Another colour", "aria-label": `another colour for ${run.name}`}, swatch(run.id)), run.name), chip(run.state), healthLight(run)),
    make("p", {class: "quiet small"}, `${run.id} · ${run.kind} · submitted by ${run.user} `,
      make("time", {datetime: run.created, title: time(run.created)}, ago(run.created)),
      run.parent ? [" · from ", make("a", {href: `#/${run.parent}`}, run.parent)] : null,
      run.tags?.length ? [" · ", run.tags.map((tag) => make("a", {href: `#/runs?tag=${encodeURIComponent(tag)}`, class: "tag"}, tag))] : null)),
  make("div", {class: "row actions"}, commandButtons(run, who, onDone),
    who.role === "viewer" ? null : make("a", {class: "as-button plain", href: `#/new?clone=${run.id}`}, "Clone"), mayCommand(run, who) ? changes(run, onDone) : null)),
  noteOf(run) ? make("p", {class: "note"}, noteOf(run)) : null,
  make("p", {class: "deadline quiet", hidden: !deadlineText(run)}, deadlineText(run)),
  run.notes ? make("p", {class: "notes"}, run.notes) : null, facts(run)];
}

/* Arrow keys move between tabs, as in any tab list. */
function tabList(names, current, id) {
  const list = make("div", {role: "tablist", class: "tabs", "aria-label": "Parts of the run"}, names.map((name) => make("a", {role: "tab",
    id: `tab-${name}`, href: `#/${id}/${name}`, "aria-selected": String(name === current), "aria-controls": "tab-panel",
    tabindex: name === current ? "0" : "-1"}, TABS[name][0])));
  list.addEventListener("keydown", (event) => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key], at = names.indexOf(event.target.id.replace("tab-", ""));
    if (!by || at < 0) return;
    event.preventDefault();
    const next = list.children[(at + by + names.length) % names.length];
    next.focus();
    next.click();
  });
  return list;
}

export async function runPage({address, who, fail}) {
  const id = address.id;
  let run = await get(`/v1/runs/${id}`), tab = null, tabName = "", missed = false, clockTimer = 0;
  const headBox = make("section", {class: "card run-head", "aria-label": "Run"}), tabBox = make("div", {});
  const panel = make("div", {role: "tabpanel", id: "tab-panel", tabindex: "0"});
  const element = make("div", {}, headBox, tabBox, panel);

  /* Made anew only when it must: a button under the pointer stays where it is. */
  let shownFor = "";
  function recolour() {
    nextColour(run.id);
    headBox.querySelector("h1 .swatch").replaceWith(swatch(run.id));
    tab?.group?.draw();
  }
  function showHead() {
    const key = [run.state, run.name, run.priority, noteOf(run), run.notes, ...(run.tags || [])].join("\n");
    const fresh = head(run, who, update, recolour).flat().filter(Boolean);
    if (key !== shownFor) headBox.replaceChildren(...fresh);
    else {
      headBox.querySelector(".facts").replaceWith(fresh[fresh.length - 1]);
      headBox.querySelector(".ring").replaceWith(ring(run, 72));
    }
    shownFor = key;
    document.title = `${run.steps && !ended(run.state) ? percent(run.progress) + " " : ""}${run.name} – ijepad`;
  }

  function update(next) {
    if (next.state !== run.state) announce(`${next.name} is ${next.state}`);
    run = {...run, ...next};
    showHead();
    tab?.update?.(run);
  }

  async function open(name) {
    const names = tabsOf(run), chosen = names.includes(name) ? name : names[0];
    if (chosen === tabName) return;
    tab?.close?.();
    tabName = chosen;
    const focused = tabBox.contains(document.activeElement);
    tabBox.replaceChildren(tabList(names, chosen, id));
    if (focused) tabBox.querySelector("[aria-selected=true]").focus();
    panel.setAttribute("aria-labelledby", `tab-${chosen}`);
    tab = null;
    missed = false;
    const made = await TABS[chosen][1]({run, who, fail});
    if (tabName !== chosen) return void made.close?.();
    tab = made;
    panel.replaceChildren(made.element);
    if (missed) made.refresh?.();
  }

  const reload = later(() => get(`/v1/runs/${id}`).then(update).catch(fail), 200);
  showHead();
  await open(address.tab);
  clockTimer = setInterval(() => {
    const box = headBox.querySelector(".deadline");
    if (box) box.textContent = deadlineText(run);
    if (box) box.hidden = !box.textContent;
  }, 1000);
  const pauseOrResume = async () => {
    const verb = commandsOf(run, who).find((one) => one === "pause" || one === "resume");
    const after = verb && await command(run, verb);
    if (after) update(after);
  };

  return {title: run.name, element,
    stay(next) {
      if (next.name !== "run" || next.id !== id) return false;
      open(next.tab).catch(fail);
      return true;
    },
    onEvent(type, data, eventId) {
      tab?.onAny?.(type, data);
      if (data.run !== id) return;
      if (type === "run.progress") update(patchRun({...run}, data));
      else if (type !== "metric.frame") reload();
      missed ||= !tab;
      tab?.onEvent?.(type, data, eventId);
    },
    refresh() {
      reload();
      tab?.refresh?.();
    },
    keys: {p: pauseOrResume, c: () => { location.hash = `#/compare?runs=${id}`; },
      ...Object.fromEntries(tabsOf(run).map((name, i) => [String(i + 1), () => { location.hash = `#/${id}/${name}`; }]))},
    close() {
      clearInterval(clockTimer);
      reload.cancel();
      tab?.close?.();
    }};
}
