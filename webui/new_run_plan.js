/* What a run will take: memory and work as the server plans them, time from a run that this machine has done. */
import {get, query, send} from "./api.js";
import {make} from "./dom.js";
import {bytes, count, duration, number} from "./format.js";

const LOOKED_AT = 40;

function factList(facts) {
  return make("dl", {class: "facts"}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

export const planList = (plan) => factList([["Encoder", `${count(plan.parameters_encoder)} parameters`], ["Predictor", `${count(plan.parameters_predictor)} parameters`],
  ["Memory in all", bytes(plan.bytes_total)], ["of it activations", bytes(plan.bytes_activations)], ["A checkpoint", bytes(plan.bytes_checkpoint)],
  ["Work per image", `${count(plan.flop_per_image)}FLOP`]]);

/* Where it would stand among those that wait; each of at least its priority is in front of it, and whoever those have in front. */
export async function placeText(priority = 0) {
  const {waiting} = await get("/v1/queue"), ahead = waiting.findLastIndex((run) => run.priority >= priority) + 1;
  if (!waiting.length) return "Nothing waits before it.";
  return ahead === waiting.length ? `${ahead} ${ahead === 1 ? "run waits" : "runs wait"} before it.` : `It would pass ${waiting.length - ahead} of the ${waiting.length} that wait, to place ${ahead + 1}.`;
}

const planned = async (kind, params) => (await send("POST", "/v1/runs?dry_run=1", {kind, params})).plan;

/* The newest run that told its rate, on these images if there is one: {run, params, flop}, or null. */
async function example(kind, dataset) {
  const {items} = await get("/v1/runs" + query({kind, limit: LOOKED_AT}));
  const timed = items.filter((run) => run.images_per_s && run.steps);
  const run = timed.find((one) => one.dataset === dataset) || timed[0];
  if (!run) return null;
  const {resolved} = await get(`/v1/runs/${run.id}/config`), params = resolved.params || resolved;
  const plan = await planned(kind, params).catch(() => null);
  return plan ? {run, params, flop: plan.flop_per_image} : null;
}

export class TimeEstimate {
  constructor(kind) {
    this.kind = kind;
    this.known = new Map();
    this.element = make("div", {});
  }

  /* Work in proportion: the rate of the other run, by the work per image; its images per epoch, if they are the same. */
  async show(params, plan) {
    if (!plan?.flop_per_image || !params.epochs) return this.element.replaceChildren();
    if (!this.known.has(params.dataset)) this.known.set(params.dataset, example(this.kind, params.dataset).catch(() => null));
    const other = await this.known.get(params.dataset);
    if (!other) return this.element.replaceChildren(make("p", {class: "quiet small"}, "How long: not known before a first run on this machine."));
    const {run} = other, rate = run.images_per_s * other.flop / plan.flop_per_image;
    const images = run.dataset === params.dataset && other.params.epochs
      ? run.steps * other.params.batch * (other.params.accumulate || 1) / other.params.epochs * params.epochs : null;
    return this.element.replaceChildren(factList([["Time, about", images ? duration(images / rate) : "–"], ["Rate, about", `${number(rate, 2)} images/s`]]),
      make("p", {class: "quiet small"}, "From the rate of ", make("a", {href: `#/${run.id}`}, run.name), images ? " on the same images, by the work per image."
        : "; its images are others, so the number of steps is not known."));
  }
}
