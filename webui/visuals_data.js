/*
 * What pictures of a run there are: its "visualize" runs, one per checkpoint, with the grids that they wrote. The colours
 * of principal components have no order and no sign: each grid is matched to the one before, so that they do not jump.
 */
import {get, getBytes, query} from "./api.js";
import {readSafetensors} from "./safetensors.js";

const LOOKED_AT = 200;

/* Visualisations of a run's checkpoints, oldest checkpoint first: {run, about, step}. `about` is its visualize.json. */
export async function findVisuals(run) {
  const {items: checkpoints} = await get(`/v1/runs/${run.id}/checkpoints`);
  const steps = new Map(checkpoints.map((item) => [item.id, item.step])), hashes = new Map(checkpoints.map((item) => [item.sha256, item.step]));
  const {items} = await get("/v1/runs" + query({kind: "visualize", limit: LOOKED_AT}));
  const wanted = await Promise.all(items.map(async (one) => ({one, from: (await get(`/v1/runs/${one.id}/config`)).submitted})));
  const mine = wanted.filter(({one, from}) => one.id === run.id || (from.params || from).checkpoint === run.id || steps.has((from.params || from).checkpoint)).map(({one}) => one);
  const ended = mine.filter((one) => one.state === "succeeded");
  const found = await Promise.all(ended.map((one) => readAbout(one, hashes).catch(() => null)));
  const byStep = new Map(found.filter(Boolean).sort((a, b) => Number(a.run.id.slice(1)) - Number(b.run.id.slice(1))).map((one) => [one.step, one]));
  return {visuals: [...byStep.values()].sort((a, b) => a.step - b.step), under_way: mine.filter((one) => !["succeeded", "failed", "canceled", "quarantined"].includes(one.state)).length,
    checkpoints: checkpoints.filter((item) => item.state === "valid")};
}

async function readAbout(run, hashes) {
  const about = await get(`/v1/runs/${run.id}/files/visualize.json`);
  return {run, about, step: hashes.get(about.checkpoint_sha256) ?? Math.round(about.epochs * 1000) / 1000, known: hashes.has(about.checkpoint_sha256)};
}

/* [order, sign] of `scores`' three components that are most like those of `before`, by their correlation, greatest first. */
export function matchComponents(before, scores) {
  const n = scores.length / 3, dot = (a, i, b, j) => {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += a[3 * k + i] * b[3 * k + j];
    return sum;
  };
  const length = (a, i) => Math.sqrt(dot(a, i, a, i)) || 1, pairs = [];
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) pairs.push([i, j, dot(before, i, scores, j) / length(before, i) / length(scores, j)]);
  pairs.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
  const order = [], sign = [], used = new Set();
  for (const [i, j, value] of pairs)
    if (order[i] === undefined && !used.has(j)) {
      order[i] = j;
      sign[i] = value < 0 ? -1 : 1;
      used.add(j);
    }
  return {order, sign};
}

function rearranged(scores, {order, sign}) {
  const out = new Float32Array(scores.length);
  for (let k = 0; k < scores.length; k += 3) for (let i = 0; i < 3; i++) out[k + i] = sign[i] * scores[k + order[i]];
  return out;
}

/* The grids of one visualisation; before: those of the checkpoint before, or null. */
export async function loadGrids({run, about}, before) {
  const arrays = readSafetensors(await getBytes(`/v1/runs/${run.id}/files/grids.safetensors`));
  const pick = (name) => arrays.get(name)?.values || null, [images, patches] = arrays.get("pca_scores").shape;
  let target = pick("pca_scores"), context = pick("pca_context_scores");
  if (before && before.target.length === target.length) {
    const match = matchComponents(before.target, target);
    target = rearranged(target, match);
    context = rearranged(context, match);
  }
  const crop = arrays.get("pixels")?.shape[1] || 0, masks = arrays.get("target_masks");
  return {about, images, patches, grid: about.grid, crop, target, context, range: colourRange(target), error: pick("error"), cosines: pick("patch_cosine"), pixels: pick("pixels"),
    contextMask: pick("context_mask"), targetMasks: masks.values, blocks: masks.shape[1]};
}

/* Per component what is below all but a fiftieth of the scores, and above. */
function colourRange(scores) {
  return [0, 1, 2].map((i) => {
    const column = scores.filter((_, k) => k % 3 === i).sort(), n = column.length - 1;
    const low = column[Math.floor(n * 0.02)], high = column[Math.floor(n * 0.98)];
    return [low, high > low ? high : low + 1];
  });
}
