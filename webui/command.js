/* Commands to runs; what loses something is confirmed with the run's name. */
import {get, send} from "./api.js";
import {ask, confirmThat} from "./dialog.js";
import {announce, button, make, toast} from "./dom.js";
import {commandsOf} from "./states.js";

const WORDS = {
  checkpoint: "Save now", pause: "Pause", resume: "Resume", hold: "Hold", release: "Release", cancel: "Cancel",
  kill: "Kill", requeue: "Start again",
};
const HINTS = {
  checkpoint: "Save a checkpoint and go on", pause: "Save a checkpoint and release the device", resume: "Back into the queue",
  hold: "Keep it from starting", release: "Let it start", cancel: "Save a checkpoint and end", kill: "End at once, save nothing",
  requeue: "Another attempt, from the newest checkpoint or from scratch",
};
const ASKED = ["cancel", "kill"];

const atStep = (run) => (run.step ? `step ${run.step}${run.steps ? ` of ${run.steps}` : ""}` : "its beginning");

/* What a kill throws away: the steps since the newest checkpoint. */
async function killed(run) {
  const {items} = await get(`/v1/runs/${run.id}/checkpoints`), saved = Math.max(0, ...items.filter((item) => item.state === "valid").map((item) => item.step));
  return saved ? `It is at ${atStep(run)} and saved last at step ${saved}: ${Math.max(0, run.step - saved)} steps are lost.`
    : `It is at ${atStep(run)} and has saved nothing: all of it is lost.`;
}

async function loss(run, verb) {
  if (verb === "kill") return killed(run).catch(() => `It is at ${atStep(run)}. Everything since its last checkpoint is lost.`);
  return run.step ? `It is at ${atStep(run)}. It saves a checkpoint and ends; no step is lost.` : "It has not started, and leaves the queue.";
}

/* Whence an ended run starts again; null: not at all. */
async function startFrom(run) {
  const answer = await ask(`Start ${run.name} (${run.id}) again?`, make("p", {}, `It ended at ${atStep(run)}. From scratch, its figures so far count as superseded; its checkpoints stay.`),
    [["Go back", "plain", "no"], ["From scratch", "plain", "scratch"], ["From its newest checkpoint", "", "checkpoint"]]);
  return answer === "scratch" || answer === "checkpoint" ? {from: answer} : null;
}

/* The run as the server has it afterwards; null: the user thought again, or it failed (and was told). */
export async function command(run, verb) {
  if (ASKED.includes(verb) && !await confirmThat(`${WORDS[verb]} ${run.name} (${run.id})?`, await loss(run, verb), `${WORDS[verb]} ${run.name}`))
    return null;
  const body = verb === "requeue" ? await startFrom(run) : undefined;
  if (body === null) return null;
  try {
    const after = await send("POST", `/v1/runs/${run.id}/${verb}`, body);
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
  const names = runs.map((run) => `${run.name} (${run.id}, at ${atStep(run)})`).join(", ");
  if (ASKED.includes(verb) && !await confirmThat(`${WORDS[verb]} ${runs.length} runs?`, names, `${WORDS[verb]} ${runs.length} runs`)) return;
  const answers = await Promise.allSettled(runs.map((run) => send("POST", `/v1/runs/${run.id}/${verb}`)));
  const failed = answers.filter((answer) => answer.status === "rejected");
  if (failed.length) toast(`${failed.length} of ${runs.length}: ${failed[0].reason.message}`);
  else announce(`${WORDS[verb]}: ${runs.length} runs`);
}

export const commandWord = (verb) => WORDS[verb];
