"""What another site's page can do to the daemon from a browser on the same machine: nothing. The site is a server of this test;
`evil.test` is a name that leads to the daemon, as a rebound one does."""
import http.server
import json
import re
import sqlite3
import threading

import pytest

from conftest import browser

# Everything a page can send without asking first, and what asks first. Each is started and its end is awaited.
ATTACKS = """
const run = async (target, token) => {
  const seen = [];
  const form = (method, type, name) => new Promise((done) => {
    const frame = document.createElement("iframe"), form = document.createElement("form"), input = document.createElement("input");
    frame.name = "f" + Math.random();
    Object.assign(form, {method, action: target + "/v1/runs", target: frame.name, enctype: type});
    input.name = name;
    input.value = '"}';
    form.append(input);
    frame.onload = () => { if (form.isConnected && form.sent) done(); };
    document.body.append(frame, form);
    form.sent = true;
    form.submit();
    setTimeout(done, 3000);
  });
  const image = (path) => new Promise((done) => {
    const image = new Image();
    image.onload = () => { seen.push("image " + path); done(); };
    image.onerror = done;
    image.src = target + path;
  });
  const script = (path) => new Promise((done) => {
    const script = document.createElement("script");
    script.onload = () => { seen.push("script " + path); done(); };
    script.onerror = done;
    script.src = target + path;
    document.body.append(script);
  });
  const ask = async (method, path, options) => {
    try {
      const answer = await fetch(target + path, {method, ...options});
      const text = await answer.text();
      if (text) seen.push(`${method} ${path}: ${text.slice(0, 80)}`);
    } catch (error) { /* the browser kept it from us */ }
  };
  const body = '{"kind":"pretrain","params":{"dataset":"/tmp"}}', bearer = {Authorization: "Bearer " + token};
  await form("POST", "application/x-www-form-urlencoded", body);
  await form("POST", "multipart/form-data", body);
  await form("POST", "text/plain", body.slice(0, -1) + ',"notes":"');
  await form("GET", "text/plain", "x");
  for (const path of ["/v1/runs", "/readyz", "/favicon.svg", "/app.js", "/v1/openapi.json"]) { await image(path); await script(path); }
  for (const mode of ["no-cors", "cors"])
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"])
      for (const method of ["POST", "DELETE", "PATCH", "PUT"])
        for (const credentials of ["omit", "include"])
          await ask(method, method === "POST" ? "/v1/runs" : "/v1/runs/r1", {mode, credentials, headers: {"Content-Type": type}, body});
  for (const path of ["/v1/runs", "/v1/openapi.json", "/", "/readyz", "/metrics"]) {
    await ask("GET", path, {mode: "no-cors", credentials: "include"});
    await ask("GET", path, {mode: "cors", credentials: "include"});
    await ask("GET", path, {mode: "cors", headers: bearer});
  }
  await ask("POST", "/v1/runs", {mode: "cors", headers: {...bearer, "Content-Type": "application/json"}, body});
  navigator.sendBeacon(target + "/v1/runs", new Blob([body], {type: "text/plain"}));
  return seen;
};
run(arguments[0], arguments[1]).then(arguments[2], (error) => arguments[2](["failed: " + error]));
"""


@pytest.fixture
def foreign_site():
    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802: the name that the library calls
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>elsewhere")

        def log_message(self, *arguments):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def unchanged(daemon):
    """Beside sessions that end, not a row of the database is another one afterwards."""
    def rows():
        with sqlite3.connect(f"file:{daemon.state / 'state.db'}?mode=ro", uri=True) as db:
            return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("run", "event", "token", "audit")}
    before = rows()
    yield
    assert rows() == before


def refusals(daemon):
    """How many requests the daemon has refused since it started."""
    text = daemon.api("GET", "/metrics").text
    return sum(int(line.split()[1]) for line in text.splitlines() if re.match(r'ijepad_http_request_duration_seconds_count\{.*code="4xx"', line))


def test_a_foreign_page_reads_and_changes_nothing(page, daemon, foreign_site, unchanged):
    """In a browser that is signed in to the dashboard, with the token in the hands of the foreign page as well."""
    before = refusals(daemon)
    page.driver.switch_to.new_window("tab")
    try:
        page.driver.get(foreign_site)
        seen = page.driver.execute_async_script(ATTACKS, daemon.url, daemon.token)
        assert seen == []
        assert refusals(daemon) - before > 20, "the attacks reached the daemon"
    finally:
        page.driver.close()
        page.driver.switch_to.window(page.driver.window_handles[0])
        page.driver.get_log("browser")  # the refusals, which were the point


def test_a_rebound_name_reads_nothing(daemon, unchanged):
    """The page comes from the daemon's own address under another name: no page, no data, also with the right token."""
    driver = browser("--host-resolver-rules=MAP evil.test 127.0.0.1")
    try:
        driver.get(f"http://evil.test:{daemon.port}/")
        text = driver.execute_script("return document.documentElement.textContent")
        assert "ijepad" not in driver.title.lower() and "sign" not in text.lower()
        ask = """const [token, done] = arguments;
            const ask = (path, method) => fetch(path, {method, headers: {Authorization: "Bearer " + token, "Content-Type": "application/json"},
                body: method === "POST" ? '{"kind":"pretrain","params":{"dataset":"/tmp"}}' : undefined})
                .then(async (r) => [path, r.status, await r.text()], (e) => [path, 0, String(e)]);
            Promise.all([ask("/v1/runs", "GET"), ask("/v1/runs", "POST"), ask("/app.js", "GET"), ask("/readyz", "GET"),
                         ask("/metrics", "GET"), ask("/v1/runs/r1", "DELETE")]).then(done);"""
        answers = driver.execute_async_script(ask, daemon.token)
        assert [status for _, status, _ in answers] == [421] * len(answers), answers
        for path, _, answer in answers:
            assert json.loads(answer)["status"] == 421 and "items" not in answer, (path, answer)
    finally:
        driver.quit()
