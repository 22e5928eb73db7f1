/* The sign-in form: a token is traded for a cookie, so the page never keeps it. */
import {signIn} from "./api.js";
import {make} from "./dom.js";

export function signInPage(message, onDone) {
  const token = make("input", {id: "token", name: "token", type: "password", placeholder: "ijp_…", required: true, spellcheck: "false",
    autocapitalize: "off", autocomplete: "current-password", "aria-describedby": "sign-in-error"});
  const error = make("p", {id: "sign-in-error", class: "error", role: "alert"}, message);
  const form = make("form", {id: "sign-in-form", class: "card"}, make("img", {src: "/icon.svg", alt: "", width: 44, height: 44}),
    make("h1", {}, "Sign in to ijepad"),
    make("p", {class: "quiet"}, "With a token of this server. The first one is in the file ", make("code", {}, "admin.token"),
      " of its state directory; ", make("code", {}, "ijepad token create"), " makes more."),
    make("label", {for: "token"}, "Token"), token, error, make("button", {type: "submit"}, "Sign in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await signIn(token.value.trim());
      onDone();
    } catch (failure) {
      error.textContent = failure.status === 401 ? "The server does not know this token, or it has expired." : failure.message;
      token.select();
    }
  });
  return {title: "Sign in", element: make("div", {class: "sign-in"}, form), opened: () => token.focus()};
}
