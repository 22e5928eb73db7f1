/* Keys that work everywhere; those of the page come first. See dialog.js for the list that people read. */
import {showKeys} from "./dialog.js";
import {nextTheme} from "./theme.js";

const GO = {o: "#/", r: "#/runs", q: "#/queue", d: "#/gpus", w: "#/sweeps", c: "#/compare", n: "#/new", s: "#/settings"};
let going = false;

function typing(target) {
  return target.closest("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable], dialog");
}

export function handleKey(event, page) {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const {key} = event, second = going;
  if (key === "Shift") return;
  going = key === "g" && !second;
  if (second && GO[key]) location.hash = GO[key];
  else if (page?.keys?.[key]) page.keys[key](event);
  else if (key === "?") showKeys();
  else if (key === "t") nextTheme();
  else if (key === "/") location.hash = "#/runs?find=1";
  else return;
  event.preventDefault();
}
