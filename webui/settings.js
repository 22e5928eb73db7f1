/* Settings, as far as the API goes: who am I, tokens, a copy of the database, versions. */
import {get, send} from "./api.js";
import {confirmThat, tell} from "./dialog.js";
import {button, empty, make, simpleTable, toast} from "./dom.js";
import {ago, time} from "./format.js";
import {setTheme, theme} from "./theme.js";

const ROLES = ["viewer", "submitter", "operator", "admin"];
const LIVES = [["", "for ever"], ["86400", "one day"], ["604800", "one week"], ["2592000", "30 days"], ["31536000", "one year"]];

function tokensCard(who, fail) {
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
  load().catch(fail);
  return make("section", {class: "card"}, make("h2", {}, "Tokens"), list, form);
}

function backupCard() {
  const file = make("input", {id: "b-file", required: true, placeholder: "/path/on/the/server/state.db", spellcheck: "false", autocomplete: "off"});
  const error = make("p", {class: "error", role: "alert"});
  const form = make("form", {class: "row form-row"}, make("label", {for: "b-file", class: "grow"}, "New file on the server", file), make("button", {type: "submit"}, "Copy the database"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await send("POST", "/v1/admin/backup", {file: file.value.trim()});
      toast(`The state database is in ${file.value.trim()}.`, "good");
    } catch (failure) {
      error.textContent = failure.message;
    }
  });
  return make("section", {class: "card"}, make("h2", {}, "Backup"), make("p", {class: "quiet"}, "A consistent copy of the state database, made while the server runs. Checkpoints are files of their own."), form, error);
}

export async function settingsPage({who, fail}) {
  const version = await get("/version");
  const look = make("select", {id: "s-theme", onchange: (event) => setTheme(event.target.value)}, [["auto", "as the system says"], ["light", "light"], ["dark", "dark"]]
    .map(([value, text]) => make("option", {value, selected: value === theme()}, text)));
  const facts = (rows) => make("dl", {class: "facts"}, rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  return {title: "Settings", element: make("div", {class: "settings"}, make("div", {class: "row page-head"}, make("h1", {}, "Settings")),
    make("div", {class: "two"}, make("section", {class: "card"}, make("h2", {}, "You"), facts([["User", who.user], ["Role", who.role], ["Token", who.token || "–"]]),
      make("p", {}, make("label", {class: "inline"}, "Theme", look))),
    make("section", {class: "card"}, make("h2", {}, "Server"), facts([["Build", version.build], ["API", version.api], ["SQLite", version.sqlite], ["libmicrohttpd", version.libmicrohttpd]]))),
    who.role === "admin" ? [tokensCard(who, fail), backupCard()] : make("section", {class: "card"}, make("p", {class: "quiet"}, "Tokens and backups are an administrator's.")))};
}
