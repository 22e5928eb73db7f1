/*
 * The event stream: one per tab, open while the tab can be seen. EventSource comes back by itself with
 * Last-Event-ID, so no durable event is missed; a new stream after a pause asks for everything anew.
 */
const TYPES = ["run.state", "run.changed", "run.progress", "run.checkpoint", "run.result", "run.warning", "run.rewind", "run.health", "metric.frame", "reset"];
const RETRY_MS = 3000;

export class Live {
  /* onEvent(type, data, id), onLink(up); check(): a promise that fails where a new stream would be refused */
  constructor(onEvent, onLink, check) {
    this.check = check;
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.source = null;
    this.timer = 0;
  }

  open() {
    if (this.source) return;
    const source = this.source = new EventSource("/v1/events?topics=runs,metrics");
    source.addEventListener("open", () => this.onLink(true));
    source.addEventListener("error", () => {
      this.onLink(false);
      if (source.readyState === EventSource.CLOSED && source === this.source) this.retry();
    });
    for (const type of TYPES)
      source.addEventListener(type, (event) => this.onEvent(type, JSON.parse(event.data || "{}"), Number(event.lastEventId) || 0));
  }

  /* The browser gives up after an HTTP error (a restart, a limit): try again later. */
  retry() {
    this.close();
    this.timer = setTimeout(() => this.check().then(() => this.open(), (error) => { if (error.status !== 401) this.retry(); }), RETRY_MS);
  }

  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }
}
