/* Keys that work everywhere; those of the page come first. See dialog.js for the list that people read. */
import {showKeys} from "./dialog.js";
import {nextTheme} from "./theme.js";

const GO = {o: "#/", r: "#/runs", q: "#/queue", c: "#/compare", n: "#/new", s: "#/settings"};
const CHORD_MS = 1200;
let goUntil = 0;

function typing(target) {
  return target.closest("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable], dialog");
}

export function handleKey(event, page) {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const {key} = event;
  if (Date.now() < goUntil && GO[key]) {
    goUntil = 0;
    location.hash = GO[key];
  } else if (key === "g") goUntil = Date.now() + CHORD_MS;
  else if (page?.keys?.[key]) page.keys[key](event);
  else if (key === "?") showKeys();
  else if (key === "t") nextTheme();
  else if (key === "/") location.hash = "#/runs?find=1";
  else return;
  event.preventDefault();
}
