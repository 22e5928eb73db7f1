/* Whether the event stream is up: a small light, and after a moment without it a banner with its age. */
import {duration} from "./format.js";

const GRACE_MS = 1500;

export class LinkState {
  constructor(light, banner) {
    this.light = light;
    this.banner = banner;
    this.downSince = null;
    this.known = false;
    setInterval(() => this.show(), 500);
  }

  /* Resolves when the stream has answered, up or not, at the latest after wait_ms. */
  first(wait_ms) {
    if (this.up !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.heard = resolve;
      setTimeout(resolve, wait_ms);
    });
  }

  /* Returns whether it had been down, or closed while the tab was hidden. */
  set(up) {
    const wasDown = up && this.known && this.downSince !== null;
    if (up) this.downSince = null;
    else if (this.downSince === null) this.downSince = Date.now();
    this.known = this.known || up;
    this.up = up;
    this.heard?.();
    this.show();
    return wasDown;
  }

  /* The tab cannot be seen: nothing is wrong, but what it shows gets old. */
  pause() {
    this.downSince = Date.now();
    this.up = undefined;
  }

  clear() {
    this.known = false;
    this.up = undefined;
    this.downSince = null;
    this.show();
  }

  show() {
    const down = this.up === false && Date.now() - this.downSince > GRACE_MS;
    this.light.textContent = this.up ? "live" : down ? "offline" : this.up === false ? "connecting" : "";
    this.light.className = `link ${this.up ? "live" : down ? "stale" : ""}`;
    this.banner.hidden = !down;
    if (down) {
      const age = duration((Date.now() - this.downSince) / 1000);
      const text = `No connection to the server for ${age}. What you see is that old. Trying again.`;
      if (this.banner.textContent !== text) this.banner.textContent = text;
    }
  }
}
