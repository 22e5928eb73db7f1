"""Every route of the table, taken from the server itself: access, headers, documentation."""
import json
import pathlib
import re
import shlex
import signal
import subprocess

import pytest
import requests

from harness import Daemon, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPEN = {("get", "/healthz"), ("get", "/readyz"), ("get", "/problems/{code}"), ("get", "/openapi.json"), ("get", "/v1/openapi.json"),
        ("get", "/"), ("get", "/{file}")}
EXAMPLES = {"{id}": "r1", "{kind}": "pretrain", "{code}": "conflict", "{file}": "app.js", "{step}": "100"}
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def document(idle_daemon):
    return requests.get(idle_daemon.url + "/v1/openapi.json", timeout=10).json()


@pytest.fixture(scope="module")
def routes(document):
    return [(method, path) for path, item in document["paths"].items() for method in item]


def concrete(path):
    return re.sub(r"\{\w+\}", lambda m: EXAMPLES[m.group()], path)


def call(daemon, method, path, token=None, **headers):
    sent = {"Content-Type": "application/json", **headers}
    if token is not None:
        sent["Authorization"] = token
    return requests.request(method, daemon.url + concrete(path), headers=sent, timeout=10, stream=True)


def test_the_table_has_the_routes_that_are_open_and_no_other(document):
    found = {(method, path) for path, item in document["paths"].items() for method, operation in item.items()
             if operation["x-role"] == "none"}
    assert found == OPEN


def test_every_route_needs_a_token(idle_daemon, routes):
    good = idle_daemon.token
    bad = [None, "", "Bearer", "Bearer ", f"Bearer {good[:-1]}", f"Bearer {good}A", f"Basic {good}", good, "Bearer ijp_a_b",
           f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}"]
    checked = 0
    for method, path in routes:
        if (method, path) in OPEN:
            assert call(idle_daemon, method, path).status_code == 200, (method, path)
            continue
        for token in bad:
            answer = call(idle_daemon, method, path, token)
            assert answer.status_code == 401, (method, path, token, answer.text)
            assert answer.json()["code"] == "unauthorized"
            checked += 1
    assert checked >= 10 * 30


def test_a_viewer_may_only_read(idle_daemon, document):
    token = idle_daemon.api("POST", "/v1/tokens", json={"user": "reader", "role": "viewer"}).json()["token"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if operation["x-role"] in ("submitter", "operator", "admin"):
                answer = call(idle_daemon, method, path, f"Bearer {token}")
                assert answer.status_code == 403, (method, path, answer.text)


def test_every_answer_has_the_headers_that_protect_a_browser(idle_daemon, routes):
    for method, path in routes:
        for token in (None, f"Bearer {idle_daemon.token}"):
            if path == "/v1/events" and token:
                continue
            if method != "get" and token:
                continue
            answer = call(idle_daemon, method, path, token)
            for name, value in SECURITY.items():
                assert answer.headers.get(name) == value, (method, path, name)
            static = path in ("/", "/{file}")
            assert answer.headers["Cache-Control"] == ("no-cache" if static else "no-store"), path
            assert not [h for h in answer.headers if h.lower().startswith("access-control")]


def test_head_is_answered_without_a_body(idle_daemon):
    for path in ("/healthz", "/", "/v1/openapi.json"):
        answer = requests.head(idle_daemon.url + path, timeout=10)
        assert answer.status_code == 200 and not answer.content and int(answer.headers["Content-Length"]) > 0


def test_the_document_is_whole(document):
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in names, name
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids)) >= 35
    assert document["openapi"] == "3.1.0"
    kinds = [option["properties"]["kind"]["const"] for option in document["components"]["schemas"]["Submission"]["oneOf"]]
    assert {"pretrain", "linear_probe", "knn"} <= set(kinds)
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"] and operation["responses"]


