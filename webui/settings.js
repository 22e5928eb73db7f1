/* Settings, a part each: you and the server, tokens, webhooks, storage, audit. A part is shown to whom the server would answer. */
import {get} from "./api.js";
import {showLicences} from "./dialog.js";
import {button, empty, make} from "./dom.js";
import {auditSection} from "./settings_audit.js";
import {storageSection} from "./settings_storage.js";
import {tokensSection} from "./settings_tokens.js";
import {webhooksSection} from "./settings_webhooks.js";
import {setTheme, theme} from "./theme.js";

const ADMIN = ["admin"], OPERATORS = ["operator", "admin"];
const PARTS = {"": ["You and the server", aboutSection, null], tokens: ["Tokens", tokensSection, ADMIN], webhooks: ["Webhooks", webhooksSection, OPERATORS],
  storage: ["Storage", storageSection, ADMIN], audit: ["Audit", auditSection, ADMIN]};

async function aboutSection({who}) {
  const version = await get("/version");
  const look = make("select", {id: "s-theme", onchange: (event) => setTheme(event.target.value)}, [["auto", "as the system says"], ["light", "light"], ["dark", "dark"]]
    .map(([value, text]) => make("option", {value, selected: value === theme()}, text)));
  const facts = (rows) => make("dl", {class: "facts"}, rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  return make("div", {class: "two"}, make("section", {class: "card", "aria-label": "You"}, make("h2", {}, "You"), facts([["User", who.user], ["Role", who.role], ["Token", who.token || "–"]]),
    make("p", {}, make("label", {class: "inline"}, "Theme", look)), who.role === "admin" ? null : make("p", {class: "quiet"}, "Tokens, storage and the audit log are an administrator's.")),
  make("section", {class: "card", "aria-label": "Server"}, make("h2", {}, "Server"), facts([["Build", version.build], ["API", version.api], ["SQLite", version.sqlite], ["libmicrohttpd", version.libmicrohttpd]]),
    make("p", {class: "row"}, button("Licences", showLicences, "plain", {"data-verb": "licences"}), make("a", {href: "/v1/openapi.json"}, "Description of the API"))));
}

export async function settingsPage({address, who, fail}) {
  const mine = Object.entries(PARTS).filter(([, [, , roles]]) => !roles || roles.includes(who.role));
  const [name, [title, section]] = mine.find(([part]) => part === address.tab) || mine[0];
  const body = await section({who, fail}).catch((error) => {
    if (error.status === 401) throw error;
    return make("section", {class: "card"}, empty(error.message));
  });
  const nav = make("nav", {class: "tabs", "aria-label": "Parts of the settings"}, mine.map(([part, [text]]) => make("a", {href: `#/settings${part ? `/${part}` : ""}`,
    "aria-current": part === name ? "page" : null}, text)));
  return {title: name ? `${title} – Settings` : "Settings", element: make("div", {class: "settings"}, make("h1", {}, "Settings"), nav, body)};
}
