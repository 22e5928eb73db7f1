/* Webhooks: addresses that are told of events, what was sent to them, a test. */
import {get, query, send} from "./api.js";
import {confirmThat, tell} from "./dialog.js";
import {button, empty, make, simpleTable, toast} from "./dom.js";
import {ago, time} from "./format.js";
import {sign} from "./states.js";

const EVENTS = ["run.succeeded", "run.failed", "run.quarantined", "run.canceled", "run.running", "run.checkpoint", "run.result", "run.warning", "run.rewind", "server", "*"];
const CHOSEN = ["run.succeeded", "run.failed", "run.quarantined"];
const STATES = {delivered: ["good", "check"], failed: ["bad", "cross"], waiting: ["idle", "wait"]};

const stateChip = (state) => make("span", {class: `chip ${(STATES[state] || STATES.waiting)[0]}`}, sign((STATES[state] || STATES.waiting)[1]), state);

const deliveryTable = (items) => simpleTable(["Event", "Run", "State", ["Tries", "number"], ["Answer", "number"], "When", "Why not"], items.map((item) => [make("code", {}, item.event),
  item.run ? make("a", {href: `#/${item.run}`}, item.run) : "–", stateChip(item.state), String(item.tries), item.http ? String(item.http) : "–",
  make("span", {title: time(item.created)}, ago(item.ended || item.created)), make("span", {class: "wrap small"}, item.error || "")]), "Deliveries");

export async function webhooksSection({who, fail}) {
  const list = make("div", {}), deliveries = make("div", {"aria-live": "polite"}), admin = who.role === "admin";
  const problem = (error) => toast(error.message);

  async function showDeliveries(hook) {
    const {items} = await get(`/v1/webhooks/${hook.id}/deliveries` + query({limit: 20}));
    deliveries.replaceChildren(make("h3", {}, `Sent to ${hook.url}`), items.length ? deliveryTable(items) : empty("Nothing yet."));
  }

  async function remove(hook) {
    if (!await confirmThat(`Delete the webhook ${hook.id}?`, `${hook.url} is told nothing any more; its ${hook.waiting} waiting deliveries and the record of the others go with it.`, `Delete ${hook.id}`)) return;
    await send("DELETE", `/v1/webhooks/${hook.id}`);
    deliveries.replaceChildren();
    await load();
  }

  const actions = (hook) => make("span", {class: "row"}, button("Sent", () => showDeliveries(hook).catch(fail), "plain"),
    button("Test", () => send("POST", `/v1/webhooks/${hook.id}/test`).then(() => showDeliveries(hook)).catch(problem), "plain", {"data-verb": "test"}), admin ? [button(hook.enabled ? "Switch off" : "Switch on",
      () => send("PATCH", `/v1/webhooks/${hook.id}`, {enabled: !hook.enabled}).then(load).catch(problem), "plain"), button("Delete", () => remove(hook).catch(problem), "danger")] : null);

  async function load() {
    const {items} = await get("/v1/webhooks");
    list.replaceChildren(items.length ? simpleTable(["Address", "Events", "State", "Last", ""], items.map((hook) => [make("span", {class: "wrap"}, hook.url, hook.note ? make("span", {class: "quiet small block"}, hook.note) : null),
      make("span", {class: "wrap small"}, hook.events.join(", ")), hook.enabled ? `on${hook.waiting ? `, ${hook.waiting} waiting` : ""}` : make("span", {class: "warn"}, `off${hook.reason ? `: ${hook.reason}` : ""}`),
      hook.last_state ? stateChip(hook.last_state) : "–", actions(hook)]), "Webhooks") : empty("None. A webhook is told when a run ends, fails or warns."));
  }

  const url = make("input", {id: "h-url", type: "url", required: true, placeholder: "https://chat.example.org/hook", autocomplete: "off", spellcheck: "false"});
  const note = make("input", {id: "h-note", autocomplete: "off", maxlength: 128});
  const boxes = EVENTS.map((name) => make("input", {type: "checkbox", value: name, checked: CHOSEN.includes(name)}));
  const form = make("form", {}, make("div", {class: "row form-row"}, make("label", {for: "h-url", class: "grow"}, "Address", url), make("label", {for: "h-note"}, "Note", note), make("button", {type: "submit"}, "Make a webhook")),
    make("fieldset", {class: "row choices"}, make("legend", {}, "Events"), boxes.map((box) => make("label", {class: "check"}, box, box.value === "*" ? "everything" : box.value))));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const made = await send("POST", "/v1/webhooks", {url: url.value.trim(), events: boxes.filter((box) => box.checked).map((box) => box.value), ...(note.value.trim() ? {note: note.value.trim()} : {})});
      url.value = "";
      await load();
      await tell(`Secret of ${made.id}`, make("div", {}, make("p", {}, "It signs every message and is shown only now. Copy it:"), make("pre", {class: "log token", tabindex: "0"}, made.secret)));
    } catch (error) {
      problem(error);
    }
  });
  await load();
  return make("section", {class: "card", "aria-label": "Webhooks"}, make("h2", {}, "Webhooks"), list, admin ? form : null, deliveries);
}
