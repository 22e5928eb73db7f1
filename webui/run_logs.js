/* What the worker printed, by attempt; follows the end unless the reader has scrolled up. */
import {get, getText, query} from "./api.js";
import {button, download, make} from "./dom.js";
import {ended} from "./states.js";

const TAIL = 1000, EVERY_MS = 2500;

export async function logsTab({run: first, fail}) {
  let run = first, text = "", timer = 0;
  const attempts = (await get(`/v1/runs/${run.id}/attempts`)).items;
  const box = make("pre", {class: "log tall", tabindex: "0", role: "log", "aria-label": "Log"});
  const select = make("select", {"aria-label": "Attempt", onchange: () => load().catch(fail)},
    attempts.map((item) => make("option", {value: String(item.n)}, `attempt ${item.n}${item.cause ? ` – ${item.cause}` : ""}`)));
  const filter = make("input", {type: "search", class: "narrow", placeholder: "Lines with …", "aria-label": "Only lines with", oninput: () => show()});

  function show() {
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 12, word = filter.value.toLowerCase();
    const lines = word ? text.split("\n").filter((line) => line.toLowerCase().includes(word)).join("\n") : text;
    box.textContent = lines || (text ? "No line has that." : "Nothing printed.");
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  async function load() {
    text = attempts.length ? await getText(`/v1/runs/${run.id}/logs` + query({attempt: select.value, tail: TAIL})) : "";
    show();
  }
  await load().catch((error) => { box.textContent = error.message; });
  timer = setInterval(() => { if (!document.hidden && !ended(run.state)) load().catch(() => {}); }, EVERY_MS);
  return {element: make("section", {class: "card"}, make("div", {class: "row toolbar"}, select, filter, make("span", {class: "grow"}),
    make("span", {class: "quiet small"}, `the last ${TAIL} lines`), button("Save", () => download(`${run.id}.log`, text, "text/plain"))), box),
  update(next) { run = next; }, refresh: () => load().catch(() => {}), close: () => clearInterval(timer)};
}