def test_answers_have_only_described_members(idle_daemon, document, images):
    """What the schemas name is what is sent, for the forms that people read most."""
    schemas = document["components"]["schemas"]
    run = idle_daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {
        "dataset": str(images), "model": "vit_tiny", "batch": 8, "warmup_epochs": 0}}).json()
    pairs = [("Run", run), ("RunConfig", idle_daemon.api("GET", f"/v1/runs/{run['id']}/config").json()),
             ("Queue", idle_daemon.api("GET", "/v1/queue").json()), ("RunList", idle_daemon.api("GET", "/v1/runs").json()),
             ("Session", idle_daemon.api("GET", "/v1/session").json()),
             ("Token", idle_daemon.api("GET", "/v1/tokens").json()["items"][0]),
             ("Event", idle_daemon.api("GET", f"/v1/runs/{run['id']}/events").json()["items"][0]),
             ("Problem", idle_daemon.api("GET", "/v1/runs/r999").json()),
             ("Version", idle_daemon.api("GET", "/version").json()), ("Ready", idle_daemon.api("GET", "/readyz").json())]
    for name, value in pairs:
        assert set(value) <= set(schemas[name]["properties"]), (name, set(value) - set(schemas[name]["properties"]))


def test_every_problem_type_is_explained(idle_daemon):
    page = (ROOT / "docs" / "api.md").read_text()
    table = page[page.index("| status | code |"):page.index("## Server")]
    codes = re.findall(r"`([a-z_]+)`", table)
    assert len(codes) >= 20
    for code in codes:
        answer = requests.get(f"{idle_daemon.url}/problems/{code}", timeout=10)
        assert answer.status_code == 200 and answer.json()["title"], code
        row = next(line for line in table.splitlines() if f"`{code}`" in line)
        assert row.startswith(f"| {answer.json()['status']} |"), (code, answer.json(), row)


# ---- docs/api.md --------------------------------------------------------------------------------

