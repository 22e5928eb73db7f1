/*
 * The event stream: one per tab, opened while the tab can be seen. EventSource comes back by itself with
 * Last-Event-ID, so no durable event is missed; after a long gap everything is loaded anew.
 */
const TYPES = ["run.state", "run.changed", "run.progress", "run.checkpoint", "run.result", "run.warning", "reset"];

export class Live {
  /* onEvent(type, data), onLink(state): "live", "waiting" */
  constructor(onEvent, onLink) {
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.source = null;
  }

  open() {
    if (this.source) return;
    this.source = new EventSource("/v1/events");
    this.source.addEventListener("open", () => this.onLink("live"));
    this.source.addEventListener("error", () => {
      this.onLink("waiting");
      if (this.source && this.source.readyState === EventSource.CLOSED) this.retry();
    });
    for (const type of TYPES) this.source.addEventListener(type, (event) => this.onEvent(type, JSON.parse(event.data)));
  }

  /* The browser gives up after an HTTP error (a restart, a limit): try again later. */
  retry() {
    this.close();
    this.timer = setTimeout(() => this.open(), 5000);
  }

  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }
}
