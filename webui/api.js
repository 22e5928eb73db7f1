/* Calls to the server. Every failure is an Error with the problem document's detail as its message. */

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

export async function get(path, accept = "application/json") {
  const response = await fetch(path, {headers: {Accept: accept}, credentials: "same-origin"});
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return accept === "application/json" ? response.json() : response;
}

/* A change: the content type is sent without a body too, as the server asks for it. */
export async function send(method, path, body, headers = {}) {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: {"Content-Type": "application/json", ...headers},
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  return response.json();
}

export const signIn = (token) => send("POST", "/v1/session", undefined, {Authorization: `Bearer ${token}`});
export const signOut = () => send("DELETE", "/v1/session");
export const whoAmI = () => get("/v1/session");

export function query(values) {
  const used = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return used.length ? "?" + new URLSearchParams(used) : "";
}
