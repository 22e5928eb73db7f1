/* Calls to the server. Every failure is an Error with the problem document's detail as its message. */

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

async function checked(response) {
  if (response.ok) return response;
  throw new ApiError(response.status, await response.json().catch(() => ({})));
}

async function ask(path, options) {
  try {
    return await fetch(path, {credentials: "same-origin", ...options});
  } catch {
    throw new ApiError(0, {detail: "The server does not answer."});
  }
}

export const getText = async (path, accept = "text/plain") =>
  (await checked(await ask(path, {headers: {Accept: accept}}))).text();

export const getBytes = async (path) => (await checked(await ask(path, {}))).arrayBuffer();

export const get = async (path) => (await checked(await ask(path, {headers: {Accept: "application/json"}}))).json();

/* A change: the content type is sent without a body too, as the server asks for it. */
export async function send(method, path, body, headers = {}) {
  const response = await ask(path, {
    method,
    headers: {"Content-Type": "application/json", ...headers},
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return (await checked(response)).json();
}

/* All items of a list by pages, at most `most`. */
export async function getAll(path, values, most) {
  const items = [];
  let cursor = "";
  do {
    const page = await get(path + query({...values, limit: Math.min(500, most - items.length), cursor}));
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return items;
}

export const signIn = (token) => send("POST", "/v1/session", undefined, {Authorization: `Bearer ${token}`});
export const signOut = () => send("DELETE", "/v1/session");
export const whoAmI = () => get("/v1/session");

export function query(values) {
  const used = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return used.length ? "?" + new URLSearchParams(used) : "";
}