def doc_lines():
    page = (ROOT / "docs" / "api.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_every_route_has_a_curl_line(routes):
    """Methods and paths of the page's lines, matched against the table."""
    called = set()
    for line in doc_lines():
        method = re.search(r"-X (\w+)", line)
        for path in re.findall(r"\$URL([^\s\"?)]*)", line):
            called.add(((method.group(1) if method else "GET").lower(), path or "/"))
    for method, path in routes:
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        assert any(m == method and re.fullmatch(pattern, p) for m, p in called), (method, path)


@pytest.fixture(scope="module")
def training(tmp_path_factory, images):
    """A daemon with a run that trains for as long as the test needs, and its first checkpoint."""
    daemon = Daemon(tmp_path_factory.mktemp("docs"), slots=2).start()
    run = daemon.submit("pretrain", dataset=str(images), labels="none", crop=32, patch=8, model="custom", width=32, depth=1,
                        heads=2, pred_width=16, pred_depth=1, pred_heads=2, batch=8, epochs=100000, warmup_epochs=1,
                        min_keep=0, sampler="unbiased", threads=1, loader_threads=1, eval_every_epochs=0,
                        checkpoint_every_steps=2000, keep_checkpoints=100)

    def first_checkpoint():
        assert daemon.run(run)["state"] in ("queued", "starting", "running"), daemon.run(run)
        items = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]
        return len([item for item in items if item["state"] == "valid"]) >= 2
    wait_until("there are two checkpoints", first_checkpoint, deadline_s=120)
    grids = daemon.state / "runs" / run / "visualize" / "grids.safetensors"  # as a visualisation leaves it
    grids.parent.mkdir()
    grids.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    pictures = daemon.submit("visualize", dataset=str(images), eval_dataset=str(images), labels="none", images=2, bank=8, threads=1,
                             checkpoint=daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][-1]["id"])
    daemon.wait_for_state(pictures, "succeeded")
    conf = daemon.folder / "ijepad.conf"  # what the page submits shall wait
    conf.write_text(conf.read_text().replace("slots = 2", "slots = 1"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until("one slot is left", lambda: len(daemon.api("GET", "/v1/gpus").json()["items"]) == 1)
    yield daemon, run
    daemon.api("POST", f"/v1/runs/{run}/kill")
    daemon.stop()


def test_every_curl_line_works(training, images, tmp_path):
    daemon, run = training
    items = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]
    script = ["set -u", 'curl() { command curl -sS --fail-with-body "$@"; }']
    for line in doc_lines():
        if not line.startswith("curl "):
            script += [line, '[ -n "$HELD" ] || exit 1']
            continue
        failed = shlex.quote(f"failed: {line}")
        script.append(f"{line} >out 2>err || {{ echo {failed}; cat out err; exit 1; }}")
        if "-o /dev/null" not in line:
            script.append(f"[ -s out ] || {{ echo {failed}; exit 1; }}")
    step = daemon.api("GET", f"/v1/runs/{run}/visuals").json()["items"][0]["step"]
    env = {"URL": daemon.url, "TOKEN": daemon.token, "RUN": run, "STEP": str(step), "CHECKPOINT": items[0]["id"], "DATA": str(images),
           "BACKUP": str(tmp_path / "copy.db"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", "\n".join(script)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "copy.db").stat().st_size > 0


TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list, "null": type(None)}


def check_form(value, schema, schemas, at):
    """`value` has the form that the document says, and nothing that it does not name."""
    schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", list(TYPES))
    assert any(isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds), (at, value, kinds)
    known = schema.get("properties") or {}
    if isinstance(value, dict) and known:
        assert set(value) <= set(known), f"{at}: the document does not name {set(value) - set(known)}"
        for key in value:
            check_form(value[key], known[key], schemas, f"{at}/{key}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            check_form(item, schema["items"], schemas, f"{at}/{i}")


def test_what_is_answered_has_the_form_that_the_document_says(training, images):
    """Every GET of JSON, of things that exist: runs that train, have ended and wait, their parts, hooks, sweeps, devices."""
    daemon, run = training
    document = daemon.api("GET", "/v1/openapi.json").json()
    other = {"kind": "pretrain", "hold": True, "retention": {"best": 0}, "params": {"dataset": str(images)}}
    sweep = daemon.api("POST", "/v1/sweeps", json={**other, "grid": {"seed": [1, 2]}}).json()["id"]
    hook = daemon.api("POST", "/v1/webhooks", json={"url": "https://hooks.test/x", "events": ["run.failed"]}).json()["id"]
    daemon.api("POST", f"/v1/webhooks/{hook}/test", json={})
    clone = daemon.api("POST", f"/v1/runs/{run}/clone", json={"hold": True, "params": {"lr": 0.1}}).json()["id"]
    pictures = daemon.api("GET", "/v1/runs?kind=visualize").json()["items"][0]["id"]
    checkpoint = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][0]["id"]
    ids = {"runs": [run, clone, pictures], "checkpoints": [checkpoint], "sweeps": [sweep], "webhooks": [hook], "gpus": ["host-0"]}
    queries = {"/v1/metrics": f"?runs={run}&keys=train/loss", "/v1/runs": "?count=1"}
    checked = 0
    for path, item in document["paths"].items():
        content = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in content or path == "/problems/{code}":
            continue
        for one in ids.get(path.split("/")[2] if path.count("/") > 1 else "", [""]):
            target = path.replace("{id}", one).replace("{kind}", "pretrain") + queries.get(path, "")
            answer = daemon.api("GET", target)
            assert answer.status_code == 200, (target, answer.text)
            check_form(answer.json(), content["application/json"]["schema"], document["components"]["schemas"], target)
            checked += 1
    assert checked >= 40
    for target, body in ((f"/v1/runs/{clone}/hold", {}), ("/v1/runs/bulk", {"action": "hold", "ids": [clone, "r9"]}),
                         ("/v1/queue/move", {"run": clone, "top": True}), ("/v1/admin/gc?dry_run=1", {}), ("/v1/preview/masks", {})):
        schema = document["paths"][target.split("?")[0].replace(clone, "{id}")]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        check_form(daemon.api("POST", target, json=body).json(), schema, document["components"]["schemas"], target)


def test_a_download_can_be_continued(training):
    daemon, run = training
    checkpoint = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][0]["id"]
    path = f"/v1/checkpoints/{checkpoint}/content"
    whole = daemon.api("GET", path)
    etag = whole.headers["ETag"]
    size = len(whole.content)
    assert size > 1000 and whole.headers["Accept-Ranges"] == "bytes"
    half = daemon.api("GET", path, headers={"Range": f"bytes={size // 2}-", "If-Range": etag})
    assert half.status_code == 206 and half.content == whole.content[size // 2:]
    assert half.headers["Content-Range"] == f"bytes {size // 2}-{size - 1}/{size}"
    last = daemon.api("GET", path, headers={"Range": "bytes=-5"})
    assert last.content == whole.content[-5:]
    other = daemon.api("GET", path, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert other.status_code == 200 and other.content == whole.content
    outside = daemon.api("GET", path, headers={"Range": f"bytes={size}-"})
    assert outside.status_code == 416 and outside.headers["Content-Range"] == f"bytes */{size}"
    assert daemon.api("GET", path, headers={"If-None-Match": etag}).status_code == 304
    state = daemon.api("GET", path + "?file=state.json")
    assert state.headers["Content-Type"] == "application/json" and state.json()["step"] > 0
