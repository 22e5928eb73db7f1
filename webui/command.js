/* Commands to runs; what loses something is confirmed with the run's name. */
import {send} from "./api.js";
import {confirmThat} from "./dialog.js";
import {announce, button, toast} from "./dom.js";
import {commandsOf} from "./states.js";

const WORDS = {
  checkpoint: "Save now", pause: "Pause", resume: "Resume", hold: "Hold", release: "Release", cancel: "Cancel",
  kill: "Kill", requeue: "Start again",
};
const HINTS = {
  checkpoint: "Save a checkpoint and go on", pause: "Save a checkpoint and release the device", resume: "Back into the queue",
  hold: "Keep it from starting", release: "Let it start", cancel: "Save a checkpoint and end", kill: "End at once, save nothing",
  requeue: "Another attempt from the newest checkpoint",
};
const ASKED = ["cancel", "kill"];

function loss(run, verb) {
  const at = run.step ? ` It is at step ${run.step}${run.steps ? ` of ${run.steps}` : ""}.` : " It has not started.";
  return verb === "kill" ? `Everything since its last checkpoint is lost.${at}`
    : run.step ? `It saves a checkpoint and ends.${at}` : `It leaves the queue.${at}`;
}

/* The run as the server has it afterwards; null: the user thought again, or it failed (and was told). */
export async function command(run, verb) {
  if (ASKED.includes(verb) && !await confirmThat(`${WORDS[verb]} ${run.name} (${run.id})?`, loss(run, verb), `${WORDS[verb]} ${run.name}`))
    return null;
  try {
    const after = await send("POST", `/v1/runs/${run.id}/${verb}`);
    announce(`${run.name}: ${after.state}`);
    return after;
  } catch (error) {
    toast(error.message);
    return null;
  }
}

export function commandButtons(run, who, onDone) {
  return commandsOf(run, who).map((verb) => button(WORDS[verb], async () => {
    const after = await command(run, verb);
    if (after) onDone(after);
  }, ASKED.includes(verb) ? "danger" : "plain", {title: HINTS[verb], "data-verb": verb}));
}

/* Several at once: one question that names them all. */
export async function commandMany(runs, verb) {
  const names = runs.map((run) => `${run.name} (${run.id})`).join(", ");
  if (ASKED.includes(verb) && !await confirmThat(`${WORDS[verb]} ${runs.length} runs?`, names, `${WORDS[verb]} ${runs.length} runs`)) return;
  const answers = await Promise.allSettled(runs.map((run) => send("POST", `/v1/runs/${run.id}/${verb}`)));
  const failed = answers.filter((answer) => answer.status === "rejected");
  if (failed.length) toast(`${failed.length} of ${runs.length}: ${failed[0].reason.message}`);
  else announce(`${WORDS[verb]}: ${runs.length} runs`);
}

export const commandWord = (verb) => WORDS[verb];
