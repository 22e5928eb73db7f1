/*
 * The frame around the pages: who is signed in, which page the address names, what the stream says, keys.
 *
 * A page is an object: title, element, and if it needs them opened(), onEvent(type, data, id), refresh() (after
 * the stream was down), keys (key -> function), close(). The address is #/name?parameters or #/r42/tab.
 */
import {ApiError, get, signOut, whoAmI} from "./api.js";
import {comparePage} from "./compare.js";
import {showKeys} from "./dialog.js";
import {find, make, toast} from "./dom.js";
import {gpusPage} from "./gpus.js";
import {handleKey} from "./keys.js";
import {LinkState} from "./link.js";
import {Live} from "./live.js";
import {newRunPage} from "./new_run.js";
import {Notice} from "./notice.js";
import {overviewPage} from "./overview.js";
import {queuePage} from "./queue.js";
import {runPage} from "./run.js";
import {runsPage} from "./runs.js";
import {settingsPage} from "./settings.js";
import {signInPage} from "./sign_in.js";
import {sweepsPage} from "./sweeps.js";
import {nextTheme, onTheme, theme} from "./theme.js";

const PAGES = {"": overviewPage, runs: runsPage, queue: queuePage, gpus: gpusPage, sweeps: sweepsPage, compare: comparePage, new: newRunPage,
  settings: settingsPage, latest};
/* A page reads after the stream is open, so that nothing happens between the two; it does not wait for ever. */
const STREAM_WAIT_MS = 1000;
const link = new LinkState(find("link"), find("banner"));
const live = new Live(onEvent, (up) => {
  const wasDown = link.set(up);
  if (up && wasDown && page?.refresh) page.refresh();
}, () => whoAmI().catch((error) => {
  if (error.status === 401) fail(error);
  throw error;
}));
const notice = new Notice(find("notice"));
let page = null, who = null, turn = 0, making = false, missed = [];

/* What happened while the page was being made may be newer than what it has read: it is told now. */
function show(next) {
  if (page?.close) page.close();
  page = next;
  find("page").replaceChildren(next.element);
  document.title = `${next.title} – ijepad`;
  if (next.opened) next.opened();
  for (const event of missed.splice(0)) onEvent(...event);
}

function showSignIn(message = "") {
  live.close();
  link.clear();
  who = null;
  notice.watch(null);
  for (const id of ["nav", "sign-out"]) find(id).hidden = true;
  find("who").textContent = "";
  show(signInPage(message, () => start().catch(fail)));
}

/* A session that ended leads back to the form; everything else is told and goes on. */
function fail(error) {
  if (error instanceof ApiError && error.status === 401) showSignIn("The session has ended. Sign in again.");
  else toast(error.message);
}

export function parseAddress(hash) {
  const [path, search] = hash.replace(/^#\/?/, "").split("?");
  const [first, tab] = path.split("/");
  return {name: /^r\d+$/.test(first) ? "run" : first, id: first, tab: tab || "", values: Object.fromEntries(new URLSearchParams(search || ""))};
}

async function followAddress() {
  const address = parseAddress(location.hash), mine = ++turn;
  if (location.hash === "#page" || !who) return;
  if (page?.stay && page.stay(address)) return;
  markNav(address);
  missed = [];
  making = true;
  try {
    const make_ = address.name === "run" ? runPage : PAGES[address.name] || missing;
    const next = await make_({address, who, fail});
    if (mine !== turn) return void next.close?.();
    making = false;
    show(next);
  } finally {
    if (mine === turn) making = false;
  }
}

/* An address to keep: it leads to the newest run, whichever that is. */
async function latest() {
  const {items: [run]} = await get("/v1/runs?sort=-created&limit=1");
  location.replace(run ? `#/${run.id}` : "#/runs");
  return {title: "Newest run", element: make("h1", {}, "Newest run")};
}

function missing() {
  return {title: "Not found", element: make("div", {class: "card"}, make("h1", {}, "There is no such page"),
    make("p", {}, make("a", {href: "#/"}, "To the overview")))};
}

function markNav({name}) {
  for (const anchor of find("nav").children) {
    const mine = parseAddress(anchor.getAttribute("href")).name;
    if (mine === name || (mine === "runs" && name === "run")) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function onEvent(type, data, id) {
  if (making) missed.push([type, data, id]);
  if (type === "reset") page?.refresh?.();
  else page?.onEvent?.(type, data, id);
}

async function start() {
  who = await whoAmI();
  find("nav").hidden = false;
  find("sign-out").hidden = !who.by_cookie;
  find("who").textContent = `${who.user} (${who.role})`;
  live.open();
  await Promise.all([notice.watch(who), link.first(STREAM_WAIT_MS)]);
  await followAddress();
}

function showTheme() {
  const [signText, text] = {auto: ["◐", "as the system says"], dark: ["☾", "dark"], light: ["☀", "light"]}[theme()];
  find("theme").textContent = signText;
  find("theme").setAttribute("aria-label", `Theme: ${text}`);
  find("theme").title = `Theme: ${text} (t)`;
}

find("sign-out").addEventListener("click", () => signOut().then(() => showSignIn()).catch(fail));
find("theme").addEventListener("click", nextTheme);
find("help").addEventListener("click", showKeys);
window.addEventListener("hashchange", () => followAddress().catch(fail));
document.addEventListener("keydown", (event) => { if (who) handleKey(event, page); });
document.addEventListener("visibilitychange", () => {
  if (!who) return;
  if (document.hidden) {
    live.close();
    link.pause();
  } else live.open();
});
onTheme(showTheme);
showTheme();
start().catch((error) => (error.status === 401 ? showSignIn() : fail(error)));
