/*
 * Rows of a list that a pointer drags to another place: a mouse by the whole row, a finger by its grip. The others make
 * room as it goes; Escape puts it back. Moving by keys is the page's business.
 */
const START_PX = 5, EDGE_PX = 70, SCROLL_PX = 14;

export class Reorder {
  /* list: its children with data-movable are the rows; onMove(id, to): it was dropped there; onEnd(): no row is held any more */
  constructor(list, onMove, onEnd) {
    Object.assign(this, {list, onMove, onEnd, drag: null});
    list.addEventListener("pointerdown", (event) => this.press(event));
    list.addEventListener("pointermove", (event) => this.follow(event));
    list.addEventListener("pointerup", (event) => this.release(event, true));
    list.addEventListener("pointercancel", (event) => this.release(event, false));
    this.escape = (event) => { if (event.key === "Escape") this.end(false); };
  }

  /* While a row is held the list must stay as it is. */
  get active() {
    return Boolean(this.drag);
  }

  press(event) {
    const row = event.target.closest("[data-movable]"), held = event.target.closest(".grip");
    if (!row || this.drag || event.button !== 0 || event.target.closest("a, button") || (event.pointerType === "touch" && !held)) return;
    this.drag = {row, pointer: event.pointerId, start: event.clientY + scrollY, tops: null};
    row.setPointerCapture(event.pointerId);
  }

  /* Where everything stands, in pixels of the page, before anything moves. */
  begin() {
    const {drag} = this;
    drag.rows = [...this.list.querySelectorAll("[data-movable]")];
    const boxes = drag.rows.map((row) => row.getBoundingClientRect());
    drag.from = drag.to = drag.rows.indexOf(drag.row);
    drag.tops = boxes.map((box) => box.top + scrollY);
    drag.middles = boxes.map((box) => box.top + scrollY + box.height / 2);
    drag.room = boxes[drag.from].height + parseFloat(getComputedStyle(this.list).rowGap || 0);
    drag.row.classList.add("dragged");
    document.addEventListener("keydown", this.escape);
  }

  follow(event) {
    const {drag} = this, by = drag && event.pointerId === drag.pointer ? event.clientY + scrollY - drag.start : 0;
    if (!by || (!drag.tops && Math.abs(by) < START_PX)) return;
    if (!drag.tops) this.begin();
    const middle = drag.middles[drag.from] + by;
    drag.to = drag.middles.filter((other, i) => i !== drag.from && other < middle).length;
    drag.rows.forEach((row, i) => {
      const aside = i > drag.from && i <= drag.to ? -drag.room : i < drag.from && i >= drag.to ? drag.room : 0;
      row.style.transform = i === drag.from ? `translateY(${by}px)` : aside ? `translateY(${aside}px)` : "";
    });
    if (event.clientY < EDGE_PX) scrollBy(0, -SCROLL_PX);
    else if (event.clientY > innerHeight - EDGE_PX) scrollBy(0, SCROLL_PX);
  }

  release(event, dropped) {
    if (this.drag?.pointer === event.pointerId) this.end(dropped);
  }

  end(dropped) {
    const {drag} = this;
    this.drag = null;
    if (drag.tops) {
      document.removeEventListener("keydown", this.escape);
      drag.row.classList.remove("dragged");
      for (const row of drag.rows) row.style.transform = "";
      if (dropped && drag.to !== drag.from) this.onMove(drag.row.dataset.id, drag.to);
    }
    this.onEnd();
  }
}
