/*
 * What pictures of a run there are: "visualize" runs over its checkpoints, each of which wrote a grid of values per
 * checkpoint with colours that match from each to the next (docs/formats.md). The newest one of a checkpoint counts.
 */
import {get, getBytes, query} from "./api.js";
import {readSafetensors} from "./safetensors.js";
import {ended} from "./states.js";

const LOOKED_AT = 60;

async function submittedOf(one) {
  const {submitted} = await get(`/v1/runs/${one.id}/config`);
  return submitted.params || submitted;
}

/* Visualisations of this run, oldest first. A run of that kind is its own. */
async function runsAbout(run, checkpoints) {
  if (run.kind === "visualize") return [run];
  const {items} = await get("/v1/runs" + query({kind: "visualize", limit: LOOKED_AT})), ids = new Set([run.id, ...checkpoints.map((item) => item.id)]);
  const sources = await Promise.all(items.map((one) => submittedOf(one)));
  return items.filter((_, i) => ids.has(sources[i].checkpoint)).reverse();
}

/* {shots: [{run, about, step, grids, files, mean_error}] by step, under_way, checkpoints: valid ones, seen: their hashes} */
export async function findVisuals(run) {
  const checkpoints = (await get(`/v1/runs/${run.id}/checkpoints`)).items, runs = await runsAbout(run, checkpoints);
  const abouts = await Promise.all(runs.filter((one) => one.state === "succeeded").map((one) =>
    get(`/v1/runs/${one.id}/files/visualize.json`).then((about) => ({run: one, about}), () => null)));
  const byStep = new Map();
  for (const {run: from, about} of abouts.filter(Boolean)) for (const shot of about.checkpoints || []) byStep.set(shot.step, {...shot, run: from, about});
  const shots = [...byStep.values()].sort((a, b) => a.step - b.step);
  return {shots, under_way: runs.filter((one) => !ended(one.state)).length, checkpoints: checkpoints.filter((item) => item.state === "valid"),
    seen: new Set(shots.map((shot) => shot.sha256))};
}

/* Arrays by name, null where the file has none. */
export async function loadGrids({run, about, grids: file}) {
  const arrays = readSafetensors(await getBytes(`/v1/runs/${run.id}/files/${file}`)), pick = (name) => arrays.get(name)?.values || null;
  const [images, patches] = arrays.get("pca_rgb").shape;
  return {about, images, patches, grid: about.grid, crop: about.crop, pixels: pick("images"), target: pick("pca_rgb"), context: pick("pca_context_rgb"), error: pick("error"),
    cosines: pick("similarity_all"), contextMask: pick("context_mask"), targetMasks: pick("target_masks"), blocks: arrays.get("target_masks").shape[1], decoded: pick("decoded_prediction"), attention: pick("attention"), heads: arrays.get("attention")?.shape[1] || 0};
}
