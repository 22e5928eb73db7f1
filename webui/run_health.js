/* The health of one run: the verdict with the rule that fired, above the figures that it was made from. */
import {get} from "./api.js";
import {make} from "./dom.js";
import {toldVerdict, verdict, verdictChip} from "./health.js";
import {chartsOf} from "./run_charts.js";
import {isSpectrum, showSpectrum} from "./spectrum.js";

export async function healthTab(context) {
  const box = make("section", {class: "card verdict", "aria-label": "Verdict", "aria-live": "polite"});
  const spectrum = make("section", {class: "card", "aria-label": "Spectrum", hidden: true});
  let shown = null, checks = -1;

  /* At every new check. */
  function redrawSpectrum(step) {
    if (step === checks) return;
    checks = step;
    get(`/v1/runs/${context.run.id}/metrics`).then(({items}) => showSpectrum(spectrum, context.run.id, items.map((item) => item.key))).catch(context.fail);
  }

  function show(all) {
    const data = new Map([...all].filter(([, runs]) => runs.has(context.run.id)).map(([key, runs]) => [key, runs.get(context.run.id)]));
    redrawSpectrum(data.get("ssl/rankme")?.step.length);
    const {level, rules} = toldVerdict(context.run) || verdict(data), key = level + rules.map((rule) => rule.text).join();
    if (key === shown) return;
    shown = key;
    const fine = level === "good" ? "The features keep their rank, the targets keep varying, different images stay apart."
      : "The first check of the features has not come yet.";
    box.replaceChildren(make("div", {class: "row"}, make("h2", {}, "Is it learning?"), verdictChip(level)),
      rules.length ? make("ul", {}, rules.map((rule) => make("li", {}, rule.text))) : make("p", {}, fine),
      make("p", {class: "quiet small"}, "From the figures below, not from the loss: the loss may rise while the features get better."));
  }
  const charts = await chartsOf(context, (key) => key.startsWith("ssl/") && !isSpectrum(key), show);
  return {...charts, element: make("div", {}, box, spectrum, charts.element)};
}
