/* What is wrong with the server as a whole, told on every page until it is not: a database that was restored, alerts. */
import {get, send} from "./api.js";
import {confirmThat} from "./dialog.js";
import {announce, button, make, toast} from "./dom.js";
import {time} from "./format.js";

const EVERY_MS = 60000;

export class Notice {
  constructor(place) {
    this.place = place;
    this.who = null;
    this.timer = 0;
  }

  /* who null: signed out. */
  async watch(who) {
    this.who = who;
    clearInterval(this.timer);
    this.place.replaceChildren();
    this.place.hidden = true;
    if (!who) return;
    this.timer = setInterval(() => { if (!document.hidden) this.load().catch(() => {}); }, EVERY_MS);
    await this.load().catch(() => {});
  }

  async load() {
    const status = await get("/v1/status"), {degraded, alerts} = status, may = this.who && ["operator", "admin"].includes(this.who.role);
    const lines = [degraded ? make("p", {}, make("b", {}, "Restored from a backup, takes no new runs. "), `${degraded.reason} (${time(degraded.at)}). `,
      degraded.unknown_runs?.length ? `On disk but not in the backup: ${degraded.unknown_runs.join(", ")}. ` : "", may ? button("I have looked at it …", () => this.acknowledge(degraded), "plain") : "") : null,
    ...(alerts || []).filter((one) => one.alert !== "degraded").map((one) => make("p", {}, one.text))].filter(Boolean);
    const text = lines.map((line) => line.textContent).join();
    if (text === this.shown) return;
    this.shown = text;
    this.place.hidden = !lines.length;
    this.place.replaceChildren(...lines);
  }

  async acknowledge(degraded) {
    if (!await confirmThat("Take submissions again?", `What was written after the backup is lost: ${degraded.reason}`, "Take submissions again")) return;
    try {
      await send("POST", "/v1/admin/acknowledge");
      announce("Submissions are taken again");
      await this.load();
    } catch (error) {
      toast(error.message);
    }
  }
}
