/* Tokens: who may come in, as what, until when. */
import {get, send} from "./api.js";
import {confirmThat, tell} from "./dialog.js";
import {button, empty, make, simpleTable, toast} from "./dom.js";
import {ago, time} from "./format.js";

const ROLES = ["viewer", "submitter", "operator", "admin"];
const LIVES = [["", "for ever"], ["86400", "one day"], ["604800", "one week"], ["2592000", "30 days"], ["31536000", "one year"]];

export async function tokensSection({who, fail}) {
  const list = make("div", {});
  const user = make("input", {id: "t-user", required: true, autocomplete: "off", maxlength: 64});
  const role = make("select", {id: "t-role"}, ROLES.map((name) => make("option", {value: name}, name)));
  const life = make("select", {id: "t-life"}, LIVES.map(([value, text]) => make("option", {value}, text)));

  async function revoke(token) {
    if (!await confirmThat(`Revoke the token ${token.id} of ${token.user}?`, token.id === who.token ? "It is the one that you are signed in with: you will be signed out."
      : "Whatever uses it stops working at once.", `Revoke ${token.id}`)) return;
    await send("DELETE", `/v1/tokens/${token.id}`).catch((error) => toast(error.message));
    await load();
  }

  async function load() {
    const {items} = await get("/v1/tokens");
    const state = (token) => (token.revoked ? `revoked ${ago(token.revoked)}` : token.expires ? `until ${time(token.expires)}` : "valid");
    list.replaceChildren(items.length ? simpleTable(["Token", "User", "Role", "State", "Used", "Note", ""], items.map((token) => [make("code", {}, token.id), token.user,
      token.role, state(token), token.used ? ago(token.used) : "never", token.note || "", token.revoked ? "" : button("Revoke", () => revoke(token).catch(fail), "danger")]), "Tokens")
      : empty("None."));
  }

  const form = make("form", {class: "row form-row"}, make("label", {for: "t-user"}, "User", user), make("label", {for: "t-role"}, "Role", role), make("label", {for: "t-life"}, "Valid", life),
    make("button", {type: "submit"}, "Make a token"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const made = await send("POST", "/v1/tokens", {user: user.value.trim(), role: role.value, ...(life.value ? {expires_s: Number(life.value)} : {})});
      user.value = "";
      await load();
      await tell(`Token for ${made.user}`, make("div", {}, make("p", {}, "It is shown only now. Copy it:"), make("pre", {class: "log token", tabindex: "0"}, made.token)));
    } catch (error) {
      toast(error.message);
    }
  });
  await load();
  return make("section", {class: "card", "aria-label": "Tokens"}, make("h2", {}, "Tokens"), list, form);
}
