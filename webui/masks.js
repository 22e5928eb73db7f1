/* Which patches one image shows to the encoder, and which are to be predicted, under the parameters of the form. */
import {send} from "./api.js";
import {button, later, make, makeSvg} from "./dom.js";

const SIZE = 240, DRAWS = 1000, BINS = 40, BAR_HEIGHT = 40, LETTERS = "ABCDEFGHIJKLMNOP";
const NEEDED = ["preset", "masking", "masked_share", "target_at", "crop", "patch", "sampler", "targets", "target_scale", "target_aspect", "context_scale", "min_keep", "model", "batch", "seed"];

/* One square per patch; a target is drawn in its colour with its letter, so colour is not needed. */
function picture({grid, context, targets}) {
  const side = SIZE / grid, seen = new Set(context);
  const cell = (i, kind, gap = 0.5) => makeSvg("rect", {x: (i % grid) * side + gap, y: Math.floor(i / grid) * side + gap, width: side - 2 * gap,
    height: side - 2 * gap, class: kind});
  const outlines = targets.map((target, n) => {
    const xs = target.map((i) => i % grid), ys = target.map((i) => Math.floor(i / grid)), x = Math.min(...xs), y = Math.min(...ys);
    return {box: makeSvg("rect", {x: x * side + 1.5, y: y * side + 1.5, width: (Math.max(...xs) - x + 1) * side - 3,
      height: (Math.max(...ys) - y + 1) * side - 3, class: `target stroke-${n % 8}`}),
    name: makeSvg("text", {x: x * side + 6, y: y * side + 16, class: "target-name"}, LETTERS[n])};
  });
  return makeSvg("svg", {viewBox: `0 0 ${SIZE} ${SIZE}`, class: "masks", role: "img",
    "aria-label": `${grid} by ${grid} patches: ${context.length} seen, ${targets.length} targets of ${targets.map((one) => one.length).join(", ")}`},
  Array.from({length: grid * grid}, (_, i) => cell(i, seen.has(i) ? "patch seen" : "patch")),
  outlines.map((one) => one.box), outlines.map((one) => one.name));
}

/* How many patches many images would show. A batch keeps as many as its smallest. */
function keptChart({draws, counts}) {
  const low = counts[0][0], high = counts[counts.length - 1][0], width = Math.ceil((high - low + 1) / BINS), bars = new Array(Math.ceil((high - low + 1) / width)).fill(0);
  for (const [size, n] of counts) bars[Math.floor((size - low) / width)] += n;
  const most = Math.max(...bars), step = SIZE / bars.length, mean = counts.reduce((sum, [size, n]) => sum + size * n, 0) / draws;
  const text = `Of ${draws} images: ${low} to ${high} patches seen, ${mean.toFixed(0)} in the mean.`;
  return [makeSvg("svg", {viewBox: `0 0 ${SIZE} ${BAR_HEIGHT}`, class: "kept", role: "img", "aria-label": text}, bars.map((n, i) =>
    makeSvg("rect", {x: i * step, y: BAR_HEIGHT * (1 - n / most), width: Math.max(1, step - 1), height: BAR_HEIGHT * n / most, class: "patch seen"}))),
  make("p", {class: "quiet small"}, text)];
}

export class MaskPreview {
  /* values(): the parameters of the form */
  constructor(values) {
    this.values = values;
    this.sample = 0;
    this.image = make("div", {class: "mask-image"});
    this.note = make("p", {class: "quiet small mask-note", "aria-live": "polite"});
    this.kept = make("div", {class: "kept-box"});
    this.update = later(() => this.load(), 250);
    this.element = make("section", {class: "card", "aria-label": "Mask preview"}, make("div", {class: "row"}, make("h2", {}, "Masks"),
      make("span", {class: "grow"}), button("‹", () => this.step(-1), "icon", {"aria-label": "previous sample"}),
      button("›", () => this.step(1), "icon", {"aria-label": "next sample"})), this.image, this.note, this.kept);
  }

  step(by) {
    this.sample = Math.max(0, this.sample + by);
    this.load();
  }

  async load() {
    const all = this.values(), params = Object.fromEntries(NEEDED.filter((key) => key in all).map((key) => [key, all[key]]));
    try {
      const masks = await send("POST", "/v1/preview/masks", {params, sample: this.sample, draws: DRAWS});
      this.image.replaceChildren(picture(masks));
      const share = Math.round(masks.context.length / masks.grid ** 2 * 100);
      this.note.textContent = `Sample ${this.sample}: the encoder sees ${masks.context.length} of ${masks.grid ** 2} patches (${share} %), ` +
        `and predicts ${masks.targets.length} blocks of ${[...new Set(masks.targets.map((one) => one.length))].join(", ")}.`;
      this.kept.replaceChildren(...keptChart(masks.kept));
    } catch (error) {
      this.note.textContent = `No masks: ${error.message}`;
    }
  }
}
