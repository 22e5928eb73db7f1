/* Light, dark, or as the system says; remembered. */
const KEY = "ijepad.theme";
const NEXT = {auto: "dark", dark: "light", light: "auto"};
const listeners = new Set();

export const theme = () => localStorage.getItem(KEY) || "auto";

export function setTheme(name) {
  if (name === "auto") {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(KEY, name);
    document.documentElement.dataset.theme = name;
  }
  for (const listener of listeners) listener();
}

export const nextTheme = () => setTheme(NEXT[theme()]);

/* Charts are painted and must be painted again. Returns the function that ends it. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme()));
setTheme(theme());
