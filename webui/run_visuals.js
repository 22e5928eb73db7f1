/* What the encoder sees: held-out images beside their principal components, masks, errors and neighbours, by checkpoint. */
import {get, send} from "./api.js";
import {announce, button, empty, later, make, toast} from "./dom.js";
import {number} from "./format.js";
import {findVisuals, loadGrids} from "./visuals_data.js";
import {canvas, paintAttention, paintColours, paintCosines, paintDecoded, paintError, paintImage, paintMasks, paintRow} from "./visuals_paint.js";

const MADE_AT_ONCE = 20, ALIKE = 191;
const COLUMNS = [["image", "Image"], ["masks", "Masks", "What the encoder sees; blocks to predict are tinted, the rest is dark"],
  ["target", "Target", "Three principal components of the target encoder's patches as red, green and blue, one basis for all images"],
  ["context", "Context", "The same for the context encoder"], ["error", "Error", "1 minus the cosine of prediction and target: dark is right, yellow is wrong, grey was not predicted"],
  ["decoded", "Decoded", "Pixels that a linear decoder makes of the predictions, in the place of the blocks that were hidden"], ["attention", "Attended", "Attention that a patch receives in the target encoder's last block: dark is none, yellow the most in this image"],
  ["cosine", "Alike", "Cosine to the patch that was clicked: yellow is alike, dark is opposite"]];

/* A row of canvases for one image; a click or the arrows choose the patch that all others are compared with. */
class ImageRow {
  constructor(i, grids, head) {
    this.i = i;
    this.head = head;
    this.patch = Math.floor(grids.patches / 2 + grids.grid / 2);
    this.cells = Object.fromEntries(COLUMNS.map(([name, title]) => [name, canvas(`${title} of image ${i + 1}`)]));
    this.neighbours = canvas(`nearest neighbours of image ${i + 1}`, {class: "grid-canvas neighbours"});
    this.frame = make("span", {class: "patch-frame"});
    this.pick = make("div", {class: "pick-patch", tabindex: "0", role: "group", "aria-label": `Image ${i + 1}: click a patch or use the arrow keys`, onkeydown: (event) => this.move(event),
      onclick: (event) => this.point(event)}, this.cells.image, this.frame);
    this.name = make("p", {class: "small wrap"});
    this.element = make("article", {class: "card visual-row"}, make("div", {class: "visual-cells"}, COLUMNS.map(([name, title, help]) => make("figure", {"data-cell": name},
      name === "image" ? this.pick : this.cells[name], make("figcaption", {class: "quiet small", title: help}, title)))), this.name,
    make("details", {}, make("summary", {}, "Nearest neighbours of the first predicted block"), this.neighbours));
    this.show(grids);
  }

  show(grids) {
    this.grids = grids;
    const {i, cells} = this;
    paintImage(cells.image, grids, i);
    paintMasks(cells.masks, grids, i);
    paintColours(cells.target, grids, i, grids.target);
    paintColours(cells.context, grids, i, grids.context);
    if (grids.error) paintError(cells.error, grids, i);
    if (grids.decoded) paintDecoded(cells.decoded, grids, i);
    this.attend(this.head);
    this.name.textContent = grids.about.images[i].name;
    this.choose(this.patch, false);
  }

  /* -1: the mean over the heads. */
  attend(head) {
    this.head = head;
    if (this.grids.attention) paintAttention(this.cells.attention, this.grids, this.i, Math.min(head, this.grids.heads - 1));
  }

  showNeighbours(sheet, rows) {
    paintRow(this.neighbours, sheet, this.i, rows);
  }

  point(event) {
    const box = this.cells.image.getBoundingClientRect(), {grid} = this.grids, at = (share) => Math.max(0, Math.min(grid - 1, Math.floor(share * grid)));
    this.choose(at((event.clientY - box.y) / box.height) * grid + at((event.clientX - box.x) / box.width));
  }

  move(event) {
    const {grid} = this.grids, by = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!by) return;
    event.preventDefault();
    const row = Math.max(0, Math.min(grid - 1, Math.floor(this.patch / grid) + by[0])), column = Math.max(0, Math.min(grid - 1, this.patch % grid + by[1]));
    this.choose(row * grid + column);
  }

  choose(patch, told = true) {
    const {grid, cosines} = this.grids, row = Math.floor(patch / grid), column = patch % grid;
    this.patch = patch;
    Object.assign(this.frame.style, {left: `${column / grid * 100}%`, top: `${row / grid * 100}%`, width: `${100 / grid}%`, height: `${100 / grid}%`});
    this.element.dataset.patch = patch;
    if (!cosines) return;
    paintCosines(this.cells.cosine, this.grids, this.i, patch);
    if (!told) return;
    const values = cosines.subarray((this.i * this.grids.patches + patch) * this.grids.patches).subarray(0, this.grids.patches);
    announce(`patch row ${row + 1}, column ${column + 1}: ${values.filter((one) => one > ALIKE).length - 1} others are alike, cosine above 0.5`);
  }
}

