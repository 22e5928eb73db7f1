/* What the figures mean, and their values: queries by column, smoothing, limits without outliers. */
import {get, query} from "./api.js";

/* key -> [title, what it says] */
const KNOWN = {
  "train/loss": ["Training loss", "A proxy only: it may fall and then rise as the targets get harder. A sudden drop is the bad sign."],
  "ssl/probe/knn_top1": ["k-NN top-1", "Nearest neighbours on frozen features; the measure to trust."],
  "ssl/rankme": ["RankMe", "Effective rank of the features; a fall of 30 % from its maximum is a warning."],
  "train/cosine": ["Prediction cosine", "Between predictions and targets."],
  "ssl/pair_cos": ["Cosine of different images", "Above 0.9 the features hardly tell images apart."],
  "ssl/target_std": ["Target deviation, mean", "Of the targets' dimensions; half within 1000 steps is a warning."],
  "ssl/target_std_min": ["Target deviation, smallest", "A dimension that does not vary any more is lost."],
  "ssl/target_std_p5": ["Target deviation, lowest twentieth", "The 5th percentile over the targets' dimensions."],
  "ssl/dead_dims": ["Dead dimensions", "Share of the targets' dimensions that hardly vary."],
  "ssl/ctx_std": ["Context deviation", "Of the context encoder's features."],
  "ssl/pred_std": ["Prediction deviation", "Of the predictions; near 0 they are all alike."],
  "ssl/explained": ["Explained variance", "1 minus the loss over the variance of the targets, of the same batch."],
  "ssl/lidar": ["LiDAR", "Effective rank between images over the rank within one image's masks."],
  "ssl/ema_gap": ["Distance of the two encoders", "Relative to the weights; it should not grow for ever."],
  "train/lr": ["Learning rate", "Warm-up, then a cosine."],
  "train/images_per_s": ["Images per second", "Of each step."],
  "train/grad_norm": ["Gradient norm", "Over all parameters."],
  "train/grad_norm_first": ["Gradient norm, first block", "Of the encoder's first block."],
  "train/grad_norm_last": ["Gradient norm, last block", "Of the encoder's last block."],
  "train/ema_momentum": ["Target momentum", "Share of the old target encoder kept at each step."],
  "train/weight_decay": ["Weight decay", "Grows along a cosine."],
  "train/context_patches": ["Context patches", "Patches that the encoder sees."],
  "train/target_patches": ["Target patches", "Patches per target block."],
  "train/data_wait_s": ["Waiting for data", "Seconds of each step."],
};
const ORDER = Object.keys(KNOWN);

export const titleOf = (key) => (KNOWN[key] || [key])[0];
export const helpOf = (key) => (KNOWN[key] || [key, ""])[1];
export const rankOf = (key) => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length);
export const inOrder = (keys) => [...keys].sort((a, b) => rankOf(a) - rankOf(b) || a.localeCompare(b));

/* As the catalogue names it: a key that already begins with its stream's name stays as it is. */
export const metricName = (stream, key) => (key.startsWith(stream + "/") ? key : `${stream}/${key}`);

/* Map key -> Map run -> {step, last, min, max}; columns are plain arrays, null where not finite. */
export async function load(runs, keys, {from, to, superseded, points = 700} = {}) {
  const found = new Map(keys.map((key) => [key, new Map()]));
  if (!runs.length || !keys.length) return found;
  for (let at = 0; at < keys.length; at += 50) {
    const some = keys.slice(at, at + 50);
    const answer = await get("/v1/metrics" + query({runs: runs.join(","), keys: some.join(","), from, to, superseded, max_points: points}));
    for (const table of answer.tables)
      for (const series of table.series) {
        const key = metricName(table.stream, series.key);
        if (found.has(key)) found.get(key).set(table.run, columns(table.step, series));
      }
  }
  return found;
}

function columns(step, series) {
  return {step: [...step], last: series.last || [], min: series.min || series.last || [], max: series.max || series.last || [],
    nonfinite: series.nonfinite || 0};
}

/* A frame of the stream at the end of what is known. False: it is not newer. */
export function append(data, step, value) {
  if (data.step.length && step <= data.step[data.step.length - 1]) return false;
  data.step.push(step);
  for (const column of [data.last, data.min, data.max]) column.push(value);
  return true;
}

/* Schedules and the few values of checks are shown as they are. */
export const smoothable = (key, values) => !["train/lr", "train/weight_decay", "train/ema_momentum"].includes(key) && !key.startsWith("ssl/") && values.length >= 20;

/* Exponential mean without the start's bias; weight in 0 … 1, 0 leaves the values as they are. */
export function smooth(values, weight) {
  let mean = 0, share = 1;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return mean / (1 - share);
  });
}

/* The range that holds all but the lowest and the highest hundredth. */
export function central(values) {
  const known = values.filter((value) => value !== null && isFinite(value)).sort((a, b) => a - b);
  if (known.length < 20) return null;
  const low = known[Math.floor(known.length * 0.01)], high = known[Math.ceil(known.length * 0.99) - 1];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - margin, high + margin];
}
