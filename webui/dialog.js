/* Questions, help and the licences: native modal dialogs, so that focus and Escape behave. */
import {button, make} from "./dom.js";

/* buttons: [text, class, answer]; null: it was closed in another way. */
export function ask(title, body, buttons) {
  return new Promise((resolve) => {
    const dialog = make("dialog", {"aria-labelledby": "dialog-title"});
    const close = (value) => {
      dialog.returnValue = value;
      dialog.close();
    };
    dialog.append(make("h2", {id: "dialog-title"}, title), body,
      make("div", {class: "row end"}, buttons.map(([text, kind, value]) => button(text, () => close(value), kind, {"data-answer": value}))));
    dialog.addEventListener("close", () => {
      const value = dialog.returnValue;
      dialog.remove();
      resolve(value);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/* true: do it. */
export async function confirmThat(title, text, verb) {
  return await ask(title, make("p", {class: "wrap"}, text), [["Go back", "plain", "no"], [verb, "danger", "yes"]]) === "yes";
}

/* A question that wants a text, with one answer or several ("yes" first); null: thought again, or left empty. {text, answer} */
export async function askText(title, text, {label, maxlength}, ...buttons) {
  const input = make("input", {id: "dialog-text", autocomplete: "off", maxlength, class: "wide-input"});
  const answer = await ask(title, make("div", {}, make("p", {}, text), make("label", {for: "dialog-text", class: "stacked"}, label, input)),
    [["Go back", "plain", "no"], ...buttons]);
  return answer && answer !== "no" && input.value.trim() ? {text: input.value.trim(), answer} : null;
}

/*
 * A form in a dialog, shown again with the server's complaint until it is taken; null: thought again.
 * fields: [key, label, value, attributes]; submit(values): a promise.
 */
export async function askForm(title, fields, verb, submit) {
  const inputs = fields.map(([key, , value, attributes = {}]) => make(attributes.rows ? "textarea" : "input", {id: `dialog-${key}`, autocomplete: "off", class: "wide-input", ...attributes, value}));
  const error = make("p", {class: "error", role: "alert"});
  const body = make("div", {class: "dialog-form"}, fields.map(([key, label], i) => make("label", {for: `dialog-${key}`, class: "stacked"}, label, inputs[i])), error);
  while (await ask(title, body, [["Go back", "plain", "no"], [verb, "", "yes"]]) === "yes") {
    try {
      return await submit(Object.fromEntries(fields.map(([key], i) => [key, inputs[i].value.trim()])));
    } catch (failure) {
      error.textContent = failure.message;
    }
  }
  return null;
}

export const tell = (title, body) => ask(title, body, [["Close", "plain", "ok"]]);

const KEYS = [
  ["g o, g r, g q, g d, g w", "go to overview, runs, queue, devices, sweeps"], ["g c, g n, g s", "go to compare, new run, settings"], ["/", "search runs"],
  ["j k, Enter", "next and previous row, open it"], ["x", "select the row"], ["c", "compare what is selected, or this run"],
  ["p", "pause or resume the run that is shown"], ["1 … 8", "tabs of a run"], ["t", "light, dark or as the system says"],
  ["in a chart: ← →", "move the cursor"], ["in a chart: + − 0", "zoom in, out, show everything"],
  ["in the queue: Alt ↑ ↓", "move a run"], ["?", "this help"],
];

export const showKeys = () => tell("Keyboard", make("dl", {class: "keys"}, KEYS.map(([keys, what]) => [
  make("dt", {}, keys.split(/(?<=,) /).map((key) => make("kbd", {}, key.replace(",", "")))), make("dd", {}, what)])));

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, \
copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software \
is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF \
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE \
FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN \
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

export const showLicences = () => tell("Licences", make("div", {class: "about"},
  make("p", {}, `ijepad is under the MIT licence. Its charts are drawn by dygraphs ${window.Dygraph.VERSION}:`),
  make("pre", {class: "log", tabindex: "0"}, `dygraphs
Copyright (c) 2006, 2009, 2011, 2012, 2013, 2017 Dan Vanderkam <danvdk@gmail.com>
Copyright (c) 2011 Paul Felix; (c) 2011, 2013 Robert Konigsberg; (c) 2013 David Eberlein;
(c) 2013 Google, Inc.; (c) 2014 mirabilos; (c) 2015 Petr Shevtsov; (c) 2022, 2023 mirabilos,
Deutsche Telekom LLCTO; and numerous contributors

${MIT}

The browser-pack shim in it: Copyright (c) 2013, 2014 James Halliday; (c) 2013 Roman Shtylman;
(c) 2013 Esa-Matti Suuronen; (c) 2018 Philipp Simon Schmidt; under the same terms.`)));
