/* What may be changed about a run while it goes on, and taking an ended one away for good. */
import {get, send} from "./api.js";
import {askForm, confirmThat} from "./dialog.js";
import {announce, toast} from "./dom.js";
import {bytes} from "./format.js";

const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);
const whole = (text) => (text === "" || isNaN(Number(text)) ? text : Number(text));

/* The run as it then is; null: left as it was. */
export const editRun = (run) => askForm(`Change ${run.name} (${run.id})`, [["name", "Name", run.name, {maxlength: 64}],
  ["priority", "Priority, higher starts first", String(run.priority), {inputmode: "numeric"}],
  ["tags", "Tags, parted by commas", (run.tags || []).join(", ")], ["notes", "Notes", run.notes || "", {rows: 4}]], "Change",
({name, priority, tags, notes}) => send("PATCH", `/v1/runs/${run.id}`, {name, priority: whole(priority), tags: words(tags), notes}));

/* true: it is gone. */
export async function deleteRun(run) {
  try {
    const [{freed_bytes: freed}, checkpoints] = await Promise.all([send("DELETE", `/v1/runs/${run.id}?dry_run=1`), get(`/v1/runs/${run.id}/checkpoints`)]);
    const text = `Its ${checkpoints.items.length} checkpoints, its logs, figures and results are gone for good, and ${bytes(freed)} become free. The audit log still says that it was there.`;
    if (!await confirmThat(`Delete ${run.name} (${run.id})?`, text, `Delete ${run.name}`)) return false;
    await send("DELETE", `/v1/runs/${run.id}`);
    announce(`${run.name} is deleted`);
    return true;
  } catch (error) {
    toast(error.message);
    return false;
  }
}
