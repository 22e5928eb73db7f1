/* The kinds of runs that this server knows, with their names for people. */
import {get} from "./api.js";

const NAMES = {pretrain: "Pretraining", linear_probe: "Linear probe", knn: "k-NN", low_shot: "Low-shot", finetune: "Fine-tuning", clevr: "Clevr",
  features: "Features", visualize: "Pictures", scan: "Dataset check", benchmark: "Benchmark"};
let known = null;

export const NAMED_KINDS = Object.keys(NAMES);
export const kindName = (kind) => NAMES[kind] || kind;

/* Asked once per tab; from the API's own description, so that a new kind is there without a change here. */
export function kinds() {
  known ||= get("/v1/openapi.json").then((document) => document.components.schemas.Submission.oneOf.map((one) => one.properties.kind.const))
    .catch((error) => {
      known = null;
      throw error;
    });
  return known;
}
