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
  return {id: run.id, name: run.name, live: !ended(run.state), scales: {epoch: run.step && run.epoch ? run.epoch / run.step : null, images}};
}

export async function marksOf(id) {
  const [checkpoints, attempts] = await Promise.all([get(`/v1/runs/${id}/checkpoints`), get(`/v1/runs/${id}/attempts`)]);
  return [...checkpoints.items.map((item) => ({step: item.step, kind: "checkpoint", text: `checkpoint ${item.id}`})),
    ...attempts.items.filter((item) => item.n > 1).map((item) => ({step: item.from_step, kind: "restart", text: `attempt ${item.n}`}))];
}

/* wanted(key): which metrics of the run; above: an element between the tools and the charts, or null. */
export async function chartsOf({run, fail}, wanted, onData = () => {}) {
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
    const catalogue = await get(`/v1/runs/${run.id}/metrics`);
    keys = catalogue.items.map((item) => item.key).filter(wanted);
    none.replaceChildren(...(keys.length ? [] : [empty("No figures yet.")]));
    showKeys();
    await group.fetch();
    onData(group.data);
    group.setMarks(run.id, await marksOf(run.id));
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
