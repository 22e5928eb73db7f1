/* Tabs that are lists: checkpoints, configuration, events and attempts. */
import {get, send} from "./api.js";
import {confirmThat} from "./dialog.js";
import {button, empty, later, make, simpleTable, toast} from "./dom.js";
import {eventList} from "./events.js";
import {bytes, duration, number, plain, time} from "./format.js";
import {mayCommand} from "./states.js";

const FILES = [["model.safetensors", "model"], ["optimizer.safetensors", "optimiser"], ["state.json", "state"]];

/* A tab that is loaded anew when one of `types` arrives. */
async function listTab(types, fail, render) {
  const element = make("section", {class: "card"});
  const load = async () => element.replaceChildren(...[await render(load)].flat());
  const reload = later(() => load().catch(fail), 300);
  await load();
  return {element, onEvent: (type) => { if (types.includes(type)) reload(); }, refresh: reload, close: () => reload.cancel()};
}

async function deleteCheckpoint(item, run) {
  const size = bytes(item.size_bytes);
  if (!await confirmThat(`Delete ${item.id} of ${run.name}?`, `The weights and the optimiser of step ${item.step} are gone for good, and ${size} become free.`, `Delete ${item.id}`)) return;
  await send("DELETE", `/v1/checkpoints/${item.id}`);
}

/* Pin, unpin, delete: what is pinned or is the newest stays. */
function checkpointActions(item, run, newest, onDone) {
  const act = (promise) => promise.then(onDone, (error) => toast(error.message));
  return [button(item.pinned ? "Unpin" : "Pin", () => act(send("PATCH", `/v1/checkpoints/${item.id}`, {pinned: !item.pinned})), "tool",
    {"data-verb": "pin", "aria-label": `${item.pinned ? "unpin" : "pin"} ${item.id}`, title: item.pinned ? "Its retention decides again" : "Keep it whatever happens"}),
  item.pinned || item === newest ? "" : button("Delete", () => act(deleteCheckpoint(item, run)), "tool bad", {"data-verb": "delete", "aria-label": `delete ${item.id}`})];
}

export const checkpointsTab = ({run, who, fail}) => listTab(["run.checkpoint", "run.state", "run.changed"], fail, async (again) => {
  const {items} = await get(`/v1/runs/${run.id}/checkpoints`), may = mayCommand(run, who);
  if (!items.length) return empty("No checkpoint yet. One is saved at the end, and as often as the parameters under Checkpoints say.");
  const newest = items.filter((item) => item.state === "valid").reduce((best, item) => (best && best.step >= item.step ? best : item), null);
  const links = (item) => FILES.map(([file, word]) => make("a", {href: `/v1/checkpoints/${item.id}/content?file=${file}`, download: "",
    "aria-label": `download ${word} of ${item.id}`}, word));
  const row = (item) => [item.id, String(item.step), number(item.epoch, 4), bytes(item.size_bytes), item.state,
    item.kept_for?.length ? make("span", {class: "links"}, item.kept_for.map((why) => make("span", {class: "chip idle"}, why))) : "–", time(item.created),
    make("code", {title: item.sha256 || ""}, (item.sha256 || "–").slice(0, 12)), make("span", {class: "links"}, item.state === "valid" ? links(item) : "–"),
    make("span", {class: "links"}, may && item.state === "valid" ? checkpointActions(item, run, newest, again) : "")];
  return simpleTable(["Checkpoint", ["Step", "number"], ["Epoch", "number"], ["Size", "number"], "State", "Kept for", "Saved", "SHA-256", "Download", ""], items.map(row), "Checkpoints");
});

export const configTab = ({run, fail}) => listTab([], fail, async () => {
  const [config, schema] = await Promise.all([get(`/v1/runs/${run.id}/config`), get(`/v1/schema/${run.kind}`)]);
  const values = config.resolved?.params || config.resolved || {}, given = config.submitted?.params || config.submitted || {};
  const groups = new Map();
  for (const [key, value] of Object.entries(values)) {
    const about = schema.properties[key] || {}, group = about["x-group"] || "Other";
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push([make("span", {title: about.description || ""}, key), make("span", {class: key in given ? "given" : ""},
      plain(value), about["x-unit"] ? make("span", {class: "quiet"}, ` ${about["x-unit"]}`) : null), key in given ? "given" : "default"]);
  }
  return [make("p", {class: "quiet small"}, `Values that were given stand out; the rest are defaults${given.preset ? ` and the preset ${given.preset}` : ""}. `,
    `Accepted by build ${config.build || "–"}.`),
  make("div", {class: "config"}, [...groups].map(([group, rows]) => make("section", {}, make("h3", {}, group),
    simpleTable(["Parameter", "Value", "From"], rows, group))))];
});

export const eventsTab = ({run, fail}) => listTab(["run.state", "run.checkpoint", "run.result", "run.warning", "run.rewind", "run.health", "run.changed"], fail, async () => {
  const [events, attempts] = await Promise.all([get(`/v1/runs/${run.id}/events?limit=1000`), get(`/v1/runs/${run.id}/attempts`)]);
  const spent = (item) => (item.ended ? duration((Date.parse(item.ended) - Date.parse(item.started)) / 1000) : "–");
  const how = (item) => (item.ended ? item.text || item.cause || (item.signal ? `signal ${item.signal}` : `exit code ${item.exit_code}`) : "has a worker");
  return [make("h2", {}, "Attempts"), attempts.items.length ? simpleTable([["Nr", "number"], "Started", ["Took", "number"], ["From step", "number"],
    ["To step", "number"], "Device", "End"], attempts.items.map((item) => [String(item.n), time(item.started), spent(item), String(item.from_step),
    String(item.last_step), item.gpus?.length ? item.gpus.join(", ") : item.device || "–", how(item)]), "Attempts") : empty("Not started yet."),
  make("h2", {}, "Events"), eventList(events.items.reverse())];
});
