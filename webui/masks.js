/* Which patches one image shows to the encoder, and which are to be predicted, under the parameters of the form. */
import {send} from "./api.js";
import {button, later, make, makeSvg} from "./dom.js";

const SIZE = 240, LETTERS = "ABCDEFGHIJKLMNOP";
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

export class MaskPreview {
  /* values(): the parameters of the form */
  constructor(values) {
    this.values = values;
    this.sample = 0;
    this.image = make("div", {class: "mask-image"});
    this.note = make("p", {class: "quiet small mask-note", "aria-live": "polite"});
    this.update = later(() => this.load(), 250);
    this.element = make("section", {class: "card", "aria-label": "Mask preview"}, make("div", {class: "row"}, make("h2", {}, "Masks"),
      make("span", {class: "grow"}), button("‹", () => this.step(-1), "icon", {"aria-label": "previous sample"}),
      button("›", () => this.step(1), "icon", {"aria-label": "next sample"})), this.image, this.note);
  }

  step(by) {
    this.sample = Math.max(0, this.sample + by);
    this.load();
  }

  async load() {
    const all = this.values(), params = Object.fromEntries(NEEDED.filter((key) => key in all).map((key) => [key, all[key]]));
    try {
      const masks = await send("POST", "/v1/preview/masks", {params, sample: this.sample});
      this.image.replaceChildren(picture(masks));
      const share = Math.round(masks.context.length / masks.grid ** 2 * 100);
      this.note.textContent = `Sample ${this.sample}: the encoder sees ${masks.context.length} of ${masks.grid ** 2} patches (${share} %), ` +
        `and predicts ${masks.targets.length} blocks of ${[...new Set(masks.targets.map((one) => one.length))].join(", ")}.`;
    } catch (error) {
      this.note.textContent = `No masks: ${error.message}`;
    }
  }
}
