/* Elements. Text only ever arrives through textContent: nothing from a run or a log becomes markup. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" && "value" in element && element.tagName !== "PROGRESS") element.value = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat(3)) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/* make("td", {class: "number", onclick: f}, "12", child) */
export const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const makeSvg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const find = (id) => document.getElementById(id);

/* A button with a word; `sign` is decoration. */
export function button(text, onclick, kind = "plain", attributes = {}) {
  return make("button", {type: "button", class: kind, onclick, ...attributes}, text);
}

/* rows: arrays of cells; a cell is text or an element. heads: text, or [text, class]. */
export function simpleTable(heads, rows, caption) {
  const kinds = heads.map((head) => (Array.isArray(head) ? head[1] : ""));
  return make("div", {class: "scroll"}, make("table", {},
    caption ? make("caption", {class: "visually-hidden"}, caption) : null,
    make("thead", {}, make("tr", {}, heads.map((head, i) =>
      make("th", {scope: "col", class: kinds[i]}, Array.isArray(head) ? head[0] : head)))),
    make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map((cell, i) => make("td", {class: kinds[i]}, cell)))))));
}

export const empty = (...children) => make("p", {class: "empty"}, children);

let toastTimer = 0;

export function toast(text, kind = "bad") {
  const box = find("toast");
  box.textContent = text;
  box.className = `toast ${kind}`;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 7000);
}

/* Told to screen readers, politely. */
export function announce(text) {
  find("announcer").textContent = text;
}

/* A function that runs once, `wait_ms` after the first of the calls that came meanwhile: a stream of them cannot hold it up. */
export function later(run, wait_ms) {
  let timer = 0;
  const start = (...values) => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      run(...values);
    }, wait_ms);
  };
  start.cancel = () => clearTimeout(timer);
  return start;
}

/* Hands a file to the user. */
export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  make("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
