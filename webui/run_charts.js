/* The charts of one run; also what charts need to know about a run: units of x per step, marks. */
import {get} from "./api.js";
import {ChartGroup} from "./chart_group.js";
import {empty, later, make} from "./dom.js";
import {titleOf} from "./metrics.js";
import {ended} from "./states.js";

/* Epochs and images per step; null where the run has not told yet. */
export async function chartRun(run) {
  const {resolved} = await get(`/v1/runs/${run.id}/config`);
  const params = resolved?.params || resolved || {};
  const images = params.batch ? params.batch * (params.accumulate || 1) : null;
  return {id: run.id, name: run.name, live: !ended(run.state), attempts: run.attempts, scales: {epoch: run.step && run.epoch ? run.epoch / run.step : null, images}};
}

/* Ends of an attempt that nobody need look at. */
const CALM = ["done", "finished", "user", "paused", "canceled", "killed", "preempted", "evicted", "daemon_restart"];

/* Where the learning rate stops rising; later it falls without a seam. */
function phases(run, params) {
  const perEpoch = run.steps && params.epochs ? run.steps / params.epochs : 0;
  return perEpoch && params.warmup_epochs ? [{step: perEpoch * params.warmup_epochs, kind: "phase", text: "warm-up ends"}] : [];
}

export async function marksOf(run) {
  const [checkpoints, attempts, config] = await Promise.all([get(`/v1/runs/${run.id}/checkpoints`), get(`/v1/runs/${run.id}/attempts`), get(`/v1/runs/${run.id}/config`)]);
  return [...checkpoints.items.filter((item) => item.state === "valid").map((item) => ({step: item.step, kind: "checkpoint", text: `checkpoint ${item.id}`})),
    ...attempts.items.filter((item) => item.n > 1).map((item) => ({step: item.from_step, kind: "restart", text: `attempt ${item.n}`})),
    ...attempts.items.filter((item) => item.ended && item.cause && !CALM.includes(item.cause)).map((item) => ({step: item.last_step, kind: "fault",
      text: `attempt ${item.n}: ${item.text || item.cause}`})), ...phases(run, config.resolved.params || config.resolved)];
}

/* wanted(key): which metrics of the run; above: an element between the tools and the charts, or null. */
export async function chartsOf({run, fail}, wanted, onData = () => {}) {
  const askKeys = () => get(`/v1/runs/${run.id}/metrics`);
  let asked = askKeys();
  asked.catch(() => {});
  const group = new ChartGroup([await chartRun(run)]);
  const filter = make("input", {type: "search", placeholder: "Filter charts", "aria-label": "Filter charts", class: "narrow",
    oninput: later(() => showKeys(), 150)});
  const none = make("div", {});
  group.element.querySelector(".toolbar").prepend(filter);
  group.element.append(none);
  let keys = [], known = "";

  function showKeys() {
    const text = filter.value.trim().toLowerCase();
    group.setKeys(keys.filter((key) => `${key} ${titleOf(key)}`.toLowerCase().includes(text)));
    group.draw();
    if (text !== known) group.reload();
    known = text;
  }

  async function load() {
    const answer = asked || askKeys();
    asked = null;
    const catalogue = await answer;
    keys = catalogue.items.map((item) => item.key).filter(wanted);
    none.replaceChildren(...(keys.length ? [] : [empty("No figures yet.")]));
    showKeys();
    await group.fetch();
    onData(group.data);
    marksOf(run).then((marks) => group.setMarks(run.id, marks)).catch(fail);
  }
  const reload = later(() => load().catch(fail), 400);
  /* A busy server may refuse: the page opens all the same, and asks again. */
  await load().catch((error) => {
    none.replaceChildren(empty(`The figures could not be read: ${error.message}. Trying again.`));
    setTimeout(reload, 2000);
  });

  return {element: group.element, group,
    onEvent(type, data) {
      if (type !== "metric.frame") return type === "run.progress" ? undefined : reload();
      const news = data.keys.some((key) => !keys.includes(key.startsWith(`${data.stream}/`) ? key : `${data.stream}/${key}`));
      if (news && wanted(`${data.stream}/`)) reload();
      group.frame(data);
      return onData(group.data);
    },
    refresh: reload,
    close() {
      reload.cancel();
      group.close();
    }};
}

export const chartsTab = (context) => chartsOf(context, (key) => !key.startsWith("ssl/"));
