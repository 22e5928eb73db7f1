/* Storage: the disk, what a clean-up would free before it frees it, a copy of the database. */
import {get, getText, query, send} from "./api.js";
import {confirmThat} from "./dialog.js";
import {diskGauge} from "./disk.js";
import {button, empty, make, simpleTable, toast} from "./dom.js";
import {bytes, time} from "./format.js";

const LISTED = 100;

function cleanUpCard() {
  const keep = make("input", {id: "gc-keep", inputmode: "numeric", value: "1", size: 4, autocomplete: "off"}), error = make("p", {class: "error", role: "alert"});
  const found = make("div", {"aria-live": "polite"});
  const body = () => ({keep: isNaN(Number(keep.value)) || keep.value.trim() === "" ? keep.value : Number(keep.value)});
  const gone = (answer) => answer.items.filter((item) => !item.detail);

  async function clean(answer) {
    const count = gone(answer).length, runs = [...new Set(gone(answer).map((item) => item.run))];
    if (!await confirmThat(`Delete ${count} checkpoints of ${runs.join(", ")}?`, `${bytes(answer.freed_bytes)} on the disk. Those runs can be continued only from the checkpoints that stay.`,
      `Delete ${count} checkpoints`)) return;
    try {
      const done = await send("POST", "/v1/admin/gc", body());
      toast(`${gone(done).length} checkpoints are gone, ${bytes(done.freed_bytes)} freed.`, "good");
      await look();
    } catch (failure) {
      error.textContent = failure.message;
    }
  }

  async function look() {
    error.textContent = "";
    try {
      const answer = await send("POST", "/v1/admin/gc?dry_run=1", body()), items = gone(answer), kept = answer.items.length - items.length;
      found.replaceChildren(items.length ? make("div", {}, make("p", {}, make("b", {}, bytes(answer.freed_bytes)), ` in ${items.length} checkpoints would go${answer.more ? ", and there are more" : ""}`,
        kept ? `; ${kept} stay because they are pinned or in use.` : "."), simpleTable(["Checkpoint", "Run", ["Step", "number"], ["Size", "number"]], items.slice(0, LISTED).map((item) => [item.id,
        make("a", {href: `#/${item.run}`}, item.run), String(item.step), bytes(item.freed_bytes)]), "Checkpoints that would go"), make("p", {}, button(`Delete ${items.length} checkpoints …`,
        () => clean(answer), "danger", {"data-verb": "gc"}))) : empty("Nothing would go."));
    } catch (failure) {
      error.textContent = failure.message;
    }
  }
  const form = make("form", {class: "row form-row"}, make("label", {for: "gc-keep"}, "Newest checkpoints that stay, per run", keep), make("button", {type: "submit", class: "plain"}, "What would go?"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
  return make("section", {class: "card", "aria-label": "Clean-up"}, make("h2", {}, "Clean-up"), make("p", {class: "quiet"}, "Old checkpoints of runs that have ended. Pinned ones stay, and the newest of each run."),
    form, error, found);
}

async function usage(fail) {
  const box = make("section", {class: "card", "aria-label": "Disk"});
  const text = await getText("/metrics").catch((error) => fail(error));
  if (text) box.replaceChildren(make("h2", {}, "Disk"), ...diskGauge(text));
  return box;
}

/* The runs whose checkpoints take the most room. */
async function biggestCard() {
  const {items} = await get("/v1/runs" + query({kind: "pretrain", limit: 100}));
  const lists = await Promise.all(items.slice(0, 40).map((run) => get(`/v1/runs/${run.id}/checkpoints`).catch(() => ({items: []}))));
  const rows = items.slice(0, 40).map((run, i) => ({run, here: lists[i].items.filter((item) => item.state === "valid")}))
    .map((row) => ({...row, size: row.here.reduce((sum, item) => sum + item.size_bytes, 0)})).filter((row) => row.size).sort((a, b) => b.size - a.size).slice(0, 10);
  return make("section", {class: "card", "aria-label": "Checkpoints by run"}, make("h2", {}, "Checkpoints by run"), rows.length ? simpleTable(["Run", ["Checkpoints", "number"], ["Size", "number"]],
    rows.map(({run, here, size}) => [make("a", {href: `#/${run.id}/checkpoints`}, `${run.name} (${run.id})`), String(here.length), bytes(size)]), "Checkpoints by run") : empty("None."));
}

async function backupCard() {
  const file = make("input", {id: "b-file", required: true, placeholder: "/path/on/the/server/state.db", spellcheck: "false", autocomplete: "off"});
  const error = make("p", {class: "error", role: "alert"});
  const form = make("form", {class: "row form-row"}, make("label", {for: "b-file", class: "grow"}, "A copy elsewhere: new file on the server", file), make("button", {type: "submit"}, "Copy the database"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await send("POST", "/v1/admin/backup", {file: file.value.trim()});
      toast(`The state database is in ${file.value.trim()}.`, "good");
    } catch (failure) {
      error.textContent = failure.message;
    }
  });
  const list = make("div", {});
  const load = async () => {
    const [{items}, {backups}] = await Promise.all([get("/v1/admin/backups"), get("/v1/status")]);
    list.replaceChildren(make("p", {class: "small"}, backups.running ? "A copy is being made." : backups.error ? make("span", {class: "bad"}, `The last copy failed: ${backups.error}`) : ""), items.length ? simpleTable(["Copy", "Of", "Made", ["Size", "number"]], items.slice(0, 8).map((item) => [make("code", {class: "wrap"}, item.name), item.database, time(item.made), bytes(item.size_bytes)]), "Backups")
      : empty("No copy yet."));
  };
  const copy = () => send("POST", "/v1/admin/backup").then(() => setTimeout(() => load().catch(() => {}), 1500)).catch((failure) => { error.textContent = failure.message; });
  await load().catch((failure) => { error.textContent = failure.message; });
  return make("section", {class: "card", "aria-label": "Backup"}, make("div", {class: "row"}, make("h2", {}, "Backup"), make("span", {class: "grow"}), button("Copy now", copy, "plain", {"data-verb": "backup"})), make("p", {class: "quiet"}, "Copies of the databases are made on schedule and checked. Checkpoints are files of their own."), list, form, error);
}

export async function storageSection({fail}) {
  return make("div", {class: "two"}, make("div", {}, await usage(fail), cleanUpCard()), make("div", {}, await backupCard(), await biggestCard()));
}