function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = make("img", {alt: ""});
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The picture could not be read."));
    image.src = address;
  });
}

export async function visualsTab({run, who, fail}) {
  const rows = make("div", {class: "visual-rows"}), note = make("p", {class: "quiet small"}), label = make("output", {for: "v-step"});
  const slider = make("input", {id: "v-step", type: "range", min: "0", step: "1", oninput: () => show(Number(slider.value)).catch(fail)});
  const heads = make("select", {onchange: () => shown.forEach((row) => row.attend(Number(heads.value)))}, make("option", {value: "-1"}, "all heads"));
  const headsBox = make("label", {class: "inline", hidden: true}, "Attention of", heads);
  const tools = make("div", {class: "row toolbar"}), made = new Map();
  let found = {shots: [], checkpoints: [], seen: new Set(), under_way: 0}, known = "", shown = [], turn = 0;

  const missing = () => found.checkpoints.filter((item) => !found.seen.has(item.sha256)).length;

  async function submit() {
    const {resolved} = await get(`/v1/runs/${run.id}/config`), {dataset, eval_dataset: held, labels, limit, eval_limit: heldLimit, crop, mean, std, seed} = resolved.params || resolved;
    const params = Object.fromEntries(Object.entries({dataset, eval_dataset: held, labels, limit, eval_limit: heldLimit, crop, mean, std, seed}).filter(([, value]) => value !== "" && value !== undefined));
    try {
      await send("POST", "/v1/runs", {kind: "visualize", name: `${run.name.slice(0, 55)}-pictures`, params: {...params, checkpoint: run.id, history: Math.min(MADE_AT_ONCE, found.checkpoints.length)}});
      announce("The pictures are in the queue");
      await load();
    } catch (error) {
      toast(error.message);
    }
  }

  function gridsOf(shot) {
    const key = `${shot.run.id} ${shot.grids}`;
    if (!made.has(key)) made.set(key, loadGrids(shot));
    return made.get(key);
  }

  async function show(i) {
    const mine = ++turn, shot = found.shots[i], grids = await gridsOf(shot);
    if (mine !== turn) return;
    label.textContent = `step ${shot.step}, epoch ${number(shot.epochs)}${shot.mean_error === undefined ? "" : `, mean error ${number(shot.mean_error)}`}`;
    slider.setAttribute("aria-valuetext", label.textContent);
    if (shown.length === grids.images && shown[0].grids.patches === grids.patches) shown.forEach((row) => row.show(grids));
    else {
      shown = Array.from({length: grids.images}, (_, k) => new ImageRow(k, grids, Number(heads.value)));
      rows.replaceChildren(...shown.map((row) => row.element));
    }
    rows.dataset.step = shot.step;
    if (heads.options.length !== grids.heads + 1) heads.replaceChildren(...Array.from({length: grids.heads + 1}, (_, h) => make("option", {value: h - 1}, h ? `head ${h}` : "all heads")));
    headsBox.hidden = !grids.heads;
    const neighbours = shot.files.find((file) => file.startsWith("neighbors"));
    if (neighbours) {
      const sheet = await loadImage(`/v1/runs/${shot.run.id}/files/${neighbours}`);
      if (mine === turn) shown.forEach((row) => row.showNeighbours(sheet, grids.images));
    }
  }

  async function load() {
    found = await findVisuals(run);
    const {shots} = found, todo = missing(), may = who.role !== "viewer" && run.kind === "pretrain", key = shots.map((shot) => shot.run.id + shot.grids).join();
    slider.max = String(Math.max(0, shots.length - 1));
    slider.disabled = shots.length < 2;
    tools.replaceChildren(...(shots.length ? [make("label", {class: "inline slider", for: "v-step"}, "Checkpoint", slider), label, headsBox] : []), make("span", {class: "grow"}),
      found.under_way ? make("span", {class: "quiet small"}, `${found.under_way} being made`) : "",
      may && todo && !found.under_way ? button(`Make pictures of ${found.checkpoints.length} checkpoint${found.checkpoints.length > 1 ? "s" : ""}`, () => submit().catch(fail), shots.length ? "plain" : "", {"data-verb": "visualize"}) : "");
    note.textContent = shots.length ? "Held-out images, the same at each checkpoint. Click a patch, or focus an image and use the arrow keys, to see which patches are like it." : "";
    if (!shots.length) rows.replaceChildren(empty(found.under_way ? "The first pictures are being made." : found.checkpoints.length || run.kind !== "pretrain" ? "No pictures yet." : "No pictures yet; they are made from checkpoints, and there is none."));
    else if (key !== known) {
      known = key;
      slider.value = String(shots.length - 1);
      await show(shots.length - 1);
    }
  }
  await load();
  const reload = later(() => load().catch(fail), 800);
  return {element: make("div", {}, tools, note, rows), onAny: (type, data) => { if (type === "run.state" && data.state === "succeeded") reload(); },
    onEvent: (type) => { if (type === "run.checkpoint") reload(); }, refresh: reload, close: () => reload.cancel()};
}
