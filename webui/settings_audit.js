/* Who did what, newest first, by pages. */
import {get, query} from "./api.js";
import {button, empty, make, simpleTable} from "./dom.js";
import {time} from "./format.js";

const PAGE = 50;
const detailText = (detail) => (detail ? Object.entries(detail).map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ") : "");
const target = (text) => (/^[rs]\d+$/.test(text || "") ? make("a", {href: text[0] === "r" ? `#/${text}` : `#/sweeps/${text}`}, text) : text || "–");

export async function auditSection({fail}) {
  let items = [], next = "";
  const box = make("div", {}), more = button("Older", () => load().catch(fail), "plain");
  async function load() {
    const page = await get("/v1/audit" + query({limit: PAGE, before: next}));
    items = [...items, ...page.items];
    next = page.next_before;
    more.hidden = !next;
    box.replaceChildren(items.length ? simpleTable(["When", "Who", "From", "What", "To what", "Details"], items.map((item) => [time(item.time), item.actor, item.address || "–", make("code", {}, item.action),
      target(item.target), make("span", {class: "wrap quiet small"}, detailText(item.detail))]), "Audit log") : empty("Nothing yet."));
  }
  await load();
  return make("section", {class: "card", "aria-label": "Audit"}, make("h2", {}, "Who did what"), box, more);
}
