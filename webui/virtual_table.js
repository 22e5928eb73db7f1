/*
 * A table of which only the rows in sight are in the page: ten thousand scroll as easily as ten. Rows have one
 * height; two spacers stand for those above and below. The box scrolls by itself, so the head stays.
 */
import {make} from "./dom.js";

const ROW = 52, EXTRA = 6;

export class VirtualTable {
  /* columns: {title, name, cell(row), sort?, wide?}; onSort("-created"), onEnd(): more rows are wanted, onShown(rows) */
  constructor({columns, onSort, onEnd, onShown, label}) {
    Object.assign(this, {columns, onSort, onEnd, onShown});
    this.rows = [];
    this.sort = "";
    this.at = -1;
    this.heads = columns.map((column) => make("th", {scope: "col", class: `col-${column.name}${column.wide ? " wide" : ""}`},
      column.sort ? make("button", {type: "button", class: "sort", onclick: () => this.onSort(this.nextSort(column))}, column.title)
        : column.title || make("span", {class: "visually-hidden"}, "select")));
    this.above = this.spacer();
    this.below = this.spacer();
    this.shown = new Map();
    this.body = make("tbody", {}, this.above, this.below);
    this.table = make("table", {class: "virtual"}, make("caption", {class: "visually-hidden"}, label), make("thead", {}, make("tr", {}, this.heads)), this.body);
    this.element = make("div", {class: "virtual-box", tabindex: "0", role: "region", "aria-label": label, onscroll: () => this.soon()}, this.table);
    this.sizes = new ResizeObserver(() => this.soon());
    this.sizes.observe(this.element);
    this.frame = 0;
  }

  nextSort(column) {
    return this.sort === `-${column.sort}` ? column.sort : `-${column.sort}`;
  }

  set(rows, sort) {
    const here = this.current();
    this.rows = rows;
    this.sort = sort;
    this.at = here ? rows.findIndex((row) => row.id === here.id) : -1;
    this.columns.forEach((column, i) => {
      if (!column.sort) return;
      const order = sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : "none";
      this.heads[i].setAttribute("aria-sort", order);
    });
    this.refresh();
  }

  soon() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.place());
  }

  current() {
    return this.rows[this.at] || null;
  }

  move(by) {
    this.at = Math.min(this.rows.length - 1, Math.max(0, this.at + by));
    const top = this.at * ROW, box = this.element;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + 2 * ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + 2 * ROW - box.clientHeight;
    this.refresh();
    this.body.querySelector("tr[aria-current] a")?.focus({preventScroll: true});
  }

  /* Every row in sight anew, as their values may have changed. */
  refresh() {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && {id: focused.closest("tr").dataset.id, tag: focused.tagName};
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.place();
    if (place) this.body.querySelector(`tr[data-id="${place.id}"] ${place.tag}`)?.focus({preventScroll: true});
  }

  /* Makes what has come into sight and drops what has left it: a scrolled row costs nothing. */
  place() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const box = this.element, from = Math.max(0, Math.floor(box.scrollTop / ROW) - EXTRA);
    const to = Math.min(this.rows.length, Math.ceil((box.scrollTop + (box.clientHeight || 600)) / ROW) + EXTRA);
    const kept = new Set(this.rows.slice(from, to));
    for (const [row, element] of this.shown) {
      if (kept.has(row)) continue;
      element.remove();
      this.shown.delete(row);
    }
    let next = this.below;
    for (let i = to - 1; i >= from; i--) {
      const known = this.shown.get(this.rows[i]), element = known || this.row(this.rows[i], i);
      if (!known) {
        this.shown.set(this.rows[i], element);
        this.body.insertBefore(element, next);
      }
      next = element;
    }
    this.room(this.above, from);
    this.room(this.below, this.rows.length - to);
    this.onShown([...kept]);
    if (to > this.rows.length - 20) this.onEnd();
  }

  spacer() {
    return make("tr", {class: "spacer", "aria-hidden": "true", hidden: true}, make("td", {}));
  }

  room(spacer, rows) {
    spacer.hidden = rows === 0;
    spacer.firstChild.style.height = `${rows * ROW}px`;
  }

  row(row, i) {
    return make("tr", {"data-id": row.id, "aria-rowindex": i + 2, "aria-current": i === this.at ? "true" : null, onclick: () => { this.at = i; }},
      this.columns.map((column) => make("td", {class: `col-${column.name}${column.wide ? " wide" : ""}`}, column.cell(row))));
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
  }
}
