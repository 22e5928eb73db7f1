/* The page: who is signed in, what is selected (in the address, as #/r42), what the stream says. */
import {ApiError, get, signIn, signOut, whoAmI} from "./api.js";
import {Detail} from "./detail.js";
import {find, toast} from "./dom.js";
import {Live} from "./live.js";
import {RunTable, renderTiles} from "./runs.js";

const TILES_MS = 4000;
let table, detail, live, reloadTimer = 0;

function showSignIn(message = "") {
  if (live) live.close();
  find("app").hidden = true;
  find("sign-out").hidden = true;
  find("who").textContent = "";
  find("link").textContent = "";
  find("link").className = "link";
  find("sign-in").hidden = false;
  find("sign-in-error").textContent = message;
  find("token").focus();
}

/* A session that ended leads back to the form; everything else is told and goes on. */
function fail(error) {
  if (error instanceof ApiError && error.status === 401) showSignIn("The session has ended. Sign in again.");
  else toast(error.message);
}

function link(state) {
  const text = {live: "live", waiting: "connection lost, trying again"}[state];
  find("link").textContent = text;
  find("link").className = `link ${state === "live" ? "live" : "stale"}`;
}

async function followAddress() {
  const id = (location.hash.match(/^#\/(r\d+)$/) || [])[1] || null;
  table.select(id);
  document.querySelector(".columns").classList.toggle("split", Boolean(id));
  if (id) await detail.open(id);
  else detail.close();
}

/* Several events close together lead to one reload. */
function reloadSoon() {
  clearTimeout(reloadTimer);
  reloadTimer = setTimeout(() => table.load().then(refreshTiles).catch(fail), 300);
}

async function refreshRun(id) {
  const run = await get(`/v1/runs/${id}`);
  table.replace(run);
  detail.update(run);
}

function onEvent(type, data) {
  if (type === "reset" || !data.run) return reloadSoon();
  if (!table.patch(data.run, data)) return type === "run.progress" ? undefined : reloadSoon();
  const run = table.runs.get(data.run);
  if (type === "run.progress") return detail.update(run);
  if (type === "run.checkpoint" || type === "run.result") return detail.run && detail.run.id === data.run ? detail.loadLists().catch(fail) : undefined;
  return refreshRun(data.run).then(refreshTiles).catch(fail);
}

async function refreshTiles() {
  renderTiles(await get("/v1/queue"));
}

async function start() {
  const who = await whoAmI();
  find("sign-in").hidden = true;
  find("app").hidden = false;
  find("sign-out").hidden = !who.by_cookie;
  find("who").textContent = `${who.user} (${who.role})`;
  if (!table) table = new RunTable((id) => { location.hash = `#/${id}`; });
  if (!detail) detail = new Detail(who.role);
  detail.role = who.role;
  if (!live) live = new Live(onEvent, link);
  await Promise.all([table.load(), refreshTiles()]);
  live.open();
  await followAddress();
}

find("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await signIn(find("token").value.trim());
    find("token").value = "";
    await start();
  } catch (error) {
    find("sign-in-error").textContent = error.message;
  }
});

find("sign-out").addEventListener("click", () => signOut().then(() => showSignIn()).catch(fail));
window.addEventListener("hashchange", () => followAddress().catch(fail));
document.addEventListener("visibilitychange", () => {
  if (!live || find("app").hidden) return;
  if (document.hidden) live.close();
  else {
    reloadSoon();
    live.open();
  }
});
setInterval(() => { if (live && !document.hidden && !find("app").hidden) refreshTiles().catch(() => link("waiting")); }, TILES_MS);

start().catch((error) => (error.status === 401 ? showSignIn() : fail(error)));
